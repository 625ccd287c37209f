"""Data sets: upload, list, read and delete over HTTP, and the protection of data sets in use."""

import io
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

import httpx2
import numpy as np
import pyarrow as pa
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from service.api.settings import ApiSettings
from service.contract.data_spec import DataShape
from service.contract.errors import Conflict, InvalidSpec, NotFound, StoreFull, StoreUnavailable
from service.contract.record import Outcome, Status, Timing
from service.contract.spec import ExperimentSpec
from service.store.connection import connect
from service.store.datasets import Dataset, DatasetDescription, DatasetHandle, Datasets
from service.store.experiments import Experiments
from service.store.ids import new_id
from service.store.names import Names
from service.store.script_runner import Scripts
from service.store.settings import RedisSettings
from tests.support.claims import claim_run
from tests.support.plans import new_experiment
from tests.support.redis_keys import keys_of
from tests.support.served_api import RecordedMessages, attempts_of, problem, served

CSV, NPZ, PARQUET = "text/csv", "application/zip", "application/vnd.apache.parquet"
FLOWERS = b"length,width,kind\n1.5,2,rose\n2.5,3,iris\n0.5,1,rose\n4,5,iris\n"
X = [[1.5, 2.0], [2.5, 3.0], [0.5, 1.0], [4.0, 5.0]]
Y = [1, 0, 1, 0]  # iris, rose
FLOWERS_BYTES = 4 * 2 * 8 + 4 * 4


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, x=np.array(X), y=np.array(["rose", "iris", "rose", "iris"]))
    return file.getvalue()


def _parquet() -> bytes:
    file = io.BytesIO()
    columns = {"length": [row[0] for row in X], "width": [row[1] for row in X]}
    parquet.write_table(pa.table({**columns, "kind": ["rose", "iris", "rose", "iris"]}), file)
    return file.getvalue()


FILES: dict[str, tuple[bytes, str, str]] = {
    "csv": (FLOWERS, CSV, "flowers.csv"),
    "npz": (_npz(), NPZ, "flowers.npz"),
    "parquet": (_parquet(), PARQUET, "flowers.parquet"),
}


def _upload(api: httpx2.Client, content: bytes = FLOWERS, media_type: str = CSV, **query: str) -> dict[str, Any]:
    answer = api.post("/v1/datasets", content=content, headers={"content-type": media_type}, params=query)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def _on(dataset_id: str, **data: Any) -> dict[str, Any]:
    return {"model": "baseline", "data": {"source": "upload", "dataset_id": dataset_id, **data}}


def _submit_on(api: httpx2.Client, dataset_id: str) -> str:
    answer = api.post("/v1/experiments", json=_on(dataset_id))
    assert answer.status_code == 202, answer.text
    experiment_id: str = answer.json()["id"]
    return experiment_id


def _stored(datasets: Datasets, dataset_id: str) -> tuple[Any, Any]:
    described = datasets.get(dataset_id).description
    x, y = datasets.open(dataset_id).arrays()
    inputs = np.frombuffer(x, described.x_format).reshape(described.shape.samples, *described.shape.input_shape)
    return inputs.tolist(), np.frombuffer(y, described.y_format).tolist()


# -------------------------------------------------------------------------------------------------- uploads


def test_unknown_form_fields_are_refused_by_name(api: httpx2.Client) -> None:
    answer = api.post("/v1/datasets", files={"file": ("flowers.csv", FLOWERS, CSV)}, data={"label": "kind", "hüh": "1"})

    (error,) = problem(answer, 422)["errors"]
    assert "'label'" in error["message"]
    assert "query" in error["message"]
    assert api.get("/v1/datasets").json()["datasets"] == []


