"""The command line where no stack is needed: what it refuses, and what others may have named their runs."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.support.running_stack import alive, free_port

ROOT = Path(__file__).parents[4]
NAME = "[/b] of somebody"
ENDED = "fedcba9876543210fedcba98"
RUNNING: dict[str, Any] = {
    "id": "0123456789abcdef01234567",
    "name": NAME,
    "status": "running",
    "error": None,
    "progress": {"step": 5, "total_steps": 25},
    "spec": {"model": {"kind": "baseline", "depth": 11, "width": 64}, "data": {"source": "random"}},
    "outcome": dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy", "diverged_at_step")),
}
ANSWERS: dict[str, dict[str, Any]] = {
    "/v1/experiments": {"experiments": [RUNNING], "next_cursor": None},
    "/v1/experiments/endless": RUNNING,
    "/v1/experiments/failed": RUNNING | {"status": "failed", "error": "[/x] broke"},
    "/v1/experiments/failed/gradients": {"variables": [], "steps": [], "values": []},
    f"/v1/experiments/{ENDED}": RUNNING | {"status": "succeeded"},
    f"/v1/experiments/{ENDED}/gradients": {"variables": [{"layer": "end"}], "steps": [0], "values": [[1.0]]},
    f"/v1/experiments/{ENDED}/diagnosis": {
        "verdict": "dead_units",
        "rules": "gradflow",
        "findings": [
            {
                "symptom": "dead_units",
                "severity": "warning",
                "layers": ["[/b]"],
                "steps": [0, 4],
                "rule": "r",
                "confidence": 0.5,
                "explanation": "[/x] is 0",
                "remedies": [],
            }
        ],
        "not_evaluated": [],
    },
    f"/v1/experiments/{ENDED}/theory": {
        "form": "a_priori",
        "slope": None,
        "level": None,
        "layers": [{"layer": "[/b]", "depth": 0, "role": "kernel", "log10_norm": -3.0, "spread": 0.5}],
        "phase": None,
        "caveats": ["[/x] is loose"],
    },
    "/v1/studies/0123456789abcdef01234567": {
        "status": "running",
        "counts": {"queued": 3, "running": 1, "succeeded": 0, "failed": 0, "cancelled": 0},
        "table": [],
    },
    "/readyz": {"status": "another program's"},
}


class _Handler(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        answer = ANSWERS.get(path, {"title": "Not Found", "detail": f"no [/{path}]"})
        self._send(200 if path in ANSWERS else 404, answer)
        self.asked.append(path)

    def do_POST(self) -> None:
        """Refuse, with the field's name in brackets."""
        self.rfile.read(int(self.headers["content-length"]))
        self._send(422, {"title": "Unprocessable Entity", "detail": "body.[/x]: Extra inputs are not permitted"})

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _gradflow(*arguments: str, url: str = "http://127.0.0.1:1") -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"GRADFLOW_URL": url, "COLUMNS": "120"}
    command = [sys.executable, "-m", "gradflow.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_a_list_shows_names_that_look_like_markup(url: str) -> None:
    done = _gradflow("list", url=url)

    assert (done.returncode, done.stderr) == (0, "")
    assert NAME in done.stdout


@pytest.mark.parametrize(
    "arguments", [["watch", "nix"], ["run", "baseline"], ["diagnose", "nix"], ["theory", "baseline"]]
)
def test_a_refusal_is_one_line_as_the_service_wrote_it(url: str, arguments: list[str]) -> None:
    done = _gradflow(*arguments, url=url)

    assert done.returncode == 1
    assert done.stderr.startswith("gradflow: 4")
    assert "[/" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_run_that_failed_says_why_and_is_status_1(url: str) -> None:
    done = _gradflow("watch", "failed", url=url)

    assert done.returncode == 1
    assert "failed: [/x] broke" in done.stdout
    assert done.stderr == ""


def test_a_run_that_has_ended_ends_with_its_verdict(url: str) -> None:
    done = _gradflow("watch", ENDED, url=url)

    assert (done.returncode, done.stderr) == (0, "")
    assert "verdict: dead units. [/x] is 0" in done.stdout
    assert f"gradflow diagnose {ENDED}" in done.stdout


def test_a_diagnosis_shows_layers_and_words_that_look_like_markup(url: str) -> None:
    done = _gradflow("diagnose", ENDED, "--rules", "sagemaker", url=url)

    assert (done.returncode, done.stderr) == (0, "")
    assert "dead units (warning)  [/b], steps 0 to 4" in done.stdout
    assert "[/x] is 0" in done.stdout


def test_theory_is_shown_and_drawn(url: str, tmp_path: Path) -> None:
    picture = tmp_path / "theory.png"

    done = _gradflow("theory", ENDED, "--png", str(picture), url=url)

    assert (done.returncode, done.stderr) == (0, "")
    assert "[/b]" in done.stdout
    assert "10^-3.00 ± 0.50" in done.stdout
    assert "but: [/x] is loose" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_theory_of_what_is_neither_an_id_nor_a_spec_asks_nobody(url: str, tmp_path: Path) -> None:
    _Handler.asked.clear()
    for arguments in (["nix"], [ENDED, "--png", str(tmp_path)], [ENDED, "--png", str(tmp_path / "missing" / "a.png")]):
        assert _gradflow("theory", *arguments, url=url).returncode == 2
    assert _gradflow("diagnose", ENDED, "--rules", "mine", url=url).returncode == 2
    assert _Handler.asked == []


@pytest.mark.parametrize("address", ["localhost:8000", "http://[::1", "ftp://127.0.0.1"])
def test_what_is_no_address_is_one_line(address: str) -> None:
    done = _gradflow("list", "--url", address)

    assert done.returncode == 1
    assert done.stderr.startswith(f"gradflow: '{address}' is no address")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [b'{"model": NaN}', b'{"model": 1e999}', b'{"name": "\\ud800"}', b'{"name": "\xff"}', b"[" * 100_000, b"[]", b"{"],
    ids=["NaN", "beyond a float", "half a surrogate", "not UTF-8", "too deep", "a list", "half"],
)
def test_a_file_that_holds_no_spec_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    spec = tmp_path / "spec.json"
    spec.write_bytes(content)

    done = _gradflow("run", str(spec))

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["list", "--status", "bogus"], ["list", "--limit", "0"], ["up", "--port", "0"]])
def test_options_out_of_range_are_usage_errors(arguments: list[str]) -> None:
    assert _gradflow(*arguments).returncode == 2


