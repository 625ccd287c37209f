"""The shape of a data set follows from its spec."""

import tracemalloc
from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from sklearn import datasets

from service.contract.data_shape import BUNDLED, shape_of
from service.contract.data_spec import BundledData, CopyMemory, DataShape, DataSpec
from service.contract.errors import InvalidSpec
from service.contract.spec_part import MAX_INTEGER

SPEC: TypeAdapter[DataSpec] = TypeAdapter(DataSpec)
NAMES = {source: shape.class_names for source, shape in BUNDLED.items()}


def _shape(**spec: Any) -> DataShape:
    return shape_of(SPEC.validate_python(spec))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"source": "random", "features": 7}, DataShape(samples=1000, input_shape=(7,), classes=2)),
        ({"source": "circles", "samples": 9}, DataShape(samples=9, input_shape=(2,), classes=2)),
        ({"source": "moons"}, DataShape(samples=1000, input_shape=(2,), classes=2)),
        ({"source": "two_spirals"}, DataShape(samples=1000, input_shape=(2,), classes=2)),
        ({"source": "blobs", "features": 5, "classes": 4}, DataShape(samples=1000, input_shape=(5,), classes=4)),
        ({"source": "parity", "bits": 3}, DataShape(samples=1000, input_shape=(3,), classes=2)),
        ({"source": "teacher", "features": 6, "classes": 5}, DataShape(samples=1000, input_shape=(6,), classes=5)),
        (
            {"source": "adding_problem", "length": 20},
            DataShape(samples=1000, input_shape=(20, 2), target_shape=(1,), classes=None),
        ),
        (
            {"source": "copy_memory", "length": 3, "delay": 4, "symbols": 5},
            DataShape(samples=1000, input_shape=(10, 7), target_shape=(10,), classes=6),
        ),
        (
            {"source": "copy_memory", "length": 3, "delay": 4, "symbols": 5, "encoding": "tokens"},
            DataShape(samples=1000, input_shape=(10,), target_shape=(10,), classes=6, tokens=7),
        ),
        (
            {"source": "breast_cancer"},
            DataShape(samples=569, input_shape=(30,), classes=2, class_names=NAMES["breast_cancer"]),
        ),
        (
            {"source": "digits"},
            DataShape(samples=1797, input_shape=(64,), classes=10, class_names=NAMES["digits"], tokens=17),
        ),
        ({"source": "wine"}, DataShape(samples=178, input_shape=(13,), classes=3, class_names=NAMES["wine"])),
        ({"source": "iris"}, DataShape(samples=150, input_shape=(4,), classes=3, class_names=NAMES["iris"])),
        ({"source": "diabetes"}, DataShape(samples=442, input_shape=(10,), target_shape=(1,), classes=None)),
    ],
)
def test_the_shape_follows_from_the_spec(spec: dict[str, Any], expected: DataShape) -> None:
    assert _shape(**spec) == expected


@pytest.mark.parametrize("source", BUNDLED)
def test_declared_shapes_of_bundled_data_are_those_of_scikit_learn(source: str) -> None:
    bundle = getattr(datasets, f"load_{source}")()
    shape = _shape(source=source)

    assert bundle.data.shape == (shape.samples, *shape.input_shape)
    if shape.classes is None:
        assert "target_names" not in bundle
        assert shape.class_names is None
    else:
        assert set(bundle.target) == set(range(shape.classes))
        assert shape.class_names == tuple(str(name) for name in bundle.target_names)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (64,), (1, 64, 1)])
def test_a_bundled_sample_can_have_another_shape_of_the_same_size(shape: tuple[int, ...]) -> None:
    plain = _shape(source="digits")

    assert _shape(source="digits", shape=shape) == DataShape.model_validate(
        {**plain.model_dump(), "input_shape": shape}
    )
    assert plain.input_shape == (64,)


@given(
    source=st.sampled_from(list(BUNDLED)),
    shape=st.lists(st.integers(1, 64) | st.integers(1, MAX_INTEGER), min_size=1, max_size=3),
)
def test_a_shape_of_another_size_is_refused(source: str, shape: list[int]) -> None:
    data = BundledData.model_validate({"source": source, "shape": shape})
    if prod(shape) == prod(BUNDLED[source].input_shape):
        assert shape_of(data).input_shape == tuple(shape)
        return
    with pytest.raises(InvalidSpec, match=f"a sample has {prod(BUNDLED[source].input_shape)} values") as refused:
        shape_of(data)
    assert refused.value.location == ("data", "shape")


@pytest.mark.parametrize(
    "sizes",
    [
        {"source": "random", "features": MAX_INTEGER},
        {"source": "blobs", "features": MAX_INTEGER, "classes": MAX_INTEGER},
        {"source": "parity", "bits": MAX_INTEGER},
        {"source": "teacher", "features": MAX_INTEGER},
        {"source": "adding_problem", "length": MAX_INTEGER},
        {"source": "copy_memory", "length": MAX_INTEGER, "delay": MAX_INTEGER, "symbols": MAX_INTEGER},
    ],
)
def test_huge_sizes_are_exact_and_allocate_nothing(sizes: dict[str, Any]) -> None:
    data = SPEC.validate_python({**sizes, "samples": MAX_INTEGER})
    tracemalloc.start()
    try:
        shape = shape_of(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 100_000
    assert shape.samples == MAX_INTEGER
    if isinstance(data, CopyMemory):
        assert shape.input_shape == (3 * MAX_INTEGER, MAX_INTEGER + 2)
    else:
        assert shape.input_shape[0] == MAX_INTEGER


def test_the_shape_of_an_upload_does_not_follow_from_the_spec() -> None:
    with pytest.raises(ValueError, match="upload"):
        _shape(source="upload", dataset_id="0" * 24)
