"""Programs are made once for each architecture, and as many as fit are kept."""

import gc
import threading
import time
import weakref
from typing import Any

import keras
import numpy as np
import pytest

from service.contract.plan import Plan
from tests.support.plans import plan_of
from worker.training import program
from worker.training.data import load
from worker.training.engine import TrainingRun
from worker.training.programs import Programs, estimated_bytes


def small(width: int = 3, **training: Any) -> Plan:
    return plan_of(
        model={"kind": "improved", "depth": 6, "width": width},
        data={"source": "random", "samples": 70, "features": 4},
        training={"epochs": 2, **training},
    )


def history(planned: Plan, programs: Programs) -> tuple[bytes, ...]:
    run = TrainingRun(planned, load(planned), programs.program_for(planned))
    run.compile()
    chunks = list(run.chunks())
    recorded = [np.concatenate([c.recorded[name] for c in chunks]).tobytes() for name in planned.recorded]
    return (np.concatenate([c.step_loss for c in chunks]).tobytes(), *recorded)


def traces(programs: Programs, planned: Plan) -> int:
    made = programs.program_for(planned)
    return sum(f.experimental_get_tracing_count() for f in (made._graph_steps, made._evaluate))


@pytest.mark.parametrize(
    "training",
    [
        {"seed": 5},
        {"optimizer": {"name": "adam", "learning_rate": 0.1, "beta_1": 0.5}},
        {"epochs": 3},
        {"learning_rate_schedule": {"name": "ExponentialDecay", "decay_steps": 3, "decay_rate": 0.5}},
    ],
)
def test_another_run_of_an_architecture_traces_nothing_and_gives_its_own_bytes(
    training: dict[str, Any],
) -> None:
    programs = Programs()
    history(small(), programs)
    before = traces(programs, small())

    after_another = history(small(**training), programs)

    assert traces(programs, small()) == before
    assert len(programs) == 1
    assert after_another == history(small(**training), Programs())


def test_thresholds_and_initial_accumulators_are_those_of_the_run() -> None:
    programs = Programs()
    for value in (0.1, 0.5):
        for threshold in (0.01, 1.0):
            training: dict[str, Any] = {
                "optimizer": {"name": "adagrad", "initial_accumulator_value": value},
                "gradient_clipping": {"by": "norm", "threshold": threshold},
            }
            assert history(small(**training), programs) == history(small(**training), Programs())
    assert len(programs) == 1


def test_noise_follows_the_seed_of_the_run_and_not_of_the_one_that_was_compiled() -> None:
    def noisy(seed: int) -> Plan:
        return plan_of(
            model={"kind": "mlp", "depth": 6, "width": 5, "dropout": 0.4},
            data={"source": "random", "samples": 70, "features": 4, "seed": 1},
            training={"epochs": 1, "seed": seed},
        )

    programs = Programs()
    first, second = history(noisy(1), programs), history(noisy(2), programs)

    assert first != second
    assert (first, second) == (history(noisy(1), Programs()), history(noisy(2), Programs()))


def test_long_runs_have_a_program_of_their_own() -> None:
    programs = Programs()
    history(small(), programs)
    long = small(epochs=-(-program.XLA_FROM_STEPS // 2))
    assert long.work.total_steps >= program.XLA_FROM_STEPS

    programs.program_for(long)

    assert len(programs) == 2
    assert len(programs.architectures) == 1


def test_the_least_recently_used_program_makes_room_and_is_freed() -> None:
    programs = Programs(max_programs=2)
    for width in (3, 4):
        history(small(width), programs)
    freed, kept = (weakref.ref(programs.program_for(small(width))) for width in (4, 3))

    programs.program_for(small(5))
    gc.collect()

    assert len(programs) == 2
    assert freed() is None
    assert kept() is programs.program_for(small(3))
    assert not programs.has(small(4))


def test_architectures_are_named_with_the_latest_first() -> None:
    programs = Programs()
    first = programs.program_for(small(3)) and programs.architectures
    programs.program_for(small(4))
    assert programs.architectures[1:] == first
    programs.program_for(small(3))

    assert programs.architectures[:1] == first


def test_the_program_of_a_failed_run_is_forgotten() -> None:
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


def test_large_programs_make_room_by_their_size_and_the_latest_always_has_some() -> None:
    size = estimated_bytes(wide(2_000))
    assert size > 4 * 2_000 * 2_000
    programs = Programs(max_bytes=2 * size + 2**20)
    for units in (2_000, 2_001, 2_002):
        programs.program_for(wide(units))

    assert [programs.has(wide(units)) for units in (2_000, 2_001, 2_002)] == [False, True, True]
    assert not programs.has_capacity_for(wide(2_003))
    larger_than_all = Programs(max_bytes=1)
    for units in (2, 3):
        larger_than_all.program_for(wide(units))
        assert larger_than_all.has(wide(units))
    assert len(larger_than_all) == 1


def test_a_loop_over_equal_layers_takes_what_one_of_them_takes() -> None:
    def deep(depth: int) -> int:
        return estimated_bytes(plan_of(model={"kind": "baseline", "depth": depth, "width": 3}))

    different = plan_of(model={"kind": "mlp", "hidden_units": list(range(1, 31))})

    assert deep(800) == deep(400) < estimated_bytes(different)


def test_a_program_that_is_forgotten_leaves_what_another_thread_traces_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    right, programs = history(small(4), Programs()), Programs()
    programs.program_for(small(5))
    inside, enter = threading.Event(), keras.StatelessScope.__enter__

    def pause(scope: keras.StatelessScope) -> keras.StatelessScope:
        entered = enter(scope)
        if not inside.is_set():
            inside.set()
            time.sleep(0.3)  # long enough for the other to clear what this scope lives in, if it may
        return entered

    def compile_another() -> None:
        TrainingRun(small(4), load(small(4)), programs.program_for(small(4))).compile()

    monkeypatch.setattr(keras.StatelessScope, "__enter__", pause)
    compiling = threading.Thread(target=compile_another)
    compiling.start()
    inside.wait()
    programs.forget(small(5))
    compiling.join()

    assert history(small(4), programs) == right
