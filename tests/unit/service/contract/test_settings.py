"""One address, in the two spellings that are needed."""

import pytest

from service.contract.settings import RedisSettings


@pytest.mark.parametrize(
    ("url", "password", "broker"),
    [
        ("redis://127.0.0.1:6379/0", None, "redis://127.0.0.1:6379/0"),
        ("redis://redis:6379/0", "", "redis://redis:6379/0"),
        ("redis://redis:6379/0", "a b/@:", "redis://:a%20b%2F%40%3A@redis:6379/0"),
        ("redis://:own@redis:6379/0", "other", "redis://:own@redis:6379/0"),
        ("unix:///tmp/valkey.sock", None, "redis+socket:///tmp/valkey.sock"),
        ("unix:///tmp/valkey.sock", "p", "redis+socket://:p@/tmp/valkey.sock"),
    ],
)
def test_the_broker_is_the_same_server_as_kombu_spells_it(url: str, password: str | None, broker: str) -> None:
    assert RedisSettings(url=url, password=password).broker_url == broker