@pytest.mark.parametrize(
    ("command", "goes_on"), [("watch endless", "run"), ("study 0123456789abcdef01234567", "study")]
)
def test_ctrl_c_leaves_what_runs_going_and_says_how_to_come_back(url: str, command: str, goes_on: str) -> None:
    _Handler.asked.clear()
    process = subprocess.Popen(
        [sys.executable, "-m", "gradflow.cli", *command.split(), "--url", url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background inherits it ignored
    )
    deadline = time.monotonic() + 30
    while len(_Handler.asked) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert f"the {goes_on} goes on; come back with: gradflow {command} --url {url}" in output
    assert errors == ""


def test_a_table_that_could_not_be_written_is_refused_before_anything_is_posted(url: str, tmp_path: Path) -> None:
    _Handler.asked.clear()
    for csv in (tmp_path, tmp_path / "missing" / "table.csv"):
        done = _gradflow("study", "0123456789abcdef01234567", "--csv", str(csv), url=url)

        assert done.returncode == 2
        assert "cannot be written" in " ".join(done.stderr.replace("│", " ").split())
    assert _Handler.asked == []


def test_the_demo_refuses_a_picture_that_it_could_not_write_before_it_trains(url: str, tmp_path: Path) -> None:
    port = url.rpartition(":")[2]
    for output in (tmp_path, tmp_path / "missing" / "demo.png"):
        done = _gradflow("demo", "--port", port, "--output", str(output), "--data-dir", str(tmp_path / "data"))

        assert done.returncode == 1
        assert done.stderr.startswith("gradflow: ")
        assert "cannot be written" in done.stderr
        assert not (tmp_path / "data").exists()


def test_the_demo_takes_another_port_where_something_else_listens(url: str, tmp_path: Path) -> None:
    port = url.rpartition(":")[2]
    in_the_way = tmp_path / "data"
    in_the_way.touch()  # so that its stack ends before it trains: the port is what is looked at here

    done = _gradflow("demo", "--port", port, "--output", str(tmp_path / "d.png"), "--data-dir", str(in_the_way))

    assert f"port {port} is taken by something that is not gradflow: choosing another" in done.stdout
    assert done.returncode == 1
    assert done.stderr.startswith("gradflow: gradflow does not start")


def test_a_demo_that_is_ended_leaves_no_stack_behind(tmp_path: Path) -> None:
    lock = tmp_path / "data" / "lock"
    command = [sys.executable, "-m", "gradflow.cli", "demo", "--port", str(free_port()), "--data-dir", str(lock.parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    deadline = time.monotonic() + 60
    while not (lock.exists() and lock.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    stack = json.loads(lock.read_text())["pid"]

    process.terminate()
    process.communicate(timeout=60)

    assert process.returncode == 128 + signal.SIGTERM
    assert not alive(stack)


def test_a_list_loads_neither_numpy_nor_matplotlib(url: str) -> None:
    program = (
        "import sys; from gradflow.cli.app import app; app(['list'], standalone_mode=False);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    environment = os.environ | {"GRADFLOW_URL": url}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)

    loaded = done.stdout.splitlines()[-1].split()
    assert "httpx2" in loaded
    assert not {"numpy", "matplotlib", "uvicorn", "fastapi", "redis", "celery"} & set(loaded)
