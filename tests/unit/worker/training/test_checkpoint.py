"""A run that continues from any checkpoint records the same bytes as a run without interruption."""

import ast
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.contract.plan import Plan
from tests.support.plans import plan_of
from worker.training import engine
from worker.training.checkpoint import Position, TrainingCheckpoint
from worker.training.data import load
from worker.training.early_stopping import EarlyStoppingState
from worker.training.engine import Chunk, TrainingRun
from worker.training.program import Program

ROOT = Path(__file__).parents[4]

# 45 training samples: five whole batches and a smaller one per epoch.
DATA = {"source": "random", "samples": 60, "features": 5}
TRAINING = {"epochs": 4, "batch_size": 8, "validation_split": 0.25}
STOPS = {"monitor": "val_loss", "patience": 1, "restore_best_weights": True}
RUNS: dict[str, dict[str, Any]] = {
    "improved, Adam": {"model": {"kind": "improved", "depth": 2, "width": 6}},
    "momentum": {"training": {"optimizer": {"name": "sgd", "momentum": 0.9, "learning_rate": 0.1}}},
    "dropout": {"model": {"kind": "mlp", "depth": 2, "width": 6, "dropout": 0.5}},
    "early stopping": {
        "training": {"epochs": 30, "early_stopping": STOPS, "optimizer": {"name": "adam", "learning_rate": 0.3}}
    },
    "a schedule": {"training": {"learning_rate_schedule": {"name": "CosineDecay", "decay_steps": 20}}},
    "every third step, inactive units": {
        "model": {"kind": "mlp", "depth": 2, "width": 6},
        "recording": {"every": 3, "statistics": ["gradient_norm", "inactive_units"]},
    },
    "regression in double precision": {
        "data": {"source": "diabetes", "scale": "standard"},
        "training": {"precision": "float64", "batch_size": 64},
    },
    "divergence": {"training": {"optimizer": {"name": "sgd", "learning_rate": 1e30}}},
}


def plan_named(name: str) -> Plan:
    parts = {"model": {"kind": "baseline", "depth": 2, "width": 6}, "data": DATA} | RUNS[name]
    return plan_of(**parts | {"training": TRAINING | RUNS[name].get("training", {})})


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks have two steps at most, so that a run can be interrupted at many steps."""
    monkeypatch.setattr(engine, "CHUNK_SECONDS", 0.0)


@pytest.fixture(scope="module", params=RUNS)
def whole(request: pytest.FixtureRequest) -> tuple[Plan, Program, list[bytes], int]:
    """A plan, its program, the history of a run without interruption, and its number of steps."""
    plan = plan_named(request.param)
    run = TrainingRun(plan, load(plan))
    chunks = list(run.chunks())
    return plan, run.program, _history(run, chunks), chunks[-1].stop


def _history(run: TrainingRun, chunks: list[Chunk]) -> list[bytes]:
    weights, buffers = run.program.variables(run.state)
    recorded = [np.concatenate([chunk.recorded[name] for chunk in chunks]) for name in chunks[0].recorded]
    epochs = [list(chunk.epoch_metrics.values()) for chunk in chunks if chunk.epoch_metrics is not None]
    ends = [(chunk.diverged_at_step, chunk.stopped_early) for chunk in chunks if chunk.stopped_early]
    losses = np.concatenate([chunk.step_loss for chunk in chunks])
    return [a.tobytes() for a in (losses, *recorded, np.array(epochs), np.array(ends), *weights, *buffers)]


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_interruptions_at_any_steps_leave_the_history_as_it_is(
    whole: tuple[Plan, Program, list[bytes], int], data: st.DataObject
) -> None:
    plan, program, expected, steps = whole
    interrupt_after = data.draw(st.lists(st.integers(1, steps), min_size=1, max_size=4))
    chunks: list[Chunk] = []

    def first_chunks(run: TrainingRun, count: int | None) -> Iterator[Chunk]:
        for number, chunk in enumerate(run.chunks(), 1):
            yield chunk
            if number == count:
                return

    file: bytes | None = None
    for count in (*interrupt_after, None):
        checkpoint = None if file is None else TrainingCheckpoint.unpacked(file)
        run = TrainingRun(plan, load(plan), program, checkpoint=checkpoint)
        chunks += first_chunks(run, count)
        file = run.checkpoint().packed()

    assert run.has_ended
    assert _history(run, chunks) == expected


def test_a_run_continues_with_a_new_program() -> None:
    plan = plan_named("improved, Adam")
    run = TrainingRun(plan, load(plan))
    chunks = list(run.chunks())
    first = TrainingRun(plan, load(plan))
    chunks_before = [chunk for _, chunk in zip(range(5), first.chunks(), strict=False)]

    second = TrainingRun(plan, load(plan), checkpoint=TrainingCheckpoint.unpacked(first.checkpoint().packed()))

    assert _history(second, chunks_before + list(second.chunks())) == _history(run, chunks)


def test_unpacking_restores_what_was_packed() -> None:
    plan = plan_named("early stopping")
    run = TrainingRun(plan, load(plan))
    for _ in zip(range(9), run.chunks(), strict=False):
        pass
    before = run.checkpoint()

    after = TrainingCheckpoint.unpacked(before.packed())

    assert (after.position.epoch, after.position.batch, after.position.step) == (
        before.position.epoch,
        before.position.batch,
        before.position.step,
    )
    assert after.early_stopping == before.early_stopping
    assert isinstance(after.early_stopping, EarlyStoppingState)
    assert isinstance(after.position, Position)
    for ours, theirs in ((after.state, before.state), (after.best, before.best)):
        assert ours is not None
        assert theirs is not None
        for mine, other in zip(ours.slots + ours[:2], theirs.slots + theirs[:2], strict=True):
            assert mine.dtype == other.dtype
            assert np.array_equal(mine, other)


def test_training_leaves_earlier_checkpoints_as_they_are() -> None:
    plan = plan_named("momentum")
    run = TrainingRun(plan, load(plan))
    chunks = run.chunks()
    next(chunks)
    checkpoint = run.checkpoint()
    packed = checkpoint.packed()

    for _ in chunks:
        pass

    assert checkpoint.packed() == packed
    assert run.checkpoint().position.epoch > checkpoint.position.epoch


def test_a_position_cannot_be_mutated() -> None:
    with pytest.raises(FrozenInstanceError):
        Position().step = 1  # type: ignore[misc]


def test_no_class_of_the_engine_shares_its_name_with_a_class_of_the_store() -> None:
    engine_classes = classes_in("worker/training")

    assert not engine_classes & (classes_in("service/store") | classes_in("service/contract"))
    assert "TrainingCheckpoint" in engine_classes


def classes_in(folder: str) -> set[str]:
    trees = [ast.parse(path.read_text()) for path in (ROOT / folder).rglob("*.py")]
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
