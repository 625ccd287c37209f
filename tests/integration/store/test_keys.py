"""API keys on a real server: what is stored, and the limit of requests."""

import pytest
import redis

from service.contract.errors import NotFound, StoreUnavailable
from service.store.connection import connect
from service.store.keys import Key, Keys, matching
from service.store.settings import RedisSettings
from tests.support.clock import Clock


@pytest.fixture
def keys(client: redis.Redis) -> Keys:
    return Keys(client)


def _only(keys: Keys) -> Key:
    (key,) = keys.all().keys
    return key


def test_a_key_is_recognized_by_its_hash_and_is_not_stored(keys: Keys, client: redis.Redis) -> None:
    key = keys.add("ada")

    known = _only(keys)
    stored = client.hgetall("gradflow:keys")

    assert len(key) > 43  # 256 bits in base 64
    assert key.removeprefix("gradflow_") not in repr(stored)
    assert matching([known], key.encode()) == known
    assert known.holder.name == known.holder.tenant == "ada"


def test_a_key_with_one_wrong_character_is_unknown(keys: Keys) -> None:
    key = keys.add("ada")

    for other in (key[:-1], key + "x", key.upper(), "", _only(keys).digest.hex()):
        assert matching(keys.all().keys, other.encode()) is None


def test_a_name_may_have_several_keys_of_which_one_is_removed(keys: Keys) -> None:
    first = keys.add("ada")
    first_id = _only(keys).id
    second = keys.add("ada")
    keys.add("bob")

    assert keys.remove("ada", first_id) == 1

    assert matching(keys.all().keys, first.encode()) is None
    assert matching(keys.all().keys, second.encode()) is not None
    assert [key.holder.name for key in keys.all().keys] == ["ada", "bob"]
    assert keys.remove("ada") == 1
    with pytest.raises(NotFound, match="ada has no key"):
        keys.remove("ada")


def test_the_tenant_of_an_operator_is_everybody(keys: Keys) -> None:
    keys.add("root", operator=True)

    assert _only(keys).holder.tenant == ""


@pytest.mark.parametrize("name", ["", "a:b", "A", "-a", "a b", "a" * 61, "ä", "a\n"])
def test_a_name_that_could_be_part_of_another_redis_key_is_refused(keys: Keys, name: str) -> None:
    with pytest.raises(ValueError, match="a name is"):
        keys.add(name)

    assert not keys.all().any_configured


def test_a_bucket_allows_its_burst_and_then_returns_how_long_to_wait(keys: Keys) -> None:
    keys.add("ada")
    key = _only(keys)

    waits = [keys.wait_of(key, requests_per_s=0.5, burst=3) for _ in range(5)]

    assert waits[:3] == [0, 0, 0]
    assert all(1.5 < wait <= 2 for wait in waits[3:])  # refused requests cost nothing


def test_a_bucket_fills_with_time_up_to_its_burst(client: redis.Redis) -> None:
    clock = Clock()
    keys = Keys(client, clock)
    keys.add("ada")
    key = _only(keys)
    for _ in range(2):
        assert keys.wait_of(key, requests_per_s=20, burst=2) == 0

    clock.advance(0.06)  # one token of two
    assert keys.wait_of(key, requests_per_s=20, burst=2) == 0
    assert keys.wait_of(key, requests_per_s=20, burst=2) > 0

    clock.advance(0.3)  # time for six tokens
    assert sum(keys.wait_of(key, requests_per_s=20, burst=2) == 0 for _ in range(5)) == 2


def test_a_bucket_expires_when_it_is_full(keys: Keys, client: redis.Redis) -> None:
    keys.add("ada")
    keys.wait_of(_only(keys), requests_per_s=20, burst=2)

    (bucket,) = client.keys("gradflow:keys:*")
    assert 0 < client.pttl(bucket) <= 50  # milliseconds until it is full


def test_each_key_has_a_bucket_of_its_own(keys: Keys) -> None:
    keys.add("ada")
    keys.add("ada")
    one, other = keys.all().keys

    assert keys.wait_of(one, requests_per_s=0.1, burst=1) == 0
    assert keys.wait_of(one, requests_per_s=0.1, burst=1) > 0
    assert keys.wait_of(other, requests_per_s=0.1, burst=1) == 0


def test_a_full_server_still_counts_requests(keys: Keys, client: redis.Redis) -> None:
    keys.add("ada")
    key = _only(keys)
    client.config_set("maxmemory", 1)
    try:
        assert keys.wait_of(key, requests_per_s=1, burst=1) == 0
        assert keys.wait_of(key, requests_per_s=1, burst=1) > 0
    finally:
        client.config_set("maxmemory", 0)


def test_a_server_that_does_not_answer_raises_store_unavailable() -> None:
    with connect(RedisSettings(url="unix:///no/such/socket")) as away, pytest.raises(StoreUnavailable):
        Keys(away).all()
