"""The server-side scripts agree with a simple model in Python, in any order of calls."""

from dataclasses import dataclass
from functools import partial
from typing import cast

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from service.contract.data_spec import DataShape
from service.contract.errors import Conflict, InvalidSpec, NotFound, StaleAttempt, StoreFull
from service.contract.history_format import STEP_LOSS, HistoryChunk, Piece
from service.contract.record import Outcome, Status, Timing
from service.contract.spec import ExperimentSpec
from service.contract.study_spec import StudySpec
from service.store.attempts import JOIN_FROM_STEPS, Attempts, Checkpoint, Claim
from service.store.datasets import DatasetDescription, Datasets
from service.store.experiments import Experiments
from service.store.migration import Migration
from service.store.retrying import MAX_ATTEMPTS_WITHOUT_PROGRESS
from service.store.studies import Studies
from tests.support.claims import claim_run
from tests.support.plans import new_experiment
from tests.support.redis_keys import keys_of

FORMAT = "of these tests"
RESERVED = 1000  # bytes of a history
COLUMNS = 2
ROW = 4 * COLUMNS
NORMS = "gradient_norm"
TAGS = ("even", "odd")
ARCHITECTURES = ("second", "first", "third")
SINGLE_STEPS = 125  # of the baseline preset
DATASETS = tuple(f"{number:024x}" for number in (101, 102))
SHAPE = DataShape(samples=10, input_shape=(3,), classes=2)
DESCRIPTION = DatasetDescription(
    name=None, shape=SHAPE, label="y", columns=None, rows_a_class=(5, 5), x_format="<f4", y_format="<i4"
)
X, Y = b"x" * 120, b"y" * 40
MAX_DATASET_BYTES = 160  # one data set


def _spec(tag: str, dataset: str | None = None) -> ExperimentSpec:
    data = {"source": "random"} if dataset is None else {"source": "upload", "dataset_id": dataset}
    return ExperimentSpec.model_validate({"model": "baseline", "tags": [tag], "data": data}).resolved()


SPECS = {(tag, dataset): _spec(tag, dataset) for tag in TAGS for dataset in (None, *DATASETS)}


@dataclass
class Known:
    """What the model knows of an experiment."""

    tag: str
    status: Status = Status.QUEUED
    attempt: int = 0
    steps: int = 0
    cancel_requested: bool = False
    dataset: str | None = None
    model: bytes | None = None
    checkpoint: int | None = None  # its step
    fruitless: int = 0
    study: str | None = None
    architecture: str = ""
    all_steps: int = SINGLE_STEPS


