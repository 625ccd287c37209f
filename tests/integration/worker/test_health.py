"""The health check of a worker's container."""

import socket

import pytest

from service.store.experiments import Experiments
from service.store.settings import RedisSettings
from worker import health


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch, redis_settings: RedisSettings) -> None:
    monkeypatch.setenv("GRADFLOW_REDIS_URL", redis_settings.url)


@pytest.mark.usefixtures("_environment")
def test_a_host_with_a_trainer_is_healthy(store: Experiments) -> None:
    store.announce_trainer(f"{socket.gethostname()}:1", 60)

    assert health.main() == 0


@pytest.mark.usefixtures("_environment", "store")
def test_a_host_without_a_trainer_is_not_healthy() -> None:
    assert health.main() == 1


@pytest.mark.usefixtures("_environment")
def test_the_trainers_of_other_hosts_do_not_count(store: Experiments) -> None:
    store.announce_trainer(f"not-{socket.gethostname()}:1", 60)
    store.announce_trainer(f"{socket.gethostname()}-2:1", 60)

    assert health.main() == 1


def test_without_redis_a_host_is_not_healthy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRADFLOW_REDIS_URL", "unix:///no/such/socket")

    assert health.main() == 1
    assert "Redis does not answer" in capsys.readouterr().err
