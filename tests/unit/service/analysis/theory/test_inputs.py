"""What is said of a data set's rows, measured on its rows."""

from typing import Any

import numpy as np
import pytest

from service.analysis.theory import TheoryInput
from service.analysis.theory.inputs import MEASURED, expected_inputs, kernel_of
from service.contract.data_spec import DataShape
from service.contract.plan import plan
from service.contract.spec import ExperimentSpec
from tests.support.plans import plan_of
from worker.training.data import load

GENERATED: tuple[dict[str, Any], ...] = (
    {"source": "random", "features": 7},
    {"source": "circles", "noise": 0.2, "factor": 0.3},
    {"source": "moons", "noise": 0.3},
    {"source": "two_spirals", "noise": 0.1},
    {"source": "parity"},
    {"source": "teacher"},
    {"source": "adding_problem", "length": 20},
)
BUNDLED = ("breast_cancer", "digits", "wine", "iris", "diabetes")


def _measured(rows: np.ndarray[Any, Any]) -> tuple[float, float]:
    kernel = kernel_of(rows.astype(np.float64))
    own = np.trace(kernel)
    return own / len(rows), (kernel.sum() - own) / (len(rows) * (len(rows) - 1))


@pytest.mark.parametrize("scale", ["none", "standard", "minmax"])
@pytest.mark.parametrize("source", BUNDLED)
def test_bundled_rows_have_the_moments_that_are_written_down(source: str, scale: str) -> None:
    planned = plan_of(model="baseline", data={"source": source, "scale": scale})

    square, product = _measured(load(planned).x_train)

    expected = expected_inputs(TheoryInput.of(planned)).rows
    assert square == pytest.approx(expected.square, rel=2e-3)
    assert product == pytest.approx(expected.product, rel=2e-3, abs=0.01 * square)


@pytest.mark.parametrize("scale", ["none", "standard", "minmax"])
@pytest.mark.parametrize("data", GENERATED, ids=lambda data: data["source"])
def test_generated_rows_have_the_moments_of_their_density(data: dict[str, Any], scale: str) -> None:
    moments = []
    for seed in range(4):
        planned = plan_of(model="baseline", data={**data, "scale": scale, "seed": seed})
        moments.append(_measured(load(planned).x_train))
    square, product = np.mean(moments, axis=0)

    expected = expected_inputs(TheoryInput.of(planned)).rows
    # Between bounds the table is that of the default fields, which the noise moves a little.
    assert square == pytest.approx(expected.square, rel=0.1 if scale == "minmax" else 0.03)
    assert product == pytest.approx(expected.product, abs=(0.05 if scale == "minmax" else 0.03) * square)


def test_blobs_have_the_moments_of_their_centers_over_many_seeds() -> None:
    moments = []
    for seed in range(60):
        planned = plan_of(model="baseline", data={"source": "blobs", "samples": 100, "features": 8, "seed": seed})
        moments.append(_measured(load(planned).x_train))
    square, product = np.mean(moments, axis=0)

    expected = expected_inputs(TheoryInput.of(planned)).rows
    assert square == pytest.approx(expected.square, rel=0.1)
    assert product == pytest.approx(expected.product, rel=0.15)


@pytest.mark.parametrize("data", [{"source": "diabetes"}, {"source": "adding_problem"}], ids=str)
def test_targets_have_the_moments_that_are_written_down(data: dict[str, Any]) -> None:
    planned = plan_of(model="baseline", data=data)

    targets = load(planned).y_train.astype(np.float64)

    expected = expected_inputs(TheoryInput.of(planned)).targets
    assert targets.mean() == pytest.approx(expected.mean, rel=0.02)
    assert targets.var() == pytest.approx(expected.variance, rel=0.05)


def test_every_measured_row_is_of_a_source_and_a_scale_that_exist() -> None:
    for source, scale in MEASURED:
        spec = ExperimentSpec.model_validate({"model": "baseline", "data": {"source": source, "scale": scale}})
        assert spec.data.scale == scale


@pytest.mark.parametrize(("scale", "assumed"), [("none", True), ("standard", False), ("minmax", True)])
def test_of_an_upload_it_is_said_what_is_assumed(scale: str, assumed: bool) -> None:
    data = {"source": "upload", "dataset_id": "0" * 24, "scale": scale}
    spec = ExperimentSpec.model_validate({"model": "baseline", "data": data}).resolved()
    planned = plan(spec, DataShape(samples=100, input_shape=(5,), classes=2))

    expected = expected_inputs(TheoryInput.of(planned))

    assert (expected.assumption is not None) == assumed
