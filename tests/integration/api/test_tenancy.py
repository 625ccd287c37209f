"""No route answers about another tenant's experiment, study or data set: every route of the application is tried."""

import re
from collections.abc import Iterator

import httpx2
import pytest
import redis

from service.store.datasets import Datasets
from service.store.experiments import Experiments
from service.store.keys import Keys
from service.store.studies import Studies
from tests.support.served_api import RecordedMessages, problem, served, write

PARAMETER = re.compile(r"\{(\w+)\}")
CSV = "a,b,kind\n" + "".join(f"{i},{i * i % 7},{i % 2}\n" for i in range(20))
SPEC = {"model": {"kind": "baseline", "depth": 1, "width": 2}, "recording": {"keep_model": True}}
STUDY = {"base": SPEC, "axes": {"training.seed": [0, 1]}}
METHODS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")


@pytest.fixture
def tenants(store: Experiments, client: redis.Redis) -> Iterator[tuple[httpx2.Client, dict[str, httpx2.Client]]]:
    """A client without a key, and one for each of `ada`, `bob` and the operator `root`."""
    keys = Keys(client)
    own = {name: keys.add(name, operator=name == "root") for name in ("ada", "bob", "root")}
    with served(store, Datasets(client), RecordedMessages()) as http:
        clients = {
            name: httpx2.Client(base_url=http.base_url, headers={"authorization": f"Bearer {key}"})
            for name, key in own.items()
        }
        yield http, clients
        for one in clients.values():
            one.close()


def test_another_tenants_id_is_not_found_through_any_route(
    tenants: tuple[httpx2.Client, dict[str, httpx2.Client]], store: Experiments, client: redis.Redis
) -> None:
    http, clients = tenants
    ada, bob = clients["ada"], clients["bob"]
    experiment = ada.post("/v1/experiments", json=SPEC).json()["id"]
    write(store, experiment, 5)
    ids = {
        "experiment_id": experiment,
        "study_id": ada.post("/v1/studies", json=STUDY).json()["id"],
        "dataset_id": ada.post("/v1/datasets", content=CSV, headers={"content-type": "text/csv"}).json()["id"],
    }
    document = http.get("/openapi.json").json()

    tried = 0
    for path, operations in document["paths"].items():
        parameters = set(PARAMETER.findall(path))
        if not parameters:
            continue
        assert parameters <= set(ids), f"this test has no {parameters - set(ids)} for {path}"
        for method in operations.keys() & set(METHODS):
            problem(bob.request(method, path.format(**ids)), 404)
            tried += 1

    assert tried >= 14
    assert store.get(experiment).cancel_requested is False
    assert Studies(client).open(ids["study_id"]).tally().counts == {"queued": 2}
    assert clients["root"].get(f"/v1/experiments/{experiment}").status_code == 200


def test_every_route_with_a_parameter_answers_its_own_tenant(
    tenants: tuple[httpx2.Client, dict[str, httpx2.Client]],
) -> None:
    _, clients = tenants
    experiment = clients["ada"].post("/v1/experiments", json=SPEC).json()["id"]

    for part in ("", "/gradients", "/metrics", "/diagnosis"):
        assert clients["ada"].get(f"/v1/experiments/{experiment}{part}").status_code == 200
    assert clients["ada"].post(f"/v1/experiments/{experiment}/cancel").status_code == 202
    assert clients["ada"].delete(f"/v1/experiments/{experiment}").status_code == 204


def test_the_stores_have_no_method_that_reads_or_changes_by_id_without_a_check() -> None:
    by_id = {"series", "rows", "pieces", "model", "cancel", "delete", "runs", "tally", "arrays"}

    for view in (Experiments, Studies, Datasets):
        assert by_id.isdisjoint(vars(view))
