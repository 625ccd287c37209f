"""One address, in the two spellings that are needed."""

from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.store.settings import RedisSettings


@pytest.mark.parametrize(
    ("url", "password", "broker"),
    [
        ("redis://127.0.0.1:6379/0", None, "redis://127.0.0.1:6379/0"),
        ("redis://redis:6379/0", "", "redis://redis:6379/0"),
        ("redis://redis:6379/0", "a b/@:", "redis://:a%20b%2F%40%3A@redis:6379/0"),
        ("redis://:own@redis:6379/0", "other", "redis://:own@redis:6379/0"),
        ("unix:///tmp/valkey.sock", None, "redis+socket:///tmp/valkey.sock"),
        ("rediss://:own@redis:6379/2", None, "rediss://:own@redis:6379/2"),
        ("rediss://redis:6379/2", "p", "rediss://:p@redis:6379/2"),
        ("unix:///tmp/valkey.sock", "p", "redis+socket://:p@/tmp/valkey.sock"),
        ("unix://:own@/tmp/valkey.sock", None, "redis+socket://:own@/tmp/valkey.sock"),
        ("unix://:own@/tmp/valkey.sock", "other", "redis+socket://:own@/tmp/valkey.sock"),
        ("unix://:a%2Fb@/tmp/valkey.sock", None, "redis+socket://:a%2Fb@/tmp/valkey.sock"),
    ],
)
def test_the_broker_is_the_same_server_as_kombu_spells_it(url: str, password: str | None, broker: str) -> None:
    assert RedisSettings(url=url, password=password).broker_url == broker


@given(
    password=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    url=st.sampled_from(["redis://redis:6379/0", "unix:///tmp/valkey.sock"]),
    inside=st.booleans(),
)
def test_any_password_is_preserved_in_both_forms(password: str, url: str, inside: bool) -> None:
    given_url = url.replace("://", f"://:{quote(password, safe='')}@") if inside else url
    settings = RedisSettings(url=given_url, password=None if inside else password)

    broker = urlsplit(settings.broker_url)

    assert unquote(broker.password or "") == password
    assert broker.path == urlsplit(url).path


def test_both_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADFLOW_REDIS_URL", "redis://redis:6379/0")
    monkeypatch.setenv("GRADFLOW_REDIS_PASSWORD", "p")

    assert RedisSettings().broker_url == "redis://:p@redis:6379/0"
