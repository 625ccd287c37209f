"""The steps of a submission in order, and the state after each failure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from service.application.plans import Plans
from service.application.predictions import Predictions
from service.application.submission import Submissions
from service.contract.data_spec import DataShape
from service.contract.errors import InvalidSpec, LimitExceeded, NotFound, StoreUnavailable
from service.contract.record import ExperimentRecord, Progress, Status
from service.contract.spec import ExperimentSpec
from service.contract.workload import Limits
from service.store.admission import NO_LIMITS, Admission
from service.store.datasets import Dataset, DatasetDescription, Datasets
from service.store.experiment_handle import ExperimentHandle
from service.store.experiments import Experiments, NewExperiment
from service.store.request_key import RequestKey

AT = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryStore(Experiments):
    """A store in memory with the methods that a submission uses; it can be unavailable."""

    def __init__(self) -> None:
        self.records: dict[str, ExperimentRecord] = {}
        self.requests: dict[str, ExperimentRecord] = {}
        self.away = False

    def create(
        self,
        experiment_id: str,
        new: NewExperiment,
        request: RequestKey | None = None,
        admission: Admission = NO_LIMITS,  # noqa: ARG002
    ) -> ExperimentRecord:
        self._answer()
        if request is not None and request.name in self.requests:
            return self.requests[request.name]
        record = self.records[experiment_id] = ExperimentRecord(
            id=experiment_id,
            status=Status.QUEUED,
            spec=new.resolved.spec,
            shape=new.shape,
            progress=Progress(total_steps=1, epochs=1),
            created_at=AT,
            warnings=new.warnings,
        )
        if request is not None:
            self.requests[request.name] = record
        return record

    def remembered(self, request: RequestKey) -> ExperimentRecord | None:
        self._answer()
        return self.requests.get(request.name)

    def get(self, experiment_id: str) -> ExperimentRecord:
        self._answer()
        if experiment_id not in self.records:
            raise NotFound(f"there is no experiment {experiment_id}")
        return self.records[experiment_id]

    def open(self, experiment_id: str) -> "MemoryHandle":
        self.get(experiment_id)
        return MemoryHandle(self, experiment_id)

    def move(self, experiment_id: str, status: Status) -> None:
        self.records[experiment_id] = self.records[experiment_id].model_copy(update={"status": status})

    def _answer(self) -> None:
        if self.away:
            raise StoreUnavailable("Redis does not answer")


class MemoryHandle(ExperimentHandle):
    """The handle of an experiment in a `MemoryStore`."""

    def __init__(self, store: MemoryStore, experiment_id: str) -> None:
        self.id = experiment_id
        self._store = store

    def current_record(self) -> ExperimentRecord:
        return self._store.get(self.id)

    def cancel(self) -> bool:
        ended = self.current_record().status.ended
        if not ended:
            self._store.move(self.id, Status.CANCELLED)
        return not ended


class MemoryDatasets(Datasets):
    """Data sets in memory; the store can be unavailable."""

    def __init__(self) -> None:
        self.known: dict[str, DatasetDescription] = {}
        self.away = False

    def get(self, dataset_id: str) -> Dataset:
        if self.away:
            raise StoreUnavailable("Redis does not answer")
        if dataset_id not in self.known:
            raise NotFound(f"there is no data set {dataset_id}")
        return Dataset(dataset_id, self.known[dataset_id], 100, AT)


@dataclass
class WatchingQueue:
    """Records each message and whether the store had the experiment then; it can be unavailable."""

    store: MemoryStore
    away: bool = False
    ids: list[str] = field(default_factory=list)
    known_when_published: list[bool] = field(default_factory=list)

    def publish_many(self, experiment_ids: Sequence[str]) -> None:
        if self.away:
            raise StoreUnavailable("the queue does not answer")
        self.ids.extend(experiment_ids)
        self.known_when_published.extend(experiment_id in self.store.records for experiment_id in experiment_ids)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def queue(store: MemoryStore) -> WatchingQueue:
    return WatchingQueue(store)


@pytest.fixture
def datasets() -> MemoryDatasets:
    return MemoryDatasets()


@pytest.fixture
def submissions(store: MemoryStore, datasets: MemoryDatasets, queue: WatchingQueue) -> Submissions:
    return Submissions(store, datasets, queue, Plans(Predictions()), Limits())


def _spec(depth: int = 11, seed: int = 0) -> ExperimentSpec:
    body = {"model": {"kind": "baseline", "depth": depth}, "training": {"seed": seed}}
    return ExperimentSpec.model_validate(body)


def test_a_spec_is_recorded_resolved_and_then_published(
    submissions: Submissions, store: MemoryStore, queue: WatchingQueue
) -> None:
    record = submissions.submit(_spec(seed=7))

    assert store.records == {record.id: record}
    assert record.spec == _spec(seed=7).resolved()
    assert record.spec.data.seed == 7
    assert queue.ids == [record.id]
    assert queue.known_when_published == [True]


def test_each_submission_creates_an_experiment(submissions: Submissions, queue: WatchingQueue) -> None:
    ids = [submissions.submit(_spec()).id for _ in range(3)]

    assert len(set(ids)) == 3
    assert queue.ids == ids


def test_a_spec_over_a_limit_is_neither_recorded_nor_published(
    submissions: Submissions, store: MemoryStore, queue: WatchingQueue
) -> None:
    with pytest.raises(LimitExceeded):
        submissions.submit(_spec(depth=10**9))

    assert store.records == {}
    assert queue.ids == []


def test_an_experiment_that_cannot_be_published_is_accepted_for_the_sweeper(
    submissions: Submissions, store: MemoryStore, queue: WatchingQueue
) -> None:
    queue.away = True

    record = submissions.submit(_spec())

    assert store.records == {record.id: record}


def test_a_repeated_request_is_neither_recorded_nor_published_again(
    submissions: Submissions, store: MemoryStore, queue: WatchingQueue
) -> None:
    first, second = (submissions.submit(_spec(), "a key") for _ in range(2))

    assert first == second
    assert len(store.records) == len(queue.ids) == 1


def test_an_experiment_that_cannot_be_recorded_is_not_published(
    submissions: Submissions, store: MemoryStore, queue: WatchingQueue
) -> None:
    store.away = True

    with pytest.raises(StoreUnavailable, match="Redis"):
        submissions.submit(_spec())

    assert queue.ids == []


def test_cancel_returns_the_record_and_whether_the_experiment_had_not_ended(submissions: Submissions) -> None:
    experiment_id = submissions.submit(_spec()).id

    first, asked = submissions.cancel(experiment_id)
    second, asked_again = submissions.cancel(experiment_id)

    assert (first.status, asked) == (Status.CANCELLED, True)
    assert (second.status, asked_again) == (Status.CANCELLED, False)
    with pytest.raises(NotFound):
        submissions.cancel("nix")


IMAGES = DataShape(samples=100, input_shape=(8, 8), classes=4, class_names=tuple("abcd"))


def _described(shape: DataShape) -> DatasetDescription:
    return DatasetDescription(
        name=None, shape=shape, label="y", columns=None, rows_a_class=None, x_format="<f4", y_format="<i4"
    )


def _on_upload(dataset_id: str, **data: object) -> ExperimentSpec:
    return ExperimentSpec.model_validate(
        {"model": "baseline", "data": {"source": "upload", "dataset_id": dataset_id, **data}}
    )


def test_the_record_has_the_shape_of_an_uploaded_data_set_as_the_spec_reads_it(
    submissions: Submissions, datasets: MemoryDatasets
) -> None:
    datasets.known["a" * 24] = _described(IMAGES)

    assert submissions.submit(_on_upload("a" * 24)).shape == IMAGES
    assert submissions.submit(_on_upload("a" * 24, shape=[64])).shape.input_shape == (64,)


def test_an_unknown_data_set_is_an_error_of_the_spec_and_nothing_is_queued(
    submissions: Submissions, store: MemoryStore, queue: WatchingQueue
) -> None:
    with pytest.raises(InvalidSpec, match="no data set") as refused:
        submissions.submit(_on_upload("b" * 24))

    assert refused.value.location == ("data", "dataset_id")
    assert (store.records, queue.ids) == ({}, [])


def test_an_upload_read_in_a_shape_of_another_size_is_neither_recorded_nor_published(
    submissions: Submissions, store: MemoryStore, datasets: MemoryDatasets, queue: WatchingQueue
) -> None:
    datasets.known["a" * 24] = _described(IMAGES)

    with pytest.raises(InvalidSpec, match="64 values") as refused:
        submissions.submit(_on_upload("a" * 24, shape=[8, 9]))

    assert refused.value.location == ("data", "shape")
    assert (store.records, queue.ids) == ({}, [])


def test_an_unavailable_store_of_data_sets_is_not_an_error_of_the_spec(
    submissions: Submissions, datasets: MemoryDatasets, queue: WatchingQueue
) -> None:
    datasets.away = True

    with pytest.raises(StoreUnavailable):
        submissions.submit(_on_upload("a" * 24))
    assert queue.ids == []


def test_the_record_has_the_warnings_of_the_plan(submissions: Submissions) -> None:
    body = {"model": "improved", "training": {"batch_size": 1}, "data": {"source": "iris"}}

    record = submissions.submit(ExperimentSpec.model_validate(body))

    assert len(record.warnings) == 1
    assert "batch of one sample" in record.warnings[0]
