"""Programs are made once for each architecture, and as many as fit are kept."""

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from service.contract.plan import Plan
from tests.plans import plan_of
from worker.training import program
from worker.training.data import load
from worker.training.engine import TrainingRun
from worker.training.programs import Programs


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
    programs = Programs(kept=2)
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
