"""`gradflow up` on unusual data directories, and after it was killed together with a hanging server."""

import os
import signal
from pathlib import Path

from gradflow.client import Client
from tests.support.running_stack import RunningStack, alive

LONG_ENOUGH_FOR_XLA = {"model": {"kind": "baseline", "depth": 1, "width": 2}, "training": {"epochs": 101}}


def test_a_stack_trains_in_a_directory_with_an_unusual_name_and_every_file_is_private(tmp_path: Path) -> None:
    data = tmp_path / """ [/bold] it's "100%" #1? über\\all """
    stack = RunningStack(data)
    stack.start()
    try:
        stack.wait_until_ready()
        with Client(stack.url) as gradflow:
            assert gradflow.wait(gradflow.submit(LONG_ENOUGH_FOR_XLA)["id"])["status"] == "succeeded"
        found = [data, *data.rglob("*")]
        programs = list((data / "programs").rglob("*.pb"))
        readable = [path for path in found if path.lstat().st_mode & 0o077]
    finally:
        status, output, _ = stack.end()

    assert status == 0
    assert output.count(str(data)) == 2
    assert programs
    assert readable == []


def test_a_file_is_refused_as_data_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    assert f"{file} is a file" in RunningStack(file).refusal()


def test_a_setting_that_is_no_number_is_refused_by_name(tmp_path: Path) -> None:
    output = RunningStack(tmp_path, environment={"GRADFLOW_STOP_S": "soon"}).refusal()

    assert "stop_s: Input should be a valid number" in output


def test_a_killed_stack_with_a_suspended_server_starts_again_with_its_data(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path)
    stack.start()
    stack.wait_until_answering()
    with Client(stack.url) as gradflow:
        experiment_id = gradflow.submit("baseline")["id"]
    server = stack.child("valkey-server")

    os.kill(server, signal.SIGSTOP)
    stack.end(signal.SIGKILL)
    stack.start()
    stack.wait_until_answering()

    assert not alive(server)
    with Client(stack.url) as gradflow:
        assert gradflow.get(experiment_id)["id"] == experiment_id
    stack.end()