class Lifecycle(RuleBasedStateMachine):
    """Calls of the store by clients, and by workers with a current or a stale attempt, some of them repeated."""

    def __init__(self, store: Experiments, client: redis.Redis) -> None:
        super().__init__()
        client.flushall()
        Migration(client).run()
        self._store = store
        self._studies = Studies(client)
        self._attempts = Attempts(client)
        self._known_studies: set[str] = set()
        self._waiting_since: dict[str, int] = {}  # architectures of which runs of studies are queued
        self._clock = 0
        self._datasets = Datasets(client)
        self._client = client
        self._known: dict[str, Known] = {}
        self._uploaded: set[str] = set()
        self._ever_uploaded = False
        self._created = 0

    def _pick(self, number: int) -> str:
        return sorted(self._known)[number % len(self._known)]

    def _any(self) -> bool:
        return bool(self._known)

    def _any_study(self) -> bool:
        return bool(self._known_studies)

    @rule(dataset=st.sampled_from([None, *DATASETS]), architecture=st.sampled_from(ARCHITECTURES))
    def create(self, dataset: str | None, architecture: str) -> None:
        tag = TAGS[self._created % 2]
        experiment_id = f"{self._created:024x}"
        self._created += 1
        shape = None if dataset is None else SHAPE
        if dataset is not None and dataset not in self._uploaded:
            with pytest.raises(InvalidSpec):
                self._store.create(experiment_id, new_experiment(SPECS[tag, dataset], shape=SHAPE))
            return
        new = new_experiment(SPECS[tag, dataset], (), shape, architecture, history_bytes=RESERVED)
        self._store.create(experiment_id, new)
        self._known[experiment_id] = Known(tag, dataset=dataset, architecture=architecture)

    @rule(dataset=st.sampled_from(DATASETS))
    def upload(self, dataset: str) -> None:
        if dataset in self._uploaded:
            return  # each upload has an id of its own
        if self._uploaded:
            with pytest.raises(StoreFull):
                self._datasets.add(dataset, DESCRIPTION, X, Y, MAX_DATASET_BYTES)
            return
        self._datasets.add(dataset, DESCRIPTION, X, Y, MAX_DATASET_BYTES)
        self._uploaded.add(dataset)
        self._ever_uploaded = True

    @precondition(lambda self: bool(self._uploaded))
    @rule()
    def upload_again(self) -> None:
        """Repeat a request, like a client that did not get the answer."""
        for dataset in self._uploaded:
            self._datasets.add(dataset, DESCRIPTION, X, Y, MAX_DATASET_BYTES)

    @rule(dataset=st.sampled_from(DATASETS))
    def delete_dataset(self, dataset: str) -> None:
        if dataset not in self._uploaded:
            with pytest.raises(NotFound):
                self._datasets.open(dataset).delete()
        elif self._users(dataset):
            with pytest.raises(Conflict):
                self._datasets.open(dataset).delete()
        else:
            self._datasets.open(dataset).delete()
            self._uploaded.discard(dataset)

    def _users(self, dataset: str) -> set[str]:
        return {i for i, known in self._known.items() if known.dataset == dataset and not known.status.ended}

    @rule(
        architectures=st.lists(st.sampled_from(ARCHITECTURES), min_size=1, max_size=4),
        steps=st.sampled_from([1, JOIN_FROM_STEPS // 2, 2 * JOIN_FROM_STEPS]),
    )
    def create_study(self, architectures: list[str], steps: int) -> None:
        spec = StudySpec(base={"tags": ["odd"]}, axes={"training.seed": list(range(len(architectures)))})
        run = partial(new_experiment, SPECS["odd", None], (), SHAPE, steps=steps, history_bytes=RESERVED)
        new = [run(architecture=name) for name in architectures]
        study, ids = self._studies.create(spec, new, ["odd"], ())
        self._known_studies.add(study.id)
        waiting = self._waiting()
        self._clock += 1
        for experiment_id, name in zip(ids, architectures, strict=True):
            self._known[experiment_id] = Known("odd", study=study.id, architecture=name, all_steps=steps)
            if name not in waiting:
                self._waiting_since[name] = self._clock

    def _waiting(self) -> dict[str, list[str]]:
        """Queued runs of studies by architecture, oldest first."""
        found: dict[str, list[str]] = {}
        for experiment_id, known in sorted(self._known.items()):
            if known.study is not None and known.status == Status.QUEUED:
                found.setdefault(known.architecture, []).append(experiment_id)
        return found

    def _best(self, compiled: tuple[str, ...]) -> str | None:
        """Which run goes to a trainer that has programs of these architectures."""
        singles = [i for i, known in self._known.items() if known.study is None and known.status == Status.QUEUED]
        waiting = self._waiting()
        preferred = [waiting[name][0] for name in compiled if name in waiting]
        if singles or preferred:
            return min(singles) if singles else preferred[0]
        busy: dict[str, int] = {}
        for known in self._known.values():
            if known.status == Status.RUNNING:
                left = known.all_steps - known.steps
                busy[known.architecture] = min(left, busy.get(known.architecture, left))
        free = [(self._waiting_since[name], runs[0]) for name, runs in waiting.items() if name not in busy]
        if free:
            return min(free)[1]
        steps = {name: len(runs) * self._known[runs[0]].all_steps for name, runs in waiting.items()}
        worth = [name for name in waiting if max(steps[name], busy[name]) >= JOIN_FROM_STEPS]
        chosen = min(worth, key=lambda name: (-steps[name], self._waiting_since[name], name), default=None)
        return None if chosen is None else waiting[chosen][0]

    @precondition(_any_study)
    @rule(number=st.integers(0, 50))
    def cancel_study(self, number: int) -> None:
        study = sorted(self._known_studies)[number % len(self._known_studies)]
        runs = [known for known in self._known.values() if known.study == study and not known.status.ended]
        assert self._studies.open(study).cancel() == bool(runs)
        for known in runs:
            known.cancel_requested = True
            if known.status == Status.QUEUED:
                known.status, known.checkpoint = Status.CANCELLED, None

    @precondition(_any_study)
    @rule(number=st.integers(0, 50))
    def delete_study(self, number: int) -> None:
        study = sorted(self._known_studies)[number % len(self._known_studies)]
        runs = {i: known for i, known in self._known.items() if known.study == study}
        if any(known.status == Status.RUNNING for known in runs.values()):
            with pytest.raises(Conflict):
                self._studies.open(study).delete()
            return
        self._studies.open(study).delete()
        self._known_studies.discard(study)
        for experiment_id in runs:
            del self._known[experiment_id]

    @precondition(_any)
    @rule(number=st.integers(0, 50))
    def create_again(self, number: int) -> None:
        with pytest.raises(Conflict):
            self._store.create(
                self._pick(number), new_experiment(SPECS["odd", None].model_copy(update={"name": "another"}))
            )

    @precondition(_any)
    @rule(number=st.integers(0, 50))
    def claim(self, number: int) -> None:
        experiment_id = self._pick(number)
        known = self._known[experiment_id]
        claimed = claim_run(self._attempts, experiment_id, "cpu", checkpoints=FORMAT)
        if known.status != Status.QUEUED:
            assert claimed is None
            return
        self._begins(known)
        assert claimed == known.attempt

    def _begins(self, known: Known) -> None:
        known.status, known.attempt, known.steps = Status.RUNNING, known.attempt + 1, known.checkpoint or 0
        known.fruitless += 1

    @rule(compiled=st.permutations(ARCHITECTURES), count=st.sampled_from([0, 0, 1, 3]))
    def claim_next(self, compiled: list[str], count: int) -> None:
        assert self._attempts.any_queued() == any(k.status == Status.QUEUED for k in self._known.values())
        best = self._best(tuple(compiled[:count]))
        claimed = self._attempts.claim_next("cpu", "a:1", compiled[:count], FORMAT)
        assert (claimed and claimed.experiment_id) == best
        if claimed is None:
            return
        known = self._known[claimed.experiment_id]
        self._begins(known)
        assert claimed.attempt == known.attempt
        kept = self._attempts.kept_state(claimed)
        assert (kept and kept.state) == (None if known.checkpoint is None else b"at %d" % known.checkpoint)
        if kept is not None:
            lengths = {NORMS: known.steps * ROW, STEP_LOSS: known.steps * 4}
            assert kept.bytes_written == {name: length for name, length in lengths.items() if length}

    @precondition(_any)
    @rule(
        number=st.integers(0, 50),
        late=st.sampled_from([0, 0, 0, 1]),
        gap=st.integers(-2, 1),
        steps=st.integers(1, 3),
        keeps=st.booleans(),
    )
    def append(self, number: int, late: int, gap: int, steps: int, keeps: bool) -> None:
        experiment_id = self._pick(number)
        known = self._known[experiment_id]
        start = max(0, known.steps + gap)
        stop = start + steps
        norms = Piece(NORMS, start * ROW, _packed(start, stop, COLUMNS))
        losses = Piece(STEP_LOSS, start * 4, _packed(start, stop, 1))
        chunk = HistoryChunk(start, stop, 0, (norms, losses))
        joins, repeats = start == known.steps, stop == known.steps
        checkpoint = Checkpoint(FORMAT, b"at %d" % stop) if keeps else None
        if known.status != Status.RUNNING or late or not (joins or repeats):
            with pytest.raises(StaleAttempt):
                self._attempts.append(experiment_id, known.attempt - late, chunk, Outcome(), None, checkpoint)
            return
        asked = self._attempts.append(experiment_id, known.attempt, chunk, Outcome(), None, checkpoint)
        assert asked == known.cancel_requested
        known.steps = stop
        if keeps:
            known.checkpoint, known.fruitless = stop, 0

    @precondition(_any)
    @rule(number=st.integers(0, 50), late=st.sampled_from([0, 0, 0, 1]))
    def hold(self, number: int, late: int) -> None:
        experiment_id = self._pick(number)
        known = self._known[experiment_id]
        claim = Claim(experiment_id, known.attempt - late)
        if known.status != Status.RUNNING or late:
            with pytest.raises(StaleAttempt):
                self._attempts.prolong(claim)
            return
        assert self._attempts.prolong(claim) == known.cancel_requested

    @precondition(_any)
    @rule(number=st.integers(0, 50), late=st.sampled_from([0, 0, 0, 1]))
    def make_room(self, number: int, late: int) -> None:
        experiment_id = self._pick(number)
        known = self._known[experiment_id]
        claim = Claim(experiment_id, known.attempt - late)
        if known.status == Status.RUNNING and not late and not known.cancel_requested:
            assert self._attempts.drop_checkpoint(claim) == (known.checkpoint is not None)
            known.checkpoint = None
            return
        with pytest.raises(StaleAttempt):
            self._attempts.drop_checkpoint(claim)
        if known.status == Status.RUNNING and not late:
            known.status, known.checkpoint = Status.CANCELLED, None

    @precondition(_any)
    @rule(number=st.integers(0, 50), late=st.sampled_from([0, 0, 0, 1]), file=st.binary(min_size=1, max_size=9))
    def keep_model(self, number: int, late: int, file: bytes) -> None:
        experiment_id = self._pick(number)
        known = self._known[experiment_id]
        if known.status != Status.RUNNING or late:
            with pytest.raises(StaleAttempt):
                self._attempts.keep_model(experiment_id, known.attempt - late, file)
            return
        self._attempts.keep_model(experiment_id, known.attempt, file)
        known.model = file

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
                self._attempts.finish(experiment_id, attempt, end, Outcome(), Timing())
            return
        self._attempts.finish(experiment_id, attempt, end, Outcome(), Timing())
        known.status, known.checkpoint = end, None

    @precondition(_any)
    @rule(number=st.integers(0, 50))
    def cancel(self, number: int) -> None:
        experiment_id = self._pick(number)
        known = self._known[experiment_id]
        assert self._store.open(experiment_id).cancel() == (not known.status.ended)
        known.cancel_requested |= not known.status.ended
        if known.status == Status.QUEUED:
            known.status, known.checkpoint = Status.CANCELLED, None

    @rule()
    def lose_all(self) -> None:
        self._attempts.lose_all()
        for _, known in sorted(self._known.items()):
            if known.status == Status.RUNNING:
                self._is_left(known)

    @precondition(_any)
    @rule(number=st.integers(0, 50), late=st.sampled_from([0, 0, 0, 1]), dead=st.booleans())
    def leave(self, number: int, late: int, dead: bool) -> None:
        experiment_id = self._pick(number)
        known = self._known[experiment_id]
        (self._attempts.lose if dead else self._attempts.release)(Claim(experiment_id, known.attempt - late))
        if known.status == Status.RUNNING and not late:
            known.fruitless -= not dead
            self._is_left(known)

    @rule(lapsed=st.sets(st.integers(0, 50), max_size=3))
    def sweep(self, lapsed: set[int]) -> None:
        ids = {self._pick(number) for number in lapsed} if self._known else set()
        running = sorted(i for i in ids if self._known[i].status == Status.RUNNING)
        for experiment_id in running:
            self._client.zadd("gradflow:leases", {experiment_id: 0})
        assert self._attempts.sweep(10).expired == len(running)
        for experiment_id in running:
            self._is_left(self._known[experiment_id])

    def _is_left(self, known: Known) -> None:
        if known.cancel_requested:
            known.status, known.checkpoint = Status.CANCELLED, None
        elif known.fruitless >= MAX_ATTEMPTS_WITHOUT_PROGRESS:
            known.status, known.checkpoint = Status.FAILED, None
        else:
            self._clock += 1
            if known.study is not None and known.architecture not in self._waiting():
                self._waiting_since[known.architecture] = self._clock
            known.status, known.model = Status.QUEUED, None

    @precondition(_any)
    @rule(number=st.integers(0, 50))
    def delete(self, number: int) -> None:
        experiment_id = self._pick(number)
        if self._known[experiment_id].status == Status.RUNNING:
            with pytest.raises(Conflict):
                self._store.open(experiment_id).delete()
            return
        self._store.open(experiment_id).delete()
        del self._known[experiment_id]
        for gone in (self._store.get, self._store.open):
            with pytest.raises(NotFound):
                gone(experiment_id)
        assert claim_run(self._attempts, experiment_id, "cpu") is None

    @invariant()
    def records_say_what_the_model_says(self) -> None:
        page = self._store.page(status=None, tag=None, limit=200, before=None)
        assert {r.id: (r.status, r.attempts, r.progress.step, r.cancel_requested) for r in page.records} == {
            i: (k.status, k.attempt, k.steps, k.cancel_requested) for i, k in self._known.items()
        }
        for record in page.records:
            assert (record.finished_at is not None) == record.status.ended

    @invariant()
    def room_is_kept_for_what_has_not_ended(self) -> None:
        open_runs = sum(not known.status.ended for known in self._known.values())
        assert int(cast("bytes", self._client.get("gradflow:reserved") or b"0")) == RESERVED * open_runs

    @invariant()
    def histories_hold_exactly_the_steps_that_were_taken(self) -> None:
        for experiment_id, known in self._known.items():
            assert self._store.open(experiment_id).series(NORMS, ROW) == _packed(0, known.steps, COLUMNS)
            assert self._store.open(experiment_id).series(STEP_LOSS, 4) == _packed(0, known.steps, 1)
            if known.model is not None:
                assert self._store.open(experiment_id).model() == known.model
                continue
            with pytest.raises(NotFound):
                self._store.open(experiment_id).model()

    @invariant()
    def data_sets_are_those_that_were_kept_with_all_their_numbers(self) -> None:
        page = self._datasets.page(200, None)
        assert {found.id for found in page.records} == self._uploaded
        assert page.next_before is None
        for dataset in self._uploaded:
            assert self._datasets.open(dataset).arrays() == (X, Y)
            assert self._client.ttl(f"gradflow:{{{dataset}}}:x") == self._client.ttl(f"gradflow:{{{dataset}}}:y") == -1
        if self._ever_uploaded:
            total = cast("bytes", self._client.get("gradflow:datasets:bytes"))
            assert int(total) == len(X + Y) * len(self._uploaded)

    @invariant()
    def every_key_belongs_to_an_experiment_or_a_data_set_that_exists(self) -> None:
        expected: dict[bytes, set[bytes]] = {}
        keys: set[bytes] = set()
        for experiment_id, known in self._known.items():
            for index in ("", f":status:{known.status}", f":tag:{known.tag}"):
                expected.setdefault(f"gradflow:experiments{index}".encode(), set()).add(experiment_id.encode())
            if known.status == Status.QUEUED:
                queue = f":{known.architecture}" if known.study else ""
                expected.setdefault(f"gradflow:queued{queue}".encode(), set()).add(experiment_id.encode())
                if known.study:
                    expected.setdefault(b"gradflow:queued:architectures", set()).add(known.architecture.encode())
            if known.status == Status.RUNNING:
                expected.setdefault(b"gradflow:leases", set()).add(experiment_id.encode())
            if known.status.ended:
                expected.setdefault(b"gradflow:ended", set()).add(experiment_id.encode())
            if known.study:
                of_study = f"gradflow:experiments:study:{known.study}".encode()
                expected.setdefault(of_study, set()).add(experiment_id.encode())
            names = ["record", *([NORMS, STEP_LOSS] if known.steps else []), *(["model"] if known.model else [])]
            names += [] if known.checkpoint is None else ["checkpoint"]
            keys |= {f"gradflow:{{{experiment_id}}}:{name}".encode() for name in names}

        for study in self._known_studies:
            expected.setdefault(b"gradflow:studies", set()).add(study.encode())
            keys.add(f"gradflow:{{{study}}}:study".encode())
            if not any(known.study == study for known in self._known.values()):
                expected.setdefault(b"gradflow:studies:empty", set()).add(study.encode())
        for dataset in self._uploaded:
            expected.setdefault(b"gradflow:datasets", set()).add(dataset.encode())
            users = self._users(dataset)
            keys |= {f"gradflow:{{{dataset}}}:{name}".encode() for name in ("dataset", "x", "y")}
            keys |= {f"gradflow:{{{dataset}}}:users".encode()} if users else set()
            found = cast("set[bytes]", self._client.smembers(f"gradflow:{{{dataset}}}:users"))
            assert found == {user.encode() for user in users}
        keys |= {b"gradflow:datasets:bytes"} if self._ever_uploaded else set()
        keys |= set() if all(known.status.ended for known in self._known.values()) else {b"gradflow:reserved"}

        assert set(keys_of(self._client)) == set(expected) | keys
        assert {index: set(cast("list[bytes]", self._client.zrange(index, 0, -1))) for index in expected} == expected


def _packed(start: int, stop: int, columns: int) -> bytes:
    """Bytes that identify their step."""
    return b"".join(step.to_bytes(4, "little") * columns for step in range(start, stop))


def test_any_order_of_calls_agrees_with_the_model(store: Experiments, client: redis.Redis) -> None:
    class OnTheServer(Lifecycle):
        def __init__(self) -> None:
            super().__init__(store, client)

    run_state_machine_as_test(
        OnTheServer,
        settings=settings(
            max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