@pytest.mark.parametrize("way", ["raw", "raw, chunked", "multipart", "multipart, by its ending"])
@pytest.mark.parametrize("kind", FILES)
def test_each_format_is_stored_with_its_classes_as_body_and_as_form(
    api: httpx2.Client, datasets: Datasets, kind: str, way: str
) -> None:
    content, media_type, filename = FILES[kind]

    def in_chunks() -> Iterator[bytes]:
        for start in range(0, len(content), 7):
            yield content[start : start + 7]

    if way.startswith("raw"):
        body = content if way == "raw" else in_chunks()
        headers = {"content-type": f"{media_type}; charset=utf-8"}
        answer = api.post("/v1/datasets?name=flowers", content=body, headers=headers)
    else:
        told = media_type if way == "multipart" else "application/octet-stream"
        answer = api.post("/v1/datasets?name=flowers", files={"file": (filename, content, told)})

    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert answer.headers["location"] == f"/v1/datasets/{found['id']}" == found["links"]["self"]
    assert re.fullmatch("[0-9a-f]{24}", found["id"])
    assert (found["name"], found["rows"], found["columns"], found["shape"]) == ("flowers", 4, 2, [2])
    assert (found["task"], found["classes"], found["rows_a_class"]) == ("classification", ["iris", "rose"], [2, 2])
    assert found["bytes"] == FLOWERS_BYTES
    if kind == "npz":
        assert (found["label"], found["column_names"]) == ("y", None)
    else:
        assert (found["label"], found["column_names"]) == ("kind", ["length", "width"])
    assert _stored(datasets, found["id"]) == (X, Y)
    assert api.get(found["links"]["self"]).json() == found


def test_any_column_may_be_the_label_and_integers_may_be_regression_targets(
    api: httpx2.Client, datasets: Datasets
) -> None:
    text = b"age,color,price\n3,1,10\n1,2,30\n3,1,30\n1,2,10\n"

    ages = _upload(api, text, label="age")
    prices = _upload(api, text, task="regression")

    assert (ages["label"], ages["classes"], ages["column_names"]) == ("age", ["1", "3"], ["color", "price"])
    assert _stored(datasets, ages["id"])[1] == [1, 0, 1, 0]
    assert (prices["label"], prices["task"], prices["classes"], prices["rows_a_class"]) == (
        *("price", "regression", None, None),
    )
    assert _stored(datasets, prices["id"])[1] == [10, 30, 30, 10]
    assert datasets.get(prices["id"]).description.shape.target_shape == (1,)


def test_an_array_of_images_keeps_its_shape_and_its_integers_are_recognized(
    api: httpx2.Client, datasets: Datasets
) -> None:
    file = io.BytesIO()
    images = np.arange(4 * 3 * 2, dtype=np.float32).reshape(4, 3, 2)
    np.savez(file, x=images, y=np.array([0, 1, 0, 1]))

    found = _upload(api, file.getvalue(), NPZ)

    assert (found["shape"], found["columns"]) == ([3, 2], 6)
    described = datasets.get(found["id"]).description
    assert (described.shape.tokens, described.x_format) == (24, "<f4")
    assert _stored(datasets, found["id"])[0] == images.tolist()


BAD_FILES = [
    pytest.param(b"", CSV, {}, "body.file", "empty", id="nothing"),
    pytest.param(b"a,b\n1,x\n2\n", CSV, {}, "body.file", "row 2 (line 3) has 1 cells", id="a row that is short"),
    pytest.param(b"a,b\n1,x\nnan,y\n", CSV, {}, "body.file", "row 2", id="a number that is none"),
    pytest.param(b"a,b\n1,x\n2,y\n3,x\n", CSV, {}, "body.file", "'y' has only one row", id="a lonely class"),
    pytest.param(FLOWERS, CSV, {"label": "nix"}, "query.label", "no column is named 'nix'", id="no such label"),
    pytest.param(FLOWERS, CSV, {"task": "regression"}, "query.task", "needs numbers", id="text as amounts"),
    pytest.param(FLOWERS, CSV, {"task": "ranking"}, "query.task", "", id="no such task"),
    pytest.param(FLOWERS, CSV, {"name": "x" * 121}, "query.name", "", id="a long name"),
    pytest.param(_npz(), NPZ, {"label": "kind"}, "query.label", "an NPZ file has no columns", id="label of an NPZ"),
    pytest.param(FLOWERS, NPZ, {}, "body.file", "", id="text as an archive"),
    pytest.param(_npz()[:-30], NPZ, {}, "body.file", "", id="half an archive"),
    pytest.param(FLOWERS, PARQUET, {}, "body.file", "", id="text as Parquet"),
    pytest.param(_parquet()[:-9], PARQUET, {}, "body.file", "", id="half of Parquet"),
    pytest.param(_npz(), CSV, {}, "body.file", "", id="an archive as text"),
]


