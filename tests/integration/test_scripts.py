"""The server-side scripts against a plain model of what they promise, in any order of calls."""

from dataclasses import dataclass
from typing import cast

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from service.contract.errors import Conflict, NotFound, StaleAttempt
from service.contract.history import HistoryChunk
from service.contract.record import Outcome, Status, Timing
from service.contract.spec import ExperimentSpec
from service.contract.store import Store

COLUMNS = 2
TAGS = ("even", "odd")
SPECS = {tag: ExperimentSpec.model_validate({"model": "baseline", "tags": [tag]}).resolved() for tag in TAGS}


@dataclass
class Known:
    """What the model knows of an experiment."""

    tag: str
    status: Status = Status.QUEUED
    attempt: int = 0
    steps: int = 0
    cancel_requested: bool = False


class Lifecycle(RuleBasedStateMachine):
    """Calls of the store by clients and by workers that are current, overtaken or repeat themselves."""

    def __init__(self, store: Store, client: redis.Redis) -> None:
        super().__init__()
        client.flushall()
        self._store = store
        self._client = client
        self._known: dict[str, Known] = {}
        self._created = 0

    def _pick(self, number: int) -> str:
        return sorted(self._known)[number % len(self._known)]

    def _any(self) -> bool:
        return bool(self._known)

    @rule()
    def create(self) -> None:
        tag = TAGS[self._created % 2]
        experiment_id = f"{self._created:024x}"
        self._created += 1
        self._store.create(experiment_id, SPECS[tag])
        self._known[experiment_id] = Known(tag)

    @precondition(_any)
    @rule(number=st.integers(0, 50))
    def create_again(self, number: int) -> None:
        with pytest.raises(Conflict):
            self._store.create(self._pick(number), SPECS["odd"])

    @precondition(_any)
    @rule(number=st.integers(0, 50))
    def claim(self, number: int) -> None:
        experiment_id = self._pick(number)
        known = self._known[experiment_id]
        claimed = self._store.claim(experiment_id, "cpu")
        if known.status != Status.QUEUED:
            assert claimed is None
            return
        known.status, known.attempt, known.steps = Status.RUNNING, known.attempt + 1, 0
        assert claimed == known.attempt

    @precondition(_any)
    @rule(
        number=st.integers(0, 50), late=st.sampled_from([0, 0, 0, 1]), gap=st.integers(-2, 1), steps=st.integers(1, 3)
    )
    def append(self, number: int, late: int, gap: int, steps: int) -> None:
        experiment_id = self._pick(number)
        known = self._known[experiment_id]
        start = max(0, known.steps + gap)
        stop = start + steps
        chunk = HistoryChunk(start, stop, 0, _packed(start, stop, COLUMNS), _packed(start, stop, 1))
        joins, repeats = start == known.steps, stop == known.steps
        if known.status != Status.RUNNING or late or not (joins or repeats):
            with pytest.raises(StaleAttempt):
                self._store.append(experiment_id, known.attempt - late, chunk, Outcome())
            return
        assert self._store.append(experiment_id, known.attempt, chunk, Outcome()) == known.cancel_requested
        known.steps = stop

    @precondition(_any)
    @rule(
        number=st.integers(0, 50),
        late=st.sampled_from([0, 0, 0, 1]),
        end=st.sampled_from([Status.SUCCEEDED, Status.FAILED, Status.CANCELLED]),
    )
    def finish(self, number: int, late: int, end: Status) -> None:
        experiment_id = self._pick(number)
        known = self._known[experiment_id]
        attempt = known.attempt - late
        current = known.attempt > 0 and not late
        if not current or known.status not in (Status.RUNNING, end):
            with pytest.raises(StaleAttempt):
                self._store.finish(experiment_id, attempt, end, Outcome(), Timing())
            return
        self._store.finish(experiment_id, attempt, end, Outcome(), Timing())
        known.status = end

    @precondition(_any)
    @rule(number=st.integers(0, 50))
    def cancel(self, number: int) -> None:
        experiment_id = self._pick(number)
        known = self._known[experiment_id]
        assert self._store.cancel(experiment_id) == (not known.status.ended)
        known.cancel_requested |= not known.status.ended
        if known.status == Status.QUEUED:
            known.status = Status.CANCELLED

    @rule()
    def requeue_running(self) -> None:
        self._store.requeue_running()
        for known in self._known.values():
            if known.status == Status.RUNNING and known.cancel_requested:
                known.status = Status.CANCELLED
            elif known.status == Status.RUNNING:
                known.status, known.steps = Status.QUEUED, 0

    @precondition(_any)
    @rule(number=st.integers(0, 50))
    def delete(self, number: int) -> None:
        experiment_id = self._pick(number)
        if self._known[experiment_id].status == Status.RUNNING:
            with pytest.raises(Conflict):
                self._store.delete(experiment_id)
            return
        self._store.delete(experiment_id)
        del self._known[experiment_id]
        for gone in (self._store.get, self._store.cancel, self._store.delete):
            with pytest.raises(NotFound):
                gone(experiment_id)
        assert self._store.claim(experiment_id, "cpu") is None

    @invariant()
    def records_say_what_the_model_says(self) -> None:
        page = self._store.page(status=None, tag=None, limit=200, before=None)
        assert {r.id: (r.status, r.attempts, r.progress.step, r.cancel_requested) for r in page.records} == {
            i: (k.status, k.attempt, k.steps, k.cancel_requested) for i, k in self._known.items()
        }
        for record in page.records:
            assert (record.finished_at is not None) == record.status.ended

    @invariant()
    def histories_hold_exactly_the_steps_that_were_taken(self) -> None:
        for experiment_id, known in self._known.items():
            stored = self._store.gradient_norms(experiment_id, COLUMNS, 0, None)
            assert stored == _packed(0, known.steps, COLUMNS)
            assert self._store.step_losses(experiment_id) == _packed(0, known.steps, 1)

    @invariant()
    def every_key_belongs_to_an_experiment_that_exists(self) -> None:
        expected: dict[bytes, set[bytes]] = {}
        keys: set[bytes] = set()
        for experiment_id, known in self._known.items():
            for index in ("", f":status:{known.status}", f":tag:{known.tag}"):
                expected.setdefault(f"gradflow:experiments{index}".encode(), set()).add(experiment_id.encode())
            names = ["record", *(["gradient_norm", "step_loss", "epochs"] if known.steps else [])]
            keys |= {f"gradflow:{{{experiment_id}}}:{name}".encode() for name in names}

        assert set(cast("list[bytes]", self._client.keys("*"))) == set(expected) | keys
        assert {index: set(cast("list[bytes]", self._client.zrange(index, 0, -1))) for index in expected} == expected


def _packed(start: int, stop: int, columns: int) -> bytes:
    """Bytes that say which step they belong to."""
    return b"".join(step.to_bytes(4, "little") * columns for step in range(start, stop))


def test_no_order_of_calls_breaks_a_promise(store: Store, client: redis.Redis) -> None:
    class OnTheServer(Lifecycle):
        def __init__(self) -> None:
            super().__init__(store, client)

    run_state_machine_as_test(
        OnTheServer,
        settings=settings(
            max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
