"""Which run a trainer claims next."""

from collections.abc import Sequence
from itertools import count

import pytest
import redis

from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.history_format import HistoryChunk
from service.contract.record import Outcome, Status, Timing
from service.contract.study_spec import StudySpec
from service.store.attempts import JOIN_FROM_STEPS, Attempts
from service.store.experiments import Experiments
from service.store.ids import Ids
from service.store.studies import Studies
from tests.support.plans import new_experiment, plan_of
from tests.support.served_api import attempts_of

PLANNED = plan_of(model="baseline")
IDS = Ids(count(1).__next__)  # ids sort in the order of their creation


@pytest.fixture
def studies(client: redis.Redis) -> Studies:
    return Studies(client, ids=IDS)


def queue_study(studies: Studies, architectures: Sequence[str], steps: int = 1) -> list[str]:
    """One run of each architecture named, in this order."""
    norms = GradientNormLayout.of(PLANNED)
    runs = [
        new_experiment(PLANNED.spec, (), PLANNED.shape, architecture, steps, norms) for architecture in architectures
    ]
    spec = StudySpec(base={"model": "baseline"}, axes={"training.seed": list(range(len(runs)))})
    _, ids = studies.create(spec, runs, (), ())
    return ids


def queue_single(store: Experiments) -> str:
    experiment_id = IDS.new()
    store.create(experiment_id, new_experiment(PLANNED.spec))
    return experiment_id


def take(store: Experiments, *compiled: str) -> str | None:
    claim = attempts_of(store).claim_next("cpu", "here:1", compiled)
    return None if claim is None else claim.experiment_id


def test_nothing_is_claimed_if_nothing_is_queued(store: Experiments, attempts: Attempts) -> None:
    assert take(store) is None
    assert not attempts.any_queued()


def test_single_experiments_are_claimed_first_the_oldest_before_the_others(
    store: Experiments, studies: Studies
) -> None:
    study = queue_study(studies, ["a"])
    singles = [queue_single(store) for _ in range(3)]

    assert [take(store, "a") for _ in range(4)] == [*singles, *study]


def test_runs_of_a_compiled_architecture_are_claimed_before_others_the_last_used_first(
    store: Experiments, studies: Studies
) -> None:
    a, b, c, other_b = queue_study(studies, ["a", "b", "c", "b"])

    assert [take(store, "b", "c") for _ in range(4)] == [b, other_b, c, a]


def test_an_architecture_that_no_trainer_trains_is_claimed_before_one_that_is_being_trained(
    store: Experiments, studies: Studies
) -> None:
    a, other_a, b = queue_study(studies, ["a", "a", "b"], steps=JOIN_FROM_STEPS)

    assert take(store) == a
    assert take(store) == b
    assert take(store) == other_a


def test_a_few_short_runs_are_left_to_the_trainer_that_has_their_program(
    store: Experiments, attempts: Attempts, studies: Studies
) -> None:
    first, *rest = queue_study(studies, ["a"] * 5, steps=JOIN_FROM_STEPS // 5)
    assert take(store) == first

    assert take(store) is None
    assert attempts.any_queued()
    assert take(store, "a") == rest[0]
    queue_study(studies, ["a"] * 2, steps=JOIN_FROM_STEPS // 5)
    assert take(store) == rest[1]  # five runs with a fifth of the steps each are left


def test_a_second_trainer_joins_the_architecture_with_most_steps(store: Experiments, studies: Studies) -> None:
    short, long, *rest = queue_study(studies, ["a", "b", "a", "b", "b"], steps=JOIN_FROM_STEPS)
    assert {take(store), take(store)} == {short, long}

    assert take(store) == rest[1]


def test_an_architecture_is_claimable_again_after_its_run_has_ended(
    store: Experiments, attempts: Attempts, studies: Studies
) -> None:
    first, second = queue_study(studies, ["a", "a"])
    claim = attempts.claim_next("cpu", "here:1")
    assert claim is not None
    assert claim.experiment_id == first
    assert take(store) is None

    attempts.finish(first, claim.attempt, Status.SUCCEEDED, Outcome(), Timing())

    assert take(store) == second


def test_the_record_names_the_trainer(store: Experiments, attempts: Attempts) -> None:
    experiment_id = queue_single(store)

    attempts.claim_next("cpu", "there:7")

    assert store.get(experiment_id).trainer == "there:7"


def test_a_cancelled_or_deleted_run_is_not_claimed(store: Experiments, studies: Studies) -> None:
    cancelled, deleted, left = queue_study(studies, ["a", "a", "b"])
    store.open(cancelled).cancel()
    store.open(deleted).delete()

    assert take(store, "a") == left
    assert take(store, "a") is None


def test_the_architectures_of_a_study_are_claimed_in_the_order_of_its_grid(
    store: Experiments, studies: Studies
) -> None:
    ids = queue_study(studies, ["c", "a", "b"])
    later = queue_study(studies, ["0"])

    assert [take(store) for _ in range(4)] == [*ids, *later]


def test_short_runs_do_not_wait_behind_a_long_one(store: Experiments, attempts: Attempts, studies: Studies) -> None:
    (long,) = queue_study(studies, ["a"], steps=2 * JOIN_FROM_STEPS)
    (short,) = queue_study(studies, ["a"])
    claim = attempts.claim_next("cpu", "here:1")
    assert claim is not None
    assert claim.experiment_id == long

    assert take(store) == short


def test_short_runs_wait_for_a_run_that_is_nearly_done(
    store: Experiments, attempts: Attempts, studies: Studies
) -> None:
    (long,) = queue_study(studies, ["a"], steps=2 * JOIN_FROM_STEPS)
    queue_study(studies, ["a"])
    claim = attempts.claim_next("cpu", "here:1")
    assert claim is not None
    attempts.append(long, claim.attempt, HistoryChunk(0, 2 * JOIN_FROM_STEPS - 9, 0, ()), Outcome())

    assert take(store) is None


def test_a_trainer_of_a_single_experiment_counts_for_its_architecture(store: Experiments, studies: Studies) -> None:
    store.create(IDS.new(), new_experiment(PLANNED.spec, architecture="a"))
    assert take(store) is not None
    same, other = queue_study(studies, ["a", "b"])

    assert take(store) == other
    assert take(store) is None
    assert take(store, "a") == same