@pytest.mark.parametrize(("content", "media_type", "query", "location", "why"), BAD_FILES)
def test_an_invalid_file_is_refused_with_the_location_and_nothing_is_stored(
    api: httpx2.Client,
    client: redis.Redis,
    content: bytes,
    media_type: str,
    query: dict[str, str],
    location: str,
    why: str,
) -> None:
    answer = api.post("/v1/datasets", content=content, headers={"content-type": media_type}, params=query)

    [error] = problem(answer, 422)["errors"]
    assert error["location"] == location
    assert why in error["message"]
    assert keys_of(client) == []


def test_a_form_without_a_file_is_refused_with_the_reason(api: httpx2.Client) -> None:
    sent = api.post("/v1/datasets", files={"data": ("flowers.csv", FLOWERS, CSV)})

    [error] = problem(sent, 422)["errors"]
    assert error == {"location": "body.file", "message": "the form has no file named `file`", "code": "file"}


def test_a_form_with_many_files_or_without_end_is_a_problem(api: httpx2.Client, client: redis.Redis) -> None:
    several = [("file", (f"{i}.csv", FLOWERS, CSV)) for i in range(3)]
    broken = {"content-type": "multipart/form-data"}

    problem(api.post("/v1/datasets", files=several), 400)
    problem(api.post("/v1/datasets", content=FLOWERS, headers=broken), 400)
    assert keys_of(client) == []


@pytest.mark.parametrize("declared", ["application/json", "text/plain", "application/octet-stream", None])
def test_another_media_type_gets_415_with_the_supported_ones(
    api: httpx2.Client, client: redis.Redis, declared: str | None
) -> None:
    headers = {"content-type": declared} if declared else {}

    detail = problem(api.post("/v1/datasets", content=FLOWERS, headers=headers), 415)["detail"]

    assert all(kind in detail for kind in (CSV, NPZ, PARQUET, "multipart/form-data"))
    assert keys_of(client) == []


@pytest.mark.parametrize("declared", ["application/json", "application/octet-stream"])
def test_a_form_file_without_a_known_type_or_suffix_gets_415(api: httpx2.Client, declared: str) -> None:
    problem(api.post("/v1/datasets", files={"file": ("flowers.txt", FLOWERS, declared)}), 415)


@pytest.fixture
def small(store: Experiments, datasets: Datasets) -> Iterator[httpx2.Client]:
    """An API that accepts files up to 20,000 bytes and stores at most three data sets like FLOWERS."""
    sizes = ApiSettings(max_upload_bytes=20_000, datasets_bytes=3 * FLOWERS_BYTES)
    with served(store, datasets, RecordedMessages(), sizes) as http:
        yield http


def test_a_file_over_the_limit_gets_413_with_and_without_declared_length(
    small: httpx2.Client, client: redis.Redis
) -> None:
    def endless() -> Iterator[bytes]:
        yield FLOWERS
        for _ in range(1000):
            yield b"1,2,rose\n" * 10

    long = FLOWERS + b"1,2,rose\n" * 3000
    headers = {"content-type": CSV}

    problem(small.post("/v1/datasets", content=long, headers=headers), 413)
    problem(small.post("/v1/datasets", content=endless(), headers=headers), 413)
    problem(small.post("/v1/datasets", files={"file": ("flowers.csv", long, CSV)}), 413)
    assert keys_of(client) == []
    _upload(small)  # and the next one is accepted


def test_an_upload_may_be_larger_than_a_spec(api: httpx2.Client) -> None:
    rows = b"".join(b"%d.25,%d,%s\n" % (i, i, b"rose" if i % 2 else b"iris") for i in range(20_000))
    assert len(rows) > ApiSettings().max_body_bytes

    assert _upload(api, b"length,width,kind\n" + rows)["rows"] == 20_000


