"""`gradflow serve` and `gradflow keys` as separate processes, over a real server."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from gradflow.client import ApiError, Client
from service.api.serving import Unprotected, settings_at
from service.store.keys import Keys
from service.store.settings import RedisSettings
from tests.support.served_process import serving

EVERYWHERE = "0.0.0.0"  # noqa: S104 - the subject of the tests


def _gradflow(
    *arguments: str, redis_url: str = "unix:///no/such/socket", **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "gradflow.cli", *arguments],
        env=os.environ | {"GRADFLOW_REDIS_URL": redis_url} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _list_for_seconds(client: Client, seconds: float) -> None:
    """List again and again: the API notices after a while that a key was removed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        list(client.list())


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.0.2.1", "no.such.host.invalid"])
def test_without_keys_a_reachable_address_is_refused(redis_settings: RedisSettings, host: str) -> None:
    done = _gradflow("serve", "--host", host, redis_url=redis_settings.url)

    assert done.returncode == 1
    assert done.stderr.startswith(f"gradflow: others can reach {host} and no API key is configured")
    assert "--insecure" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_redis_a_reachable_address_is_refused() -> None:
    done = _gradflow("serve", "--host", EVERYWHERE)

    assert done.returncode == 1
    assert "Redis does not answer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_key(client: redis.Redis, host: str) -> None:
    assert not settings_at(host, Keys(client), insecure=False).keys_required


def test_a_reachable_address_requires_keys_unless_insecure(client: redis.Redis) -> None:
    keys = Keys(client)
    assert not settings_at(EVERYWHERE, keys, insecure=True).keys_required
    with pytest.raises(Unprotected):
        settings_at(EVERYWHERE, keys, insecure=False)

    keys.add("ada")

    assert settings_at(EVERYWHERE, keys, insecure=False).keys_required


def test_a_reachable_api_requires_keys_even_after_the_last_one_is_removed(
    client: redis.Redis, redis_settings: RedisSettings
) -> None:
    keys = Keys(client)
    key = keys.add("ada")

    with (
        serving(redis_settings, "--host", EVERYWHERE) as server,
        Client(server.url, key) as ada,
        Client(server.url) as stranger,
    ):
        assert list(ada.list()) == []
        with pytest.raises(ApiError, match="401"):
            list(stranger.list())
        keys.remove("ada")
        with pytest.raises(ApiError, match="401"):
            _list_for_seconds(ada, 30)
        with pytest.raises(ApiError, match="401"):
            list(stranger.list())


@pytest.mark.usefixtures("client")
def test_insecure_serves_requests_without_a_key(redis_settings: RedisSettings) -> None:
    with serving(redis_settings, "--host", EVERYWHERE, "--insecure") as server, Client(server.url) as stranger:
        assert list(stranger.list()) == []


def test_keys_are_added_listed_used_and_removed_on_the_command_line(
    client: redis.Redis, redis_settings: RedisSettings
) -> None:
    made = _gradflow("keys", "add", "ada", redis_url=redis_settings.url)
    operator = _gradflow("keys", "add", "root", "--operator", "--redis-url", redis_settings.url)
    listed = _gradflow("keys", "list", redis_url=redis_settings.url)

    key = made.stdout.strip()
    assert re.fullmatch(r"gradflow_[\w-]{43}", key)
    assert re.search(r"^ ada +[0-9a-f]{8} +\d{4}-\d\d-\d\d \d\d:\d\d +own experiments *$", listed.stdout, re.MULTILINE)
    assert re.search(r"^ root .* all experiments *$", listed.stdout, re.MULTILINE)
    for secret in (key, operator.stdout.strip()):
        assert secret.removeprefix("gradflow_") not in listed.stdout + made.stderr + operator.stderr

    with serving(redis_settings) as server:
        assert _gradflow("list", "--url", server.url).stderr.startswith("gradflow: 401 Unauthorized")
        assert _gradflow("list", "--url", server.url, "--key", key).returncode == 0
        assert _gradflow("list", "--url", server.url, GRADFLOW_API_KEY=key).returncode == 0

    for name in ("ada", "root"):
        assert _gradflow("keys", "remove", name, redis_url=redis_settings.url).stdout.startswith("1 removed")
    assert not Keys(client).all().any_configured


@pytest.mark.usefixtures("client")
def test_errors_of_the_keys_command_are_one_line(redis_settings: RedisSettings, tmp_path: Path) -> None:
    for arguments, message in (
        (("add", "Not A Name"), "a name is"),
        (("remove", "nobody"), "nobody has no key"),
        (("list", "--data-dir", str(tmp_path)), "Redis does not answer"),
        (("list", "--redis-url", "nonsense"), "Redis URL"),
    ):
        done = _gradflow("keys", *arguments, redis_url=redis_settings.url)
        assert done.returncode == 1
        assert done.stderr.startswith("gradflow: ")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_client_waits_as_long_as_retry_after_says(client: redis.Redis, redis_settings: RedisSettings) -> None:
    key = Keys(client).add("ada")
    os.environ["GRADFLOW_API_REQUESTS_PER_S"], os.environ["GRADFLOW_API_REQUESTS_BURST"] = "2", "2"
    try:
        with serving(redis_settings) as server, Client(server.url, key) as ada:
            for _ in range(5):
                assert list(ada.list()) == []
    finally:
        del os.environ["GRADFLOW_API_REQUESTS_PER_S"], os.environ["GRADFLOW_API_REQUESTS_BURST"]
