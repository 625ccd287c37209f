"""Expected moments of data sets, compared with the moments of their samples."""

from typing import Any

import numpy as np
import pytest

from service.analysis.theory import TheoryInput
from service.analysis.theory.data_moments import MEASURED, expected_data, kernel_of
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


def _measured(inputs: np.ndarray[Any, Any]) -> tuple[float, float]:
    kernel = kernel_of(inputs.astype(np.float64))
    own, samples = np.trace(kernel), len(inputs)
    return own / samples, (kernel.sum() - own) / (samples * (samples - 1))


@pytest.mark.parametrize("scale", ["none", "standard", "minmax"])
@pytest.mark.parametrize("source", BUNDLED)
def test_bundled_samples_have_the_listed_moments(source: str, scale: str) -> None:
    planned = plan_of(model="baseline", data={"source": source, "scale": scale})

    square, product = _measured(load(planned).x_train)

    expected = expected_data(TheoryInput.of(planned)).samples
    assert square == pytest.approx(expected.square, rel=2e-3)
    assert product == pytest.approx(expected.product, rel=2e-3, abs=0.01 * square)


@pytest.mark.parametrize("scale", ["none", "standard", "minmax"])
@pytest.mark.parametrize("data", GENERATED, ids=lambda data: data["source"])
def test_generated_samples_have_the_moments_of_their_density(data: dict[str, Any], scale: str) -> None:
    moments = []
    for seed in range(4):
        planned = plan_of(model="baseline", data={**data, "scale": scale, "seed": seed})
        moments.append(_measured(load(planned).x_train))
    square, product = np.mean(moments, axis=0)

    expected = expected_data(TheoryInput.of(planned)).samples
    # With min-max scaling the table holds for the default fields; noise changes the moments a little.
    assert square == pytest.approx(expected.square, rel=0.1 if scale == "minmax" else 0.03)
    assert product == pytest.approx(expected.product, abs=(0.05 if scale == "minmax" else 0.03) * square)


def test_blobs_have_the_moments_of_their_centers_over_many_seeds() -> None:
    moments = []
    for seed in range(60):
        planned = plan_of(model="baseline", data={"source": "blobs", "samples": 100, "features": 8, "seed": seed})
        moments.append(_measured(load(planned).x_train))
    square, product = np.mean(moments, axis=0)

    expected = expected_data(TheoryInput.of(planned)).samples
    assert square == pytest.approx(expected.square, rel=0.1)
    assert product == pytest.approx(expected.product, rel=0.15)


@pytest.mark.parametrize("data", [{"source": "diabetes"}, {"source": "adding_problem"}], ids=str)
def test_targets_have_the_listed_moments(data: dict[str, Any]) -> None:
    planned = plan_of(model="baseline", data=data)

    targets = load(planned).y_train.astype(np.float64)

    expected = expected_data(TheoryInput.of(planned)).targets
    assert targets.mean() == pytest.approx(expected.mean, rel=0.02)
    assert targets.var() == pytest.approx(expected.variance, rel=0.05)


def test_every_measured_entry_names_an_existing_source_and_scale() -> None:
    for source, scale in MEASURED:
        spec = ExperimentSpec.model_validate({"model": "baseline", "data": {"source": source, "scale": scale}})
        assert spec.data.scale == scale


@pytest.mark.parametrize(("scale", "assumed"), [("none", True), ("standard", False), ("minmax", True)])
def test_an_assumption_about_an_upload_is_stated(scale: str, assumed: bool) -> None:
    data = {"source": "upload", "dataset_id": "0" * 24, "scale": scale}
    spec = ExperimentSpec.model_validate({"model": "baseline", "data": data}).resolved()

    planned = plan(spec, DataShape(samples=100, input_shape=(5,), classes=2))

    expected = expected_data(TheoryInput.of(planned))

    assert (expected.assumption is not None) == assumed