def test_data_sets_that_are_too_large_together_get_503_and_leave_nothing(
    small: httpx2.Client, client: redis.Redis
) -> None:
    kept = [_upload(small)["id"] for _ in range(3)]
    before = keys_of(client)

    refused = small.post("/v1/datasets", content=FLOWERS, headers={"content-type": CSV})

    assert f"{3 * FLOWERS_BYTES:,} bytes" in problem(refused, 503)["detail"]
    assert int(refused.headers["retry-after"]) > 0
    assert keys_of(client) == before
    assert small.delete(f"/v1/datasets/{kept[0]}").status_code == 204
    _upload(small)


def test_a_full_redis_gives_503_until_there_is_memory_again(api: httpx2.Client, client: redis.Redis) -> None:
    kept = _upload(api)
    client.config_set("maxmemory", "1mb")  # less than an empty server uses
    try:
        refused = api.post("/v1/datasets", content=FLOWERS, headers={"content-type": CSV})
        problem(refused, 503)
        assert int(refused.headers["retry-after"]) > 0
        assert [d["id"] for d in api.get("/v1/datasets").json()["datasets"]] == [kept["id"]]
    finally:
        client.config_set("maxmemory", "0")
    _upload(api)


def test_without_redis_every_request_is_503() -> None:
    away = connect(RedisSettings(url="unix:///no/such/socket"))
    with served(Experiments(away), Datasets(away), RecordedMessages()) as api:
        for answer in (
            api.post("/v1/datasets", content=FLOWERS, headers={"content-type": CSV}),
            api.get("/v1/datasets"),
            api.get("/v1/datasets/x"),
            api.delete("/v1/datasets/x"),
            api.post("/v1/experiments", json=_on("0" * 24)),
        ):
            problem(answer, 503)
            assert "retry-after" in answer.headers


# -------------------------------------------------------------------------------------------------- list, get, delete


def test_data_sets_are_listed_in_pages_newest_first(api: httpx2.Client) -> None:
    ids = [_upload(api, name=f"set {i}")["id"] for i in range(7)]

    seen: list[dict[str, Any]] = []
    query: dict[str, str | int] = {"limit": 3}
    while True:
        page = api.get("/v1/datasets", params=query).json()
        assert len(page["datasets"]) <= 3
        seen += page["datasets"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]

    assert [found["id"] for found in seen] == sorted(ids, reverse=True)
    assert {found["name"] for found in seen} == {f"set {i}" for i in range(7)}
    assert all(found == api.get(found["links"]["self"]).json() for found in seen)
    assert api.get("/v1/datasets").json()["next_cursor"] is None


