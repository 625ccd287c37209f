"""A program is created once per architecture, and as many programs are kept as fit."""

import gc
import threading
import weakref
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest

from service.contract.plan import Plan
from tests.support.plans import plan_of
from tests.support.traces import assert_max_traces
from worker.training import program
from worker.training.data import load
from worker.training.engine import TrainingRun
from worker.training.keras_session import KerasSession
from worker.training.programs import Programs, estimated_bytes

BLOCKED_FOR_S = 0.3  # after which a thread that has not cleared Keras's state counts as blocked


def small(width: int = 3, **training: Any) -> Plan:
    return plan_of(
        model={"kind": "improved", "depth": 2, "width": width},
        data={"source": "random", "samples": 70, "features": 4},
        training={"epochs": 2, **training},
    )


def history(plan: Plan, programs: Programs) -> tuple[bytes, ...]:
    """What a run records with the program of its architecture."""
    run = TrainingRun(plan, load(plan), programs.program_for(plan))
    run.compile()
    chunks = list(run.chunks())
    recorded = [np.concatenate([c.recorded[name] for c in chunks]).tobytes() for name in plan.recorded]
    return (np.concatenate([c.step_loss for c in chunks]).tobytes(), *recorded)


@pytest.fixture(scope="module")
def used() -> Programs:
    """The program of `small()` after one run."""
    programs = Programs()
    history(small(), programs)
    return programs


@pytest.mark.parametrize(
    "training",
    [
        {"seed": 5},
        {"optimizer": {"name": "adam", "learning_rate": 0.1, "beta_1": 0.5}},
        {"epochs": 3},
        {"learning_rate_schedule": {"name": "ExponentialDecay", "decay_steps": 3, "decay_rate": 0.5}},
    ],
)
def test_another_run_of_an_architecture_traces_nothing_and_records_its_own_bytes(
    used: Programs, training: dict[str, Any]
) -> None:
    with assert_max_traces(used.program_for(small()).functions):
        after_another = history(small(**training), used)

    assert len(used) == 1
    assert after_another == history(small(**training), Programs())


def test_each_run_uses_its_own_clipping_threshold_and_initial_accumulator_value() -> None:
    programs = Programs()
    for value in (0.1, 0.5):
        for threshold in (0.01, 1.0):
            training: dict[str, Any] = {
                "optimizer": {"name": "adagrad", "initial_accumulator_value": value},
                "gradient_clipping": {"by": "norm", "threshold": threshold},
            }
            assert history(small(**training), programs) == history(small(**training), Programs())
    assert len(programs) == 1


def test_noise_depends_on_the_seed_of_the_run_and_not_on_the_seed_that_was_compiled() -> None:
    def noisy(seed: int) -> Plan:
        return plan_of(
            model={"kind": "mlp", "depth": 2, "width": 5, "dropout": 0.4},
            data={"source": "random", "samples": 70, "features": 4, "seed": 1},
            training={"epochs": 1, "seed": seed},
        )

    programs = Programs()
    first, second = history(noisy(1), programs), history(noisy(2), programs)

    assert first != second
    assert (first, second) == (history(noisy(1), Programs()), history(noisy(2), Programs()))


def test_a_long_run_has_another_program_than_a_short_run_of_its_architecture() -> None:
    programs = Programs()
    programs.program_for(small())
    long = small(epochs=-(-program.XLA_FROM_STEPS // 2))
    assert long.work.total_steps >= program.XLA_FROM_STEPS

    programs.program_for(long)

    assert len(programs) == 2
    assert len(programs.architectures) == 1


def test_the_least_recently_used_program_is_dropped_and_freed() -> None:
    programs = Programs(max_programs=2)
    for width in (3, 4):
        history(small(width), programs)
    dropped, kept = (weakref.ref(programs.program_for(small(width))) for width in (4, 3))

    programs.program_for(small(5))
    gc.collect()

    assert len(programs) == 2
    assert dropped() is None
    assert kept() is programs.program_for(small(3))
    assert not programs.has(small(4))


def test_architectures_are_listed_with_the_most_recently_used_first() -> None:
    programs = Programs()
    programs.program_for(small(3))
    first = programs.architectures
    programs.program_for(small(4))
    assert programs.architectures[1:] == first
    programs.program_for(small(3))

    assert programs.architectures[:1] == first


def test_the_program_of_a_failed_run_can_be_forgotten_more_than_once() -> None:
    programs = Programs()
    programs.program_for(small())

    programs.forget(small())
    programs.forget(small())

    assert len(programs) == 0


def wide(units: int) -> Plan:
    return plan_of(
        model={"kind": "mlp", "hidden_units": [2_000, units]},
        data={"source": "random", "samples": 40, "features": 4},
        training={"epochs": 1, "optimizer": "sgd"},
    )


def test_programs_are_dropped_by_their_size_and_the_latest_is_kept_whatever_its_size() -> None:
    size = estimated_bytes(wide(2_000))
    assert size > 4 * 2_000 * 2_000
    programs = Programs(max_bytes=2 * size + 2**20)
    for units in (2_000, 2_001, 2_002):
        programs.program_for(wide(units))

    assert [programs.has(wide(units)) for units in (2_000, 2_001, 2_002)] == [False, True, True]
    assert not programs.has_capacity_for(wide(2_003))
    smaller_than_any = Programs(max_bytes=1)
    for units in (2, 3):
        smaller_than_any.program_for(wide(units))
        assert smaller_than_any.has(wide(units))
    assert len(smaller_than_any) == 1


def test_the_estimate_of_a_loop_over_equal_layers_does_not_grow_with_their_number() -> None:
    @cache
    def deep(depth: int) -> int:
        return estimated_bytes(plan_of(model={"kind": "baseline", "depth": depth, "width": 3}))

    different = plan_of(model={"kind": "mlp", "hidden_units": list(range(1, 31))})

    assert deep(800) == deep(400) < estimated_bytes(different)


def test_forgetting_a_program_waits_until_another_thread_has_traced_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    right, programs = history(small(4), Programs()), Programs()
    programs.program_for(small(5))
    tracing, cleared = threading.Event(), threading.Event()
    enter, clear = keras.StatelessScope.__enter__, keras.backend.clear_session

    def pause_in_first_scope(scope: keras.StatelessScope) -> keras.StatelessScope:
        entered = enter(scope)
        if not tracing.is_set():
            tracing.set()
            assert not cleared.wait(BLOCKED_FOR_S)
        return entered

    def report_clear(free_memory: bool) -> None:
        clear(free_memory=free_memory)
        cleared.set()

    def compile_another() -> None:
        TrainingRun(small(4), load(small(4)), programs.program_for(small(4))).compile()

    monkeypatch.setattr(keras.StatelessScope, "__enter__", pause_in_first_scope)
    monkeypatch.setattr(keras.backend, "clear_session", report_clear)
    compiling = threading.Thread(target=compile_another)
    compiling.start()
    tracing.wait()
    programs.forget(small(5))
    compiling.join()

    assert cleared.is_set()
    assert history(small(4), programs) == right


def test_a_thread_that_holds_the_session_keeps_others_from_creating_programs() -> None:
    programs, created = Programs(), threading.Event()

    def create() -> None:
        programs.program_for(small())
        created.set()

    creating = threading.Thread(target=create)
    with KerasSession().exclusive():
        creating.start()
        assert not created.wait(0.05)
    creating.join()

    assert len(programs) == 1
