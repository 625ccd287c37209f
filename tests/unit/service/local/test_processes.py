"""A process is known by its id and its start time, so that no other process is ended in its place."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from service.local import processes
from service.local.processes import Process

IDLE = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
DEAF = [sys.executable, "-c", "import signal, sys; signal.signal(15, signal.SIG_IGN); print(flush=True); input()"]


def started(command: list[str]) -> "subprocess.Popen[bytes]":
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    return child


@pytest.fixture(params=[IDLE])
def child(request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[bytes]"]:
    with started(request.param) as child:
        yield child
        child.kill()


def identity(child: "subprocess.Popen[bytes]") -> Process:
    found = Process.running(child.pid)
    assert found is not None
    return found


def test_a_process_is_itself_as_long_as_it_runs(child: "subprocess.Popen[bytes]") -> None:
    process = identity(child)
    assert process == Process.running(child.pid)

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert Process.running(child.pid) is None  # although its parent has not read its status yet


def test_another_process_with_the_same_id_is_not_the_same(child: "subprocess.Popen[bytes]") -> None:
    assert not replace(identity(child), started="earlier").is_running


def test_a_process_is_remembered_in_a_file_while_it_runs(child: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    path = tmp_path / "process.json"
    processes.write(path, identity(child))
    assert processes.read(path) == identity(child)

    processes.write(path, replace(identity(child), started="earlier"))
    assert processes.read(path) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"pid": 1}', '{"pid": "x", "started": 1}'])
def test_a_damaged_file_remembers_no_process(tmp_path: Path, text: str) -> None:
    path = tmp_path / "process.json"
    path.write_text(text)

    assert processes.read(path) is None


@pytest.mark.parametrize("child", [IDLE, DEAF], indirect=True)
def test_a_process_ends_even_if_it_is_suspended_or_ignores_the_signal(child: "subprocess.Popen[bytes]") -> None:
    os.kill(child.pid, signal.SIGSTOP)

    assert identity(child).end(within_s=1.0)
    assert child.wait() in (-signal.SIGTERM, -signal.SIGKILL)


def test_the_listener_of_a_socket_is_known_even_if_it_does_not_answer(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    assert processes.listener_of(path) is None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        assert processes.listener_of(path) == Process.running(os.getpid())

    assert processes.listener_of(path) is None
