"""`gradflow up` where it cannot start; tests/integration/local runs it."""

import socket
from pathlib import Path

from tests.support.command_line import gradflow


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        done = gradflow("up", "--port", str(port), "--data-dir", str(tmp_path))

    assert done.returncode == 1
    assert done.stderr.startswith(f"gradflow: port {port} of 127.0.0.1 is taken")
    assert len(done.stderr.splitlines()) == 1
