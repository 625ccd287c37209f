"""The measures of a run with an artificial history."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.diagnosis.case import RunSpec
from benchmarks.diagnosis.facts import facts_of
from benchmarks.diagnosis.run import Floats, Run
from service.contract.recording_spec import Statistic

SPEC = {
    "model": {"kind": "mlp", "depth": 2, "width": 4, "activation": "tanh"},
    "data": {"source": "moons", "samples": 100},
    "training": {"epochs": 4, "batch_size": 40, "seed": 3},  # 80 training samples: 2 steps per epoch
}


def _run(series: dict[Statistic, Floats] | None = None, **fields: Any) -> Run:
    spec = RunSpec.of(SPEC)
    norms = np.ones((6, 8), np.float32)
    units = {Statistic.INACTIVE_UNITS: np.zeros((2, 8)), Statistic.SATURATED_FRACTION: np.zeros((2, 8))}
    given: dict[str, Any] = {
        "spec": spec.spec,
        "steps": np.arange(8),
        "step_loss": np.linspace(0.7, 0.1, 8),
        "epochs": {
            "loss": np.array([0.6, 0.4, 0.3, 0.2]),
            "val_loss": np.array([0.6, 0.5, 0.4, 0.3]),
            "val_accuracy": np.array([0.6, 0.7, 0.8, 0.9]),
        },
        "diverged_at_step": None,
        "trivial_loss": 0.6,
        "trivial_accuracy": 0.5,
        **fields,
    }
    return Run(series={Statistic.GRADIENT_NORM: norms, **units, **(series or {})}, **given)


def test_skill_is_0_for_a_constant_output_and_1_for_no_error_in_the_last_epochs() -> None:
    assert facts_of(_run()).skill == pytest.approx((0.8 - 0.5) / 0.5)
    assert facts_of(_run(trivial_accuracy=math.nan)).skill == pytest.approx(1 - 0.4 / 0.6)
    assert facts_of(_run(diverged_at_step=7)).skill == 0.0


def test_profiles_use_the_root_mean_squares_of_kernels() -> None:
    norms = np.ones((6, 8))
    norms[0] = math.sqrt(8) * 1e-3  # dense_0/kernel [2, 4]
    norms[1] = 1e-9  # a bias
    norms[2] = 4e-1  # dense_1/kernel [4, 4]
    norms[4] = 2e0  # output/kernel [4, 1]
    norms[0, 2:] = math.sqrt(8) * 1e-5  # after the first epoch

    facts = facts_of(_run({Statistic.GRADIENT_NORM: norms}))

    assert facts.smallest == pytest.approx(-3)
    assert facts.smallest_throughout == pytest.approx(-5)
    assert facts.largest == pytest.approx(0)
    assert facts.spread == pytest.approx(3)


def test_a_gradient_of_zero_is_the_smallest_and_one_that_is_not_finite_the_largest() -> None:
    norms = np.ones((6, 8))
    norms[0], norms[2, 5] = 0.0, np.nan

    facts = facts_of(_run({Statistic.GRADIENT_NORM: norms}))

    assert facts.smallest == -math.inf
    assert facts.largest == math.inf


def test_dead_and_saturated_units_are_measured_at_the_end() -> None:
    inactive, saturated = np.zeros((2, 8)), np.zeros((2, 8))
    inactive[1, -1], saturated[0, -2:], saturated[1] = 0.75, 0.5, np.nan

    facts = facts_of(_run({Statistic.INACTIVE_UNITS: inactive, Statistic.SATURATED_FRACTION: saturated}))

    assert facts.dead == {"dense_0": 0.0, "dense_1": 0.75}
    assert facts.saturated == {"dense_0": 0.5}
    assert (facts.max_dead, facts.max_saturated) == (0.75, 0.5)


def test_a_rise_of_the_loss_is_at_least_a_fifth_and_not_negligible() -> None:
    def rises(*losses: float) -> float:
        run = _run(epochs={"loss": np.array(losses), "val_loss": np.ones(4), "val_accuracy": np.ones(4)})
        return facts_of(run).rises

    assert rises(0.5, 0.61, 0.5, 0.59) == pytest.approx(1 / 3)
    assert rises(1e-4, 1e-3, 1e-4, 1e-2) == 0.0


def test_overfitting_is_relative_to_the_trivial_loss() -> None:
    run = _run(epochs={"loss": np.ones(4), "val_loss": np.array([0.3, 0.6, 0.7, 0.6]), "val_accuracy": np.ones(4)})

    assert facts_of(run).overfitted == pytest.approx(0.5)


def test_a_step_is_clipped_if_any_gradient_changes() -> None:
    clipped = np.ones((6, 8))
    clipped[3, :2] = 0.5

    assert facts_of(_run({Statistic.CLIPPED_NORM: clipped})).clipped == 0.25
    assert facts_of(_run()).clipped == 0.0


def test_a_run_read_from_its_file_equals_the_written_one(tmp_path: Path) -> None:
    run = _run(first_inputs=np.ones((40, 2), np.float32), first_errors=np.full((40, 1), 0.25, np.float32))

    run.save(tmp_path / "run.npz")
    found = Run.load(tmp_path / "run.npz")

    assert found.spec == run.spec
    assert found.plan == run.plan
    assert list(tmp_path.iterdir()) == [tmp_path / "run.npz"]
    assert found.series.keys() == run.series.keys()
    for statistic, values in run.series.items():
        np.testing.assert_array_equal(found.series[statistic], values)
    for name, values in run.epochs.items():
        np.testing.assert_array_equal(found.epochs[name], values)
    assert found.first_errors is not None
    np.testing.assert_array_equal(found.first_errors, run.first_errors)
    assert (found.trivial_loss, found.trivial_accuracy, found.diverged_at_step) == (0.6, 0.5, None)
