"""API keys: which requests are allowed, what a tenant sees, and how many requests a key may send."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import httpx2
import pytest
import redis

from service.api.access import KEYS_CACHED_S
from service.api.composition import Stores, compose
from service.api.settings import ApiSettings
from service.contract.errors import StoreUnavailable
from service.contract.spec import ExperimentSpec
from service.contract.workload import Limits
from service.store.connection import connect
from service.store.datasets import Datasets
from service.store.experiments import Experiments
from service.store.ids import new_id
from service.store.keys import Keys, KnownKeys
from service.store.settings import LeaseSettings, RedisSettings
from tests.support.clock import Clock
from tests.support.plans import new_experiment
from tests.support.served_api import RecordedMessages, problem, served, submit, write

CSV = {"content-type": "text/csv"}
ROWS = "a,b,kind\n" + "".join(f"{i},{i * i % 7},{i % 2}\n" for i in range(20))
GRID = {"base": {"model": "baseline", "tags": ["t"]}, "axes": {"training.seed": [0, 1]}}
OPEN = ("/livez", "/readyz", "/docs", "/openapi.json")


class Caller(Protocol):
    def __call__(self, name: str, operator: bool = False) -> httpx2.Client: ...


@pytest.fixture
def keys(client: redis.Redis) -> Keys:
    """The keys of the empty server."""
    return Keys(client)


@pytest.fixture
def clock() -> Clock:
    """The clock of the API; only the test advances it."""
    return Clock()


@pytest.fixture
def guarded(store: Experiments, datasets: Datasets, keys: Keys, clock: Clock) -> Iterator[httpx2.Client]:
    """A client without a key of an API that requires one."""
    keys.add("somebody")
    with served(store, datasets, RecordedMessages(), clock=clock) as http:
        yield http


@pytest.fixture
def caller(guarded: httpx2.Client, keys: Keys, clock: Clock) -> Iterator[Caller]:
    """Makes clients, each with a new key that the API knows."""
    opened: list[httpx2.Client] = []

    def make(name: str, operator: bool = False) -> httpx2.Client:
        clock.advance(KEYS_CACHED_S)
        headers = {"authorization": f"Bearer {keys.add(name, operator)}"}
        opened.append(httpx2.Client(base_url=guarded.base_url, headers=headers))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def _operations(client: redis.Redis) -> list[tuple[str, str]]:
    """Method and path of every operation below /v1; a path parameter is replaced by its name."""
    leases = LeaseSettings()
    app = compose(Stores.over(client, leases), RecordedMessages(), ApiSettings(), leases, Limits(), sweeps=False)
    schema = app.openapi()
    found = [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, operations in schema["paths"].items()
        if path.startswith("/v1/")
        for method in operations
    ]
    assert len(found) >= 15
    return found


def test_while_no_key_is_configured_none_is_needed(api: httpx2.Client) -> None:
    assert submit(api)
    assert api.get("/v1/experiments", headers={"authorization": "Bearer nonsense"}).status_code == 200


def test_once_a_key_is_configured_every_path_below_v1_needs_one(guarded: httpx2.Client, client: redis.Redis) -> None:
    for method, path in [*_operations(client), ("GET", "/v1"), ("GET", "/v1/nowhere"), ("PUT", "/v1/experiments")]:
        answer = guarded.request(method, path)
        problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer nonsense", "Basic c29tZWJvZHk6", "nonsense", b"Bearer \xff\xfe", "Bearer " + "x" * 9_000],
)
def test_a_request_with_an_invalid_key_is_refused(guarded: httpx2.Client, authorization: str | bytes) -> None:
    headers = httpx2.Headers({"authorization": authorization} if isinstance(authorization, str) else None)
    if isinstance(authorization, bytes):
        headers = httpx2.Headers([(b"authorization", authorization)])

    problem(guarded.get("/v1/experiments", headers=headers), 401)


def test_health_and_documentation_need_no_key(guarded: httpx2.Client) -> None:
    for path in OPEN:
        assert guarded.get(path).status_code in (200, 503), path


def test_a_request_without_a_key_is_refused_before_its_body_is_read(guarded: httpx2.Client) -> None:
    problem(guarded.post("/v1/experiments", content=b"x" * 400_000, headers={"content-type": "application/json"}), 401)


def test_the_case_of_the_authorization_scheme_does_not_matter(caller: Caller) -> None:
    ada = caller("ada")
    key = ada.headers["authorization"].partition(" ")[2]

    assert submit(ada)
    assert ada.get("/v1/experiments", headers={"authorization": f"bearer  {key}"}).status_code == 200


def test_keys_can_be_added_and_removed_while_the_api_runs(
    guarded: httpx2.Client, caller: Caller, keys: Keys, clock: Clock
) -> None:
    problem(guarded.get("/v1/experiments"), 401)  # the API caches the keys now
    ada = caller("ada")
    assert ada.get("/v1/experiments").status_code == 200

    keys.remove("ada")
    clock.advance(KEYS_CACHED_S)
    problem(ada.get("/v1/experiments"), 401)

    keys.remove("somebody")
    clock.advance(KEYS_CACHED_S)
    assert guarded.get("/v1/experiments").status_code == 200


def test_keys_required_without_any_key_refuses_every_request(store: Experiments, datasets: Datasets) -> None:
    with served(store, datasets, RecordedMessages(), ApiSettings(keys_required=True)) as api:
        problem(api.get("/v1/experiments"), 401)
        assert api.get("/livez").status_code == 200


def test_without_redis_no_request_is_allowed() -> None:
    away = connect(RedisSettings(url="unix:///no/such/socket"))
    with served(Experiments(away), Datasets(away), RecordedMessages()) as api:
        answer = api.get("/v1/experiments")
    problem(answer, 503)
    assert "retry-after" in answer.headers


def test_requests_at_the_same_time_read_the_keys_once_even_if_redis_does_not_answer(
    store: Experiments, datasets: Datasets, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[None] = []
    reading, may_fail = threading.Event(), threading.Event()

    def fail(_: Keys) -> KnownKeys:
        reads.append(None)
        reading.set()
        assert may_fail.wait(30)
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(Keys, "all", fail)
    with served(store, datasets, RecordedMessages(), clock=Clock()) as api, ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(api.get, "/v1/experiments") for _ in range(8)]
        assert reading.wait(30)
        may_fail.set()
        statuses = [answer.result().status_code for answer in answers]

    assert statuses == [503] * 8
    assert len(reads) == 1


def test_removing_a_key_ends_its_event_streams(caller: Caller, keys: Keys, clock: Clock) -> None:
    ada = caller("ada")
    experiment_id = submit(ada)

    with ada.stream("GET", f"/v1/experiments/{experiment_id}/events") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: progress"
        keys.remove("ada")
        clock.advance(KEYS_CACHED_S)
        rest = list(lines)  # until the connection ends

    assert sum(line.startswith("event:") for line in rest) == 1


def test_a_resource_of_another_tenant_looks_like_one_that_does_not_exist(
    caller: Caller, store: Experiments, client: redis.Redis
) -> None:
    ada, bob = caller("ada"), caller("bob")
    experiment = submit(ada, tags=["t"], recording={"keep_model": True})
    dataset = ada.post("/v1/datasets?label=kind", content=ROWS, headers=CSV).json()["id"]
    study = ada.post("/v1/studies", json=GRID).json()["id"]
    write(store, experiment, steps=5)
    ids = {"experiment_id": experiment, "dataset_id": dataset, "study_id": study}
    nowhere = dict.fromkeys(ids, "0" * 24)

    paths = [(method, path) for method, path in _operations(client) if any(name in path for name in ids)]
    assert len(paths) >= 10
    for method, path in paths:
        for name, its_id in ids.items():
            path = path.replace(name, its_id)
        refused = problem(bob.request(method, path), 404)
        for name in nowhere:
            path = path.replace(ids[name], nowhere[name])
        unknown = problem(bob.request(method, path), 404)
        assert _without_ids(refused, ids) == _without_ids(unknown, nowhere)

    assert ada.get(f"/v1/experiments/{experiment}").json()["status"] == "running"
    assert ada.get(f"/v1/experiments/{experiment}/gradients").json()["steps"] == [0, 1, 2, 3, 4]
    assert ada.get(f"/v1/studies/{study}").json()["counts"]["queued"] == 2
    assert ada.get(f"/v1/datasets/{dataset}").status_code == 200


def _without_ids(body: dict[str, Any], ids: dict[str, str]) -> str:
    text = repr(body)
    for its_id in ids.values():
        text = text.replace(its_id, "ID")
    return text


def _listed(api: httpx2.Client, path: str) -> list[str]:
    things = path.removeprefix("/v1/").partition("?")[0]
    found: list[str] = []
    cursor = ""
    while True:
        page = api.get(f"{path}{'&' if '?' in path else '?'}limit=2{cursor}").json()
        found += [thing["id"] for thing in page[things]]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def test_a_tenant_lists_its_own_resources_and_an_operator_lists_all(caller: Caller, store: Experiments) -> None:
    ada, bob, root = caller("ada"), caller("bob"), caller("root", operator=True)
    studies = {who: who.post("/v1/studies", json=GRID).json()["id"] for who in (ada, bob)}
    sets = {
        who: [who.post("/v1/datasets", content=ROWS, headers=CSV).json()["id"] for _ in range(3)] for who in (ada, bob)
    }
    alone = {who: [submit(who, tags=["t"]) for _ in range(3)] for who in (ada, bob)}
    write(store, alone[bob][0], steps=5)

    for who, other in ((ada, bob), (bob, ada)):
        runs = _listed(who, f"/v1/experiments?study={studies[who]}")
        assert len(runs) == 2
        assert sorted(_listed(who, "/v1/experiments")) == sorted(alone[who] + runs)
        assert sorted(_listed(who, "/v1/experiments?tag=t")) == sorted(alone[who] + runs)
        assert sorted(_listed(who, "/v1/experiments?tag=t&status=queued")) == sorted(
            _listed(who, "/v1/experiments?status=queued")
        )
        assert _listed(who, f"/v1/experiments?study={studies[other]}") == []
        assert _listed(who, "/v1/studies") == [studies[who]]
        assert _listed(who, "/v1/datasets") == sets[who][::-1]
    assert _listed(ada, "/v1/experiments?status=running") == []
    assert _listed(bob, "/v1/experiments?status=running") == [alone[bob][0]]
    assert len(_listed(root, "/v1/experiments")) == 10
    assert len(_listed(root, "/v1/experiments?status=queued")) == 9
    assert len(_listed(root, "/v1/studies")) == 2
    assert len(_listed(root, "/v1/datasets")) == 6
    assert root.delete(f"/v1/datasets/{sets[ada][0]}").status_code == 204


def test_a_data_set_of_another_tenant_cannot_be_trained_on(caller: Caller) -> None:
    ada, bob = caller("ada"), caller("bob")
    dataset = ada.post("/v1/datasets", content=ROWS, headers=CSV).json()["id"]

    def spec(of: str) -> dict[str, Any]:
        return {"model": "baseline", "data": {"source": "upload", "dataset_id": of}}

    for path, body in (("/v1/experiments", spec), ("/v1/studies", lambda of: GRID | {"base": spec(of)})):
        refused = problem(bob.post(path, json=body(dataset)), 422)
        unknown = problem(bob.post(path, json=body("0" * 24)), 422)
        assert repr(refused).replace(dataset, "ID") == repr(unknown).replace("0" * 24, "ID")
        assert ada.post(path, json=body(dataset)).status_code == 202


def test_only_operators_see_what_was_created_without_a_key(caller: Caller, store: Experiments) -> None:
    ada, root = caller("ada"), caller("root", operator=True)
    before = store.create(new_id(), new_experiment(ExperimentSpec.model_validate({"model": "baseline"}).resolved())).id

    problem(ada.get(f"/v1/experiments/{before}"), 404)
    assert root.get(f"/v1/experiments/{before}").status_code == 200
    assert root.delete(f"/v1/experiments/{before}").status_code == 204


def test_deleting_everything_of_a_tenant_leaves_none_of_its_indexes(caller: Caller, client: redis.Redis) -> None:
    ada = caller("ada")
    experiment = submit(ada, tags=["t"])
    dataset = ada.post("/v1/datasets", content=ROWS, headers=CSV).json()["id"]
    study = ada.post("/v1/studies", json=GRID).json()["id"]
    assert client.keys("gradflow:tenant:ada:*")

    for path in (f"experiments/{experiment}", f"datasets/{dataset}", f"studies/{study}"):
        assert ada.delete(f"/v1/{path}").status_code == 204

    assert client.keys("gradflow:tenant:*") == []


def test_a_tenants_lists_follow_the_status_of_its_experiments(caller: Caller, store: Experiments) -> None:
    ada = caller("ada")
    cancelled, run = submit(ada), submit(ada)

    assert ada.post(f"/v1/experiments/{cancelled}/cancel").status_code == 202
    write(store, run, steps=5)

    assert _listed(ada, "/v1/experiments?status=cancelled") == [cancelled]
    assert _listed(ada, "/v1/experiments?status=running") == [run]
    assert _listed(ada, "/v1/experiments?status=queued") == []


def test_a_key_that_sends_too_many_requests_gets_the_seconds_to_wait(
    store: Experiments, datasets: Datasets, keys: Keys, clock: Clock
) -> None:
    authorizations = [{"authorization": f"Bearer {keys.add('ada')}"} for _ in range(2)]
    settings = ApiSettings(requests_per_s=0.5, requests_burst=3)
    with served(store, datasets, RecordedMessages(), settings, clock) as api:
        answers = [api.get("/v1/experiments", headers=authorizations[0]) for _ in range(5)]

        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert problem(answers[-1], 429)["detail"] == "more than 0.5 requests per second"
        assert answers[-1].headers["retry-after"] == "2"
        assert api.get("/v1/experiments", headers=authorizations[1]).status_code == 200
        assert api.get("/livez", headers=authorizations[0]).status_code == 200
        clock.advance(2)
        assert api.get("/v1/experiments", headers=authorizations[0]).status_code == 200


def test_without_keys_cross_origin_requests_are_refused(api: httpx2.Client) -> None:
    own = str(api.base_url)

    for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}):
        problem(api.post("/v1/experiments", json={"model": "baseline"}, headers=headers), 403)
        form = {"file": ("a.csv", ROWS, "text/csv")}
        problem(api.post("/v1/datasets", files=form, headers=headers), 403)
    assert api.get("/v1/experiments").json()["experiments"] == []
    assert api.get("/v1/datasets").json()["datasets"] == []
    assert api.post("/v1/experiments", json={"model": "baseline"}, headers={"origin": own}).status_code == 202


def test_a_request_with_a_key_may_be_cross_origin(caller: Caller) -> None:
    headers = {"host": "gradflow.example", "origin": "https://notebook.example"}

    assert caller("ada").get("/v1/experiments", headers=headers).status_code == 200


def test_requests_without_a_key_have_no_rate_limit(store: Experiments, datasets: Datasets) -> None:
    with served(store, datasets, RecordedMessages(), ApiSettings(requests_per_s=0.1, requests_burst=1)) as api:
        assert {api.get("/v1/experiments").status_code for _ in range(10)} == {200}


def test_the_openapi_document_says_that_a_key_may_be_needed(api: httpx2.Client) -> None:
    schema = api.get("/openapi.json").json()

    (scheme,) = schema["components"]["securitySchemes"].items()
    assert scheme[1] == {"type": "http", "scheme": "bearer"}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            if path.startswith("/v1/"):
                assert operation["security"] == [{}, {scheme[0]: []}]
                assert {"401", "403", "429"} <= operation["responses"].keys()
            else:
                assert "security" not in operation
