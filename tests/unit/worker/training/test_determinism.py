"""Equal specs give equal bytes, however the steps fall into chunks."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from service.contract.data_spec import BundledData
from service.contract.model_spec import ModelSpec
from service.contract.recording_spec import Statistic
from service.contract.spec import ExperimentSpec
from service.contract.training_spec import TrainingSpec
from tests.support.plans import plan_of
from tests.support.training_runs import run_of
from worker.training import engine, program
from worker.training.data import Floats


@dataclass(frozen=True)
class History:
    gradient_norm: bytes
    step_loss: bytes
    epochs: list[dict[str, float]]
    weights: list[bytes]
    starts: list[int]  # first step of each chunk

    def __eq__(self, other: object) -> bool:
        """Whether the same bytes were recorded, in whatever chunks."""
        return isinstance(other, History) and self._recorded() == other._recorded()

    def _recorded(self) -> tuple[object, ...]:
        return self.gradient_norm, self.step_loss, self.epochs, self.weights


def spec_of(model: ModelSpec | str, seed: int = 7) -> ExperimentSpec:
    """455 training samples: 14 whole batches and a smaller one per epoch."""
    return ExperimentSpec.model_validate(
        {
            "model": {"kind": model, "depth": 2, "width": 16},
            "data": BundledData(source="breast_cancer", scale="standard", seed=1),
            "training": TrainingSpec(epochs=2, seed=seed),
        }
    ).resolved()


def history(spec: ExperimentSpec, *, xla: bool = False, record: bool = True) -> History:
    planned = plan_of(spec)
    run = run_of(planned, xla=xla, record=record)
    chunks = list(run.chunks())
    trainable, moving_statistics = run.program.variables(run.state)

    def packed(series: list[Floats]) -> bytes:
        return np.concatenate(series).tobytes()

    return History(
        gradient_norm=packed([chunk.recorded[Statistic.GRADIENT_NORM] for chunk in chunks]) if record else b"",
        step_loss=packed([chunk.step_loss for chunk in chunks]),
        epochs=[dict(chunk.epoch_metrics) for chunk in chunks if chunk.epoch_metrics is not None],
        weights=[values.tobytes() for values in trainable + moving_statistics],
        starts=[chunk.start for chunk in chunks],
    )


@cache
def expected(kind: str, xla: bool = False) -> History:
    """The history of `spec_of(kind)`, computed once."""
    return history(spec_of(kind), xla=xla)


@pytest.mark.parametrize("xla", [False, True], ids=["graph", "xla"])
def test_a_spec_gives_the_same_bytes_twice(xla: bool) -> None:
    assert history(spec_of("improved"), xla=xla) == expected("improved", xla)


def test_another_seed_gives_other_bytes_on_the_same_data() -> None:
    one, other = expected("improved"), history(spec_of("improved", seed=8))

    assert one.step_loss != other.step_loss
    assert one.gradient_norm != other.gradient_norm
    assert one.weights != other.weights


@pytest.mark.parametrize("xla", [False, True], ids=["graph", "xla"])
def test_bytes_do_not_depend_on_the_speed_of_the_machine(xla: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a machine so slow that each step is a chunk, and one so fast that the whole batches of an epoch are one
    spec = spec_of("baseline")
    monkeypatch.setattr(engine, "CHUNK_SECONDS", 0.0)
    slow = history(spec, xla=xla)
    monkeypatch.setattr(engine, "CHUNK_SECONDS", 600.0)
    monkeypatch.setattr(engine, "MAX_GROWTH", 1000)

    # when
    fast = history(spec, xla=xla)

    # then
    assert slow.starts == list(range(30))
    assert fast.starts == [0, 1, 14, 15, 29]
    assert slow == fast


@pytest.mark.parametrize("kind", ["baseline", "improved"])
def test_bytes_do_not_depend_on_the_capacity_of_a_call(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = expected(kind)
    monkeypatch.setattr(program, "MAX_STEPS_PER_CALL", 3)

    found = history(spec_of(kind))

    assert np.max(np.diff(found.starts)) == 3
    assert found == whole


@pytest.mark.parametrize(
    ("kind", "xla"),
    [("baseline", False), ("improved", False), ("improved", True)],
    ids=["baseline, graph", "improved, graph", "improved, xla"],
)
def test_a_run_without_statistics_ends_with_the_same_weights(kind: str, xla: bool) -> None:
    recorded = expected(kind, xla)

    plain = history(spec_of(kind), xla=xla, record=False)

    assert plain.gradient_norm == b""
    assert plain.weights == recorded.weights
    assert plain.step_loss == recorded.step_loss
    assert plain.epochs == recorded.epochs
