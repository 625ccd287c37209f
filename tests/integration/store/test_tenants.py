"""Each tenant's indexes are the part of the common indexes that belongs to the tenant, after any changes."""

import random
from typing import cast

import pytest
import redis

from service.contract.errors import Conflict, NotFound
from service.contract.record import Status
from service.contract.spec import ExperimentSpec
from service.store.experiments import Experiments
from service.store.ids import new_id
from tests.support.plans import new_experiment
from tests.support.served_api import write

TENANTS = ("", "ada", "bob")
PREFIX = "gradflow:experiments"


def _spec(tag: str) -> ExperimentSpec:
    return ExperimentSpec.model_validate({"model": "baseline", "tags": [tag]}).resolved()


def _members(client: redis.Redis, index: str) -> list[str]:
    return [member.decode() for member in cast("list[bytes]", client.zrange(index, 0, -1))]


@pytest.mark.parametrize("seed", range(5))
def test_the_index_of_a_tenant_is_its_part_of_the_common_index(
    store: Experiments, client: redis.Redis, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311
    owner: dict[str, str] = {}
    for _ in range(60):
        tenant, some = chance.choice(TENANTS), chance.choice([*owner, new_id()])
        match chance.choice(("create", "create", "write", "cancel", "delete")):
            case "create":
                owner[store.of(tenant).create(new_id(), new_experiment(_spec(chance.choice("xy")))).id] = tenant
            case "write" if some in owner and store.get(some).status is Status.QUEUED:
                write(store, some, steps=1)
            case "cancel" if some in owner:
                store.of(owner[some]).open(some).cancel()
            case "delete" if some in owner:
                try:
                    store.of(owner[some]).open(some).delete()
                except Conflict:
                    continue
                del owner[some]

    assert _members(client, PREFIX) == sorted(owner)
    for suffix in ("", *(f":status:{status}" for status in Status), ":tag:x", ":tag:y"):
        of_all = _members(client, PREFIX + suffix)
        for tenant in TENANTS[1:]:
            own = _members(client, f"gradflow:tenant:{tenant}:experiments{suffix}")
            assert own == [i for i in of_all if owner[i] == tenant]


def test_no_index_of_a_tenant_is_stored_without_tenants(store: Experiments, client: redis.Redis) -> None:
    experiment_id = store.create(new_id(), new_experiment(_spec("x"))).id

    assert client.keys("gradflow:tenant*") == []
    assert not client.hexists(f"gradflow:{{{experiment_id}}}:record", "tenant")


def test_records_of_another_tenant_can_be_neither_read_nor_changed(store: Experiments) -> None:
    ada, bob = store.of("ada"), store.of("bob")
    experiment_id = ada.create(new_id(), new_experiment(_spec("x"))).id

    for call in (bob.get, bob.open):
        with pytest.raises(NotFound):
            call(experiment_id)

    assert ada.get(experiment_id) == store.get(experiment_id)
    assert ada.get(experiment_id).status is Status.QUEUED
