from pathlib import Path

import pytest

from service.local.data_directory import DataDirectory
from service.local.settings import LocalSettings
from service.local.worker import worker_environment
from service.store.settings import RedisSettings

SERVER = RedisSettings(url="unix:///data/valkey.sock", password=None)


def environment(inherited: dict[str, str], trainers: int | None = None) -> dict[str, str]:
    return worker_environment(inherited, SERVER, LocalSettings(), trainers, DataDirectory(Path("/data")))


def test_the_worker_connects_to_the_server_of_the_stack_without_the_password_of_another_server() -> None:
    inherited = {"GRADFLOW_REDIS_URL": "redis://elsewhere", "GRADFLOW_REDIS_PASSWORD": "secret", "PATH": "/bin"}

    passed_on = environment(inherited)

    assert passed_on["GRADFLOW_REDIS_URL"] == SERVER.url
    assert "GRADFLOW_REDIS_PASSWORD" not in passed_on
    assert passed_on["PATH"] == "/bin"


def test_without_settings_of_the_user_the_stack_has_defaults_of_its_own() -> None:
    passed_on = environment({}, trainers=3)

    assert passed_on["GRADFLOW_STOP_S"] == "3.0"
    assert passed_on["GRADFLOW_PROGRAM_CACHE"] == "/data/programs"
    assert passed_on["GRADFLOW_TRAINERS"] == "3"


def test_settings_of_the_user_take_precedence_over_the_defaults_of_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADFLOW_STOP_S", "30")
    monkeypatch.setenv("GRADFLOW_PROGRAM_CACHE", "/elsewhere/programs")

    passed_on = environment({"GRADFLOW_TRAINERS": "2"})

    assert passed_on["GRADFLOW_STOP_S"] == "30.0"
    assert passed_on["GRADFLOW_PROGRAM_CACHE"] == "/elsewhere/programs"
    assert passed_on["GRADFLOW_TRAINERS"] == "2"