def test_paging_continues_correctly_after_deletions(api: httpx2.Client) -> None:
    ids = sorted((_upload(api)["id"] for _ in range(5)), reverse=True)
    first = api.get("/v1/datasets", params={"limit": 2}).json()
    for gone in (ids[1], ids[2]):  # the last one of this page, and the first of the next
        assert api.delete(f"/v1/datasets/{gone}").status_code == 204

    second = api.get("/v1/datasets", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [found["id"] for found in second["datasets"]] == ids[3:]
    assert second["next_cursor"] is None


def test_invalid_query_parameters_of_the_list_are_refused(api: httpx2.Client) -> None:
    problem(api.get("/v1/datasets?cursor=nix"), 400)
    for query in ("limit=0", "limit=201", "limit=some", "cursor=" + "x" * 101):
        problem(api.get(f"/v1/datasets?{query}"), 422)


def test_deleting_a_data_set_deletes_its_bytes(api: httpx2.Client, client: redis.Redis) -> None:
    path = _upload(api)["links"]["self"]

    assert api.delete(path).status_code == 204

    problem(api.get(path), 404)
    problem(api.delete(path), 404)
    assert api.get("/v1/datasets").json() == {"datasets": [], "unreadable": 0, "next_cursor": None}
    assert keys_of(client) == [b"gradflow:datasets:bytes"]
    assert client.get("gradflow:datasets:bytes") == b"0"


@given(st.text(min_size=1, max_size=40).filter(lambda text: text not in (".", "..")))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_may_be_an_unknown_id(api: httpx2.Client, text: str) -> None:
    path = f"/v1/datasets/{quote(text, safe='')}"

    problem(api.get(path), 404)
    problem(api.delete(path), 404)


# -------------------------------------------------------------------------------------------------- in use


def _cancelled_while_queued(api: httpx2.Client, store: Experiments, experiment_id: str) -> None:  # noqa: ARG001
    assert api.post(f"/v1/experiments/{experiment_id}/cancel").status_code == 202


def _deleted_while_queued(api: httpx2.Client, store: Experiments, experiment_id: str) -> None:  # noqa: ARG001
    assert api.delete(f"/v1/experiments/{experiment_id}").status_code == 204


def _ended(status: Status) -> Callable[[httpx2.Client, Experiments, str], None]:
    def end(api: httpx2.Client, store: Experiments, experiment_id: str) -> None:
        attempt = claim_run(attempts_of(store), experiment_id, "cpu")
        assert attempt is not None
        problem(api.delete(_dataset_of(api, experiment_id)), 409)  # a running one protects it too
        attempts_of(store).finish(experiment_id, attempt, status, Outcome(), Timing())

    return end


def _requeued_and_cancelled(api: httpx2.Client, store: Experiments, experiment_id: str) -> None:
    assert claim_run(attempts_of(store), experiment_id, "cpu") == 1
    attempts_of(store).lose_all()
    problem(api.delete(_dataset_of(api, experiment_id)), 409)  # it will run again
    assert api.post(f"/v1/experiments/{experiment_id}/cancel").status_code == 202


def _cancelled_while_running_and_then_requeued(api: httpx2.Client, store: Experiments, experiment_id: str) -> None:
    assert claim_run(attempts_of(store), experiment_id, "cpu") == 1
    assert api.post(f"/v1/experiments/{experiment_id}/cancel").status_code == 202
    problem(api.delete(_dataset_of(api, experiment_id)), 409)  # it has not ended yet
    attempts_of(store).lose_all()


def _dataset_of(api: httpx2.Client, experiment_id: str) -> str:
    return f"/v1/datasets/{api.get(f'/v1/experiments/{experiment_id}').json()['spec']['data']['dataset_id']}"


ENDS: dict[str, Callable[[httpx2.Client, Experiments, str], None]] = {
    "succeeded": _ended(Status.SUCCEEDED),
    "failed": _ended(Status.FAILED),
    "cancelled while it ran": _ended(Status.CANCELLED),
    "cancelled while queued": _cancelled_while_queued,
    "deleted while queued": _deleted_while_queued,
    "requeued, then cancelled": _requeued_and_cancelled,
    "cancelled, then requeued": _cancelled_while_running_and_then_requeued,
}


@pytest.mark.parametrize("end", ENDS)
def test_a_data_set_is_protected_until_the_last_run_that_reads_it_has_ended(
    api: httpx2.Client, store: Experiments, client: redis.Redis, end: str
) -> None:
    dataset = _upload(api)
    path = dataset["links"]["self"]
    first, last = _submit_on(api, dataset["id"]), _submit_on(api, dataset["id"])
    _cancelled_while_queued(api, store, first)

    assert "have not ended" in problem(api.delete(path), 409)["detail"]
    assert api.get(path).status_code == 200
    ENDS[end](api, store, last)

    assert api.delete(path).status_code == 204
    problem(api.get(path), 404)
    assert not [key for key in keys_of(client) if b"users" in key]


def test_an_experiment_outlives_its_data_set(api: httpx2.Client, store: Experiments) -> None:
    dataset = _upload(api)
    experiment_id = _submit_on(api, dataset["id"])
    _ended(Status.SUCCEEDED)(api, store, experiment_id)
    assert api.delete(dataset["links"]["self"]).status_code == 204

    path = f"/v1/experiments/{experiment_id}"
    assert api.get(path).json()["spec"]["data"]["dataset_id"] == dataset["id"]
    assert [api.get(f"{path}/{part}").status_code for part in ("gradients", "metrics")] == [200, 200]
    assert api.delete(path).status_code == 204


def test_an_experiment_on_an_upload_has_its_shape_and_its_classes(api: httpx2.Client) -> None:
    lines = b"".join(b"%d,%d,%s\n" % (i, -i, kind) for i in range(20) for kind in (b"a", b"b", b"c"))
    dataset = _upload(api, b"p,q,kind\n" + lines)

    body = api.post("/v1/experiments", json=_on(dataset["id"])).json()

    assert body["progress"]["total_steps"] == 2 * 5  # 48 of 60 rows are training samples
    variables = api.get(f"{body['links']['self']}/gradients").json()["variables"]
    assert (variables[0]["shape"], variables[-1]["shape"]) == ([2, 64], [64, 3])


def test_an_upload_may_be_read_in_another_shape_of_the_same_size(api: httpx2.Client, queue: RecordedMessages) -> None:
    dataset = _upload(api)

    wrong = problem(api.post("/v1/experiments", json=_on(dataset["id"], shape=[3])), 422)
    assert wrong["errors"][0]["location"] == "body.data.shape"
    assert queue.ids == []
    assert api.post("/v1/experiments", json=_on(dataset["id"], shape=[2, 1])).status_code == 202


def test_more_rows_than_were_uploaded_are_refused(api: httpx2.Client, queue: RecordedMessages) -> None:
    dataset = _upload(api)

    for rows, at in (({"train_rows": 5}, "train_rows"), ({"validation_rows": 4}, "validation_rows")):
        refused = problem(api.post("/v1/experiments", json=_on(dataset["id"], **rows)), 422)
        assert refused["errors"][0]["location"] == f"body.data.{at}"
    assert queue.ids == []


def test_an_unknown_data_set_is_refused_and_nothing_is_queued(
    api: httpx2.Client, queue: RecordedMessages, client: redis.Redis
) -> None:
    [error] = problem(api.post("/v1/experiments", json=_on("0" * 24)), 422)["errors"]

    assert error["location"] == "body.data.dataset_id"
    assert error["message"] == f"there is no data set {'0' * 24}"
    assert error["code"] == "rule"
    assert queue.ids == []
    assert keys_of(client) == []


class DatasetsThatVanish(Datasets):
    """Each data set is deleted immediately after it was read."""

    vanishing = False

    def get(self, dataset_id: str) -> Dataset:
        found = super().get(dataset_id)
        if self.vanishing:
            self.open(dataset_id).delete()
        return found


def test_a_data_set_that_is_deleted_between_the_check_and_the_record_is_refused(
    store: Experiments, client: redis.Redis
) -> None:
    datasets, queue = DatasetsThatVanish(client), RecordedMessages()
    with served(store, datasets, queue) as api:
        dataset = _upload(api)
        datasets.vanishing = True

        [error] = problem(api.post("/v1/experiments", json=_on(dataset["id"])), 422)["errors"]

    assert error["location"] == "body.data.dataset_id"
    assert queue.ids == []
    assert keys_of(client) == [b"gradflow:datasets:bytes"]


def test_of_a_concurrent_deletion_and_submission_one_is_refused(api: httpx2.Client) -> None:
    for _ in range(25):
        dataset = _upload(api)
        with ThreadPoolExecutor(2) as both:
            submitted = both.submit(api.post, "/v1/experiments", json=_on(dataset["id"]))
            deleted = both.submit(api.delete, dataset["links"]["self"])
        answers = (submitted.result().status_code, deleted.result().status_code)
        assert answers in ((202, 409), (422, 204))


# -------------------------------------------------------------------------------------------------- the store itself

SHAPE = DataShape(samples=2, input_shape=(3,), classes=2, class_names=("a", "ü «b»"))


def _description(x_format: Literal["<f4", "<f8"] = "<f4") -> DatasetDescription:
    return DatasetDescription(
        name="naïve", shape=SHAPE, label="y", columns=("p", "q", "r"), rows_a_class=(1, 1), x_format=x_format,
        y_format="<i4",
    )  # fmt: skip


def test_a_stored_data_set_is_read_unchanged(datasets: Datasets) -> None:
    dataset_id = new_id()
    before = datetime.now(UTC).timestamp()
    datasets.add(dataset_id, _description(), b"\0\xff" * 12, b"\1" * 8, 100)

    found = datasets.get(dataset_id)

    assert (found.id, found.description, found.bytes) == (dataset_id, _description(), 32)
    assert abs(found.created_at.timestamp() - before) < 60
    assert datasets.open(dataset_id).arrays() == (b"\0\xff" * 12, b"\1" * 8)


def test_the_limit_of_all_data_sets_may_be_reached_but_not_exceeded(datasets: Datasets, client: redis.Redis) -> None:
    datasets.add("a", _description(), b"x" * 60, b"y" * 20, 100)
    with pytest.raises(StoreFull, match="100 bytes"):
        datasets.add("b", _description(), b"x" * 20, b"y", 100)
    with pytest.raises(NotFound):
        datasets.get("b")
    with pytest.raises(NotFound):
        datasets.open("b").arrays()
    assert not [key for key in keys_of(client) if b"{b}" in key]

    datasets.add("c", _description(), b"x" * 10, b"y" * 10, 100)
    datasets.open("a").delete()
    datasets.add("d", _description(), b"x" * 60, b"y" * 20, 100)

    assert client.get("gradflow:datasets:bytes") == b"100"


def test_the_values_of_a_stored_data_set_do_not_expire(datasets: Datasets, client: redis.Redis) -> None:
    datasets.add("a", _description(), b"x", b"y", 100)

    assert [client.ttl(f"gradflow:{{a}}:{part}") for part in ("x", "y", "dataset")] == [-1, -1, -1]


def test_values_that_were_never_registered_expire(datasets: Datasets, client: redis.Redis) -> None:
    client.hset("gradflow:datasets:bytes", "not a", "number")  # so that the registration fails

    with pytest.raises(redis.exceptions.ResponseError):
        datasets.add("a", _description(), b"x", b"y", 100)

    left = client.keys("gradflow:{a}:*")
    assert all(0 < client.ttl(key) <= 600 for key in left)
    client.delete("gradflow:datasets:bytes")


def _spec_on(dataset_id: str) -> ExperimentSpec:
    return ExperimentSpec.model_validate(_on(dataset_id)).resolved()


def test_an_experiment_that_could_not_be_created_twice_protects_its_data_set_once(
    store: Experiments, datasets: Datasets
) -> None:
    dataset_id = new_id()
    datasets.add(dataset_id, _description(), b"x", b"y", 100)
    store.create("some id", new_experiment(_spec_on(dataset_id), (), SHAPE))
    with pytest.raises(Conflict):
        store.create("some id", new_experiment(_spec_on(dataset_id).model_copy(update={"name": "another"}), (), SHAPE))

    with pytest.raises(Conflict, match="have not ended"):
        datasets.open(dataset_id).delete()
    assert store.get("some id").shape == SHAPE
    store.open("some id").cancel()
    datasets.open(dataset_id).delete()


def test_the_store_refuses_an_experiment_without_its_data_set_and_keeps_nothing_of_it(
    store: Experiments, client: redis.Redis
) -> None:
    with pytest.raises(InvalidSpec) as refused:
        store.create("some id", new_experiment(_spec_on("0" * 24), (), SHAPE))

    assert refused.value.location == ("data", "dataset_id")
    assert keys_of(client) == []


def _handle(datasets: Datasets) -> DatasetHandle:
    client, names = datasets.client, Names()
    return DatasetHandle("any", {b"bytes": b"1"}, client, names, Scripts(client, names))


EVERY_CALL: dict[str, Callable[[Datasets], object]] = {
    "add": lambda datasets: datasets.add("any", _description(), b"x", b"y", 100),
    "get": lambda datasets: datasets.get("any"),
    "open": lambda datasets: datasets.open("any"),
    "arrays": lambda datasets: _handle(datasets).arrays(),
    "page": lambda datasets: datasets.page(1, None),
    "delete": lambda datasets: _handle(datasets).delete(),
}


@pytest.mark.parametrize("name", EVERY_CALL)
def test_an_unreachable_server_raises_store_unavailable(name: str) -> None:
    with connect(RedisSettings(url="unix:///no/such/socket")) as away, pytest.raises(StoreUnavailable):
        EVERY_CALL[name](Datasets(away))


def test_every_method_is_tested_without_a_server() -> None:
    assert set(EVERY_CALL) == {name for name in (*vars(Datasets), *vars(DatasetHandle)) if not name.startswith("_")} - {
        "dataset",
        "client",
    }
