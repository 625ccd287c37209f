"""What `gradflow up` guarantees when the stack or one of its processes is stopped or killed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gradflow.client import Client
from service.local.data_directory import DataDirectory
from service.store.connection import connect
from tests.support.running_stack import RunningStack, alive, until_ended

SOME = {"model": {"kind": "improved", "depth": 4, "width": 32}, "training": {"epochs": 1_000}}
LONG = {"model": "baseline", "training": {"epochs": 20_000}}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that these tests stop, kill and start again, in the order of this file."""
    running = RunningStack(tmp_path_factory.mktemp("own"))
    running.start()
    running.wait_until_ready()
    yield running
    if running.process.poll() is None:
        running.end()


@pytest.fixture
def gradflow(own: RunningStack) -> Iterator[Client]:
    with Client(own.url) as client:
        yield client


def _until_running(gradflow: Client, experiment_id: str) -> None:
    for experiment in gradflow.watch(experiment_id):
        if experiment["status"] == "running" and experiment["progress"]["step"] > 0:
            return


def test_the_server_may_use_half_of_the_machines_memory_and_evicts_nothing(own: RunningStack) -> None:
    machine = 1024 * int(Path("/proc/meminfo").read_text().split()[1])
    with connect(DataDirectory(own.data_dir).redis_settings) as client:
        memory = client.info("memory")

    assert memory["maxmemory"] == pytest.approx(machine / 2, rel=0.01)
    assert memory["maxmemory_policy"] == "noeviction"


def test_a_second_stack_on_the_same_directory_is_refused_by_name(own: RunningStack) -> None:
    assert own.url in RunningStack(own.data_dir).refusal()


def test_a_taken_port_is_refused_by_number(own: RunningStack, tmp_path: Path) -> None:
    second = RunningStack(tmp_path)
    second.port = own.port

    output = second.refusal()

    assert str(own.port) in output
    assert "--port" in output


@pytest.fixture(scope="module")
def undisturbed(own: RunningStack) -> dict[str, Any]:
    """The history of SOME without a fault."""
    with Client(own.url) as gradflow:
        experiment_id = gradflow.wait(gradflow.submit(SOME)["id"])["id"]
        return history(gradflow, experiment_id)


def history(gradflow: Client, experiment_id: str) -> dict[str, Any]:
    return {"gradients": gradflow.gradients(experiment_id, role="all"), "metrics": gradflow.metrics(experiment_id)}


def test_a_killed_trainer_is_replaced_and_its_run_continues_to_the_same_bytes(
    own: RunningStack, gradflow: Client, undisturbed: dict[str, Any]
) -> None:
    experiment_id = gradflow.submit(SOME)["id"]
    _until_running(gradflow, experiment_id)
    trainers = [pid for pid, command in own.children().items() if "spawn_main" in command]

    for pid in trainers:
        os.kill(pid, signal.SIGKILL)
    ended = gradflow.wait(experiment_id)

    assert ended["status"] == "succeeded"
    assert ended["attempts"] == 2
    assert ended["timing"]["resume_s"] > 0
    assert history(gradflow, experiment_id) == undisturbed


def test_a_killed_server_is_started_again_on_its_data_and_a_run_continues_to_the_same_bytes(
    own: RunningStack, gradflow: Client, undisturbed: dict[str, Any]
) -> None:
    experiment_id = gradflow.submit(SOME)["id"]
    for _ in range(2):
        _until_running(gradflow, experiment_id)
        os.kill(own.child("valkey-server"), signal.SIGKILL)
        own.wait_until_ready()
    ended = gradflow.wait(experiment_id)

    assert ended["status"] == "succeeded"
    assert history(gradflow, experiment_id) == undisturbed


def test_server_and_worker_may_be_killed_together(own: RunningStack, gradflow: Client) -> None:
    killed = [pid for pid, command in own.children().items() if "valkey-server" in command or "worker.app" in command]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    own.wait_until_ready()

    assert gradflow.wait(gradflow.submit("baseline")["id"])["status"] == "succeeded"


def test_a_run_of_a_stopped_stack_continues_after_the_next_start(
    own: RunningStack, gradflow: Client, undisturbed: dict[str, Any]
) -> None:
    experiment_id = gradflow.submit(SOME)["id"]
    _until_running(gradflow, experiment_id)

    own.end()
    own.start()
    own.wait_until_ready()
    ended = gradflow.wait(experiment_id)

    assert ended["status"] == "succeeded"
    assert ended["timing"]["repeated_steps"] == 0  # the last chunk was written, with a checkpoint
    assert history(gradflow, experiment_id) == undisturbed


def test_a_killed_stack_can_be_started_again_and_its_run_is_queued_again(own: RunningStack, gradflow: Client) -> None:
    finished = gradflow.wait(gradflow.submit("baseline")["id"])
    history = gradflow.gradients(finished["id"], role="all")
    interrupted = gradflow.submit(LONG)["id"]
    waiting = gradflow.submit({"model": {"kind": "baseline", "depth": 1}})["id"]
    _until_running(gradflow, interrupted)
    workers = [pid for pid, command in own.children().items() if "worker.app" in command or "spawn_main" in command]

    own.end(signal.SIGKILL)
    until_ended(workers, within_s=10)
    own.start()
    own.wait_until_ready()
    _until_running(gradflow, interrupted)

    assert gradflow.gradients(finished["id"], role="all") == history
    assert gradflow.get(finished["id"]) == finished
    assert gradflow.get(interrupted)["attempts"] == 2
    gradflow.cancel(interrupted)
    assert gradflow.wait(interrupted)["status"] == "cancelled"
    assert gradflow.wait(waiting)["status"] == "succeeded"


def test_a_killed_worker_is_started_again_and_its_run_too(own: RunningStack, gradflow: Client) -> None:
    experiment_id = gradflow.submit(LONG)["id"]
    _until_running(gradflow, experiment_id)
    attempts = gradflow.get(experiment_id)["attempts"]

    os.kill(own.child("worker.app"), signal.SIGKILL)
    for experiment in gradflow.watch(experiment_id):
        if experiment["attempts"] > attempts and experiment["progress"]["step"] > 0:
            break

    assert experiment["status"] == "running"


def test_a_stack_that_starts_again_loads_the_programs_that_it_has_compiled(own: RunningStack, gradflow: Client) -> None:
    for experiment in gradflow.list(status="running"):
        gradflow.cancel(experiment["id"])
    spec = {"model": {"kind": "improved", "depth": 3, "width": 5}, "training": {"epochs": 101}}  # long enough for XLA
    first = gradflow.wait(gradflow.submit(spec)["id"])
    kept = sorted((own.data_dir / "programs").rglob("*.pb"))

    own.end()
    own.start()
    own.wait_until_ready()
    again = gradflow.wait(gradflow.submit(spec)["id"])

    assert kept
    assert sorted((own.data_dir / "programs").rglob("*.pb")) == kept
    assert gradflow.gradients(again["id"], role="all") == gradflow.gradients(first["id"], role="all")
    assert gradflow.metrics(again["id"]) == gradflow.metrics(first["id"])


def test_ctrl_c_ends_everything_within_ten_seconds_in_the_middle_of_a_run(own: RunningStack) -> None:
    children = own.children()
    assert any("valkey-server" in command for command in children.values())

    status, output, seconds = own.end(signal.SIGINT)

    assert status == 0
    assert seconds < 10
    assert own.url in output
    assert "stopped" in output
    assert "Traceback" not in output
    assert not any(alive(pid) for pid in children)
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{own.url}/livez")
