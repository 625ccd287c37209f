"""Specs, studies and Keras configurations with any value in any field are accepted or refused quickly."""

import copy
import json
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from service.contract.data_shape import shape_of
from service.contract.data_spec import UploadData
from service.contract.errors import InvalidSpec, NotJson
from service.contract.faults import fault_of
from service.contract.network.keras_config import read_keras_config
from service.contract.plan import plan
from service.contract.spec import ExperimentSpec
from service.contract.strict_json import read_json
from service.contract.study_spec import StudySpec
from service.contract.workload import Limits
from tests.fuzz.mutations import memory_within
from tests.support.hostile_configs import dense, layer, sequential

unhurried = settings(deadline=timedelta(seconds=5), suppress_health_check=list(HealthCheck))
MAX_MEBIBYTES = 300

WORDS = [
    *("baseline", "improved", "mlp", "keras", "adam", "sgd", "digits", "upload", "tanh", "orthogonal", "1/sqrt(depth)"),
    *(
        "post_activation",
        "pre_activation",
        "batch",
        "layer",
        "clipped_norm",
        "dead_fraction",
        "CosineDecay",
        "val_loss",
    ),
    *("Dense", "Conv2D", "LSTM", "GRU", "Functional", "Sequential", "__keras_tensor__", "same", "causal", "0" * 24),
]
NUMBERS = st.integers() | st.sampled_from([0, 1, -1, 2**31, 2**53, 2**63, 10**308]) | st.floats()
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=8) | st.sampled_from(WORDS)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
)
SPECS: list[dict[str, Any]] = [
    ExperimentSpec.model_validate(spec).resolved().model_dump(mode="json")
    for spec in (
        {"model": "baseline"},
        {"model": {"kind": "mlp", "hidden_units": [3, 3, 3], "residual": "post_activation", "normalization": "batch"}},
        {
            "model": {"kind": "mlp", "kernel_initializer": {"name": "normal", "stddev": 0.1}},
            "data": {"source": "copy_memory"},
            "training": {"gradient_clipping": {"by": "norm", "threshold": 1}, "optimizer": "sgd", "early_stopping": {}},
        },
        {"model": "improved", "training": {"learning_rate_schedule": {"name": "CosineDecay", "decay_steps": 3}}},
    )
]
CONFIGS: list[dict[str, Any]] = [
    sequential(dense("a"), dense("b")),
    sequential(layer("Conv1D", filters=2, kernel_size=[3]), layer("GlobalMaxPooling1D"), shape=[None, 8, 2]),
    sequential(layer("LSTM", units=3), shape=[None, 8, 2]),
]


@st.composite
def changed(draw: st.DrawFn, wholes: list[dict[str, Any]]) -> Any:
    """One of these values with parts replaced, removed or moved."""
    whole: Any = copy.deepcopy(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(_places(whole)))
        *above, last = place
        part = whole
        for step in above:
            part = part[step]
        match draw(st.sampled_from(["replace", "remove", "add", "copy"])):
            case "replace":
                part[last] = draw(VALUES)
            case "remove":
                del part[last]
            case "add" if isinstance(part, dict):
                part[draw(st.sampled_from(WORDS) | st.text(max_size=6))] = draw(VALUES)
            case "copy":
                part[last] = copy.deepcopy(_at(whole, draw(st.sampled_from(_places(whole)))))
        if not whole:
            break
    return whole


def _places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, part in inner for place in ((*here, key), *_places(part, (*here, key)))]


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for step in place:
        value = value[step]
    return value


def read(kind: type[BaseModel], value: Any) -> Any:
    """The spec, or None if it is refused with a message that fits into an answer."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            fault = fault_of({**found, "loc": ("body", *found["loc"])})
            json.dumps(asdict(fault), ensure_ascii=False).encode("utf-8", "surrogatepass")
            assert fault.message
        return None


@pytest.fixture(scope="module", autouse=True)
def _little_memory() -> Any:
    for whole in SPECS:
        planned(read(ExperimentSpec, whole))
    with memory_within(MAX_MEBIBYTES):
        yield


def planned(spec: ExperimentSpec) -> None:
    """Plan a spec as a submission does, or refuse it."""
    resolved = spec.resolved()
    stored = resolved.model_dump_json()
    assert ExperimentSpec.model_validate_json(stored).resolved() == resolved
    if isinstance(resolved.data, UploadData):
        return
    try:
        plan(resolved, shape_of(resolved.data), Limits())
    except InvalidSpec as error:
        str(error).encode()


@given(changed(SPECS) | VALUES)
@unhurried
def test_any_spec_is_planned_or_refused(value: Any) -> None:
    spec = read(ExperimentSpec, value)

    if spec is not None:
        planned(spec)


@given(
    changed([*CONFIGS, *CONFIGS, {"module": "keras", "class_name": "Sequential", "config": {"layers": []}}]) | VALUES
)
@unhurried
def test_any_configuration_is_a_network_or_raises_value_error(value: Any) -> None:
    try:
        read_keras_config(value)
    except ValueError as error:
        str(error).encode("utf-8", "surrogatepass")

    spec = read(ExperimentSpec, {"model": {"kind": "keras", "config": value}})
    if spec is not None:
        planned(spec)


STUDIES = [
    {"base": base, "axes": axes}
    for base in SPECS[:2]
    for axes in ({"model.depth": [1, 2]}, {"training.optimizer.learning_rate": [0.1], "training.seed": [0, 1]})
]


@given(changed(STUDIES) | VALUES)
@unhurried
def test_any_study_and_its_specs_are_accepted_or_refused(value: Any) -> None:
    study = read(StudySpec, value)

    if study is None or study.experiments > 100:
        return
    assert study.written_bytes > 0
    for cell in study.cells():
        str(cell).encode()
        try:
            spec = read(ExperimentSpec, study.spec_of(cell))
        except InvalidSpec:
            continue
        if spec is not None:
            planned(spec)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """The text of a spec into which invalid or unusual JSON is inserted."""
    text = json.dumps(draw(changed(SPECS)), ensure_ascii=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        piece = draw(
            st.sampled_from(["NaN", "-Infinity", "1e999", "\\ud800", "\\u0000", "\0", '"', "{", "[" * 2000, "9" * 400])
            | st.text(max_size=4)
        )
        text = text[:at] + piece + text[at + draw(st.integers(0, 4)) :]
    return text.encode("utf-8", "surrogatepass")


@given(texts())
@unhurried
def test_any_text_is_a_spec_or_refused(text: bytes) -> None:
    try:
        value = read_json(text)
    except NotJson as error:
        str(error).encode()
        return
    spec = read(ExperimentSpec, value)
    if spec is not None:
        planned(spec)
