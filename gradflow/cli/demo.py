"""The tutorial: two networks, two data sets, and in plain words what their gradients did."""

import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from gradflow.cli import terminal
from gradflow.cli.gradients_figure import draw
from gradflow.client import Client, Json
from gradflow.profile import decades_lost, slope

HOST = "127.0.0.1"
STARTS_WITHIN_S = 180
STOPS_WITHIN_S = 15
VANISHED_DECADES = 3  # a layer that gets a thousandth of the gradient hardly moves beside one that gets it all
BENIGN_SHARE = 357 / 569  # the larger class of the breast cancer data as scikit-learn describes it

RANDOM: dict[str, Any] = {"source": "random"}
REAL: dict[str, Any] = {"source": "breast_cancer", "scale": "standard"}
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "baseline, random labels": {"model": "baseline", "data": RANDOM},
    "improved, random labels": {"model": "improved", "data": RANDOM},
    "baseline, breast cancer": {"model": "baseline", "data": REAL, "training": {"epochs": 20}},
    "improved, breast cancer": {"model": "improved", "data": REAL, "training": {"epochs": 20}},
}


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


def run_demo(port: int, data_dir: Path, output: Path, console: Console) -> None:
    """Train the tutorial's networks over HTTP and show what happened.

    Raises:
        DemoError: the stack does not start, or a run does not succeed.
    """
    if output.is_dir() or not os.access(output.parent, os.W_OK):
        raise DemoError(f"{output} cannot be written; give another file with --output")
    with _stack(port, data_dir, console) as client:
        console.print("\nEleven layers, once with sigmoids and once with ReLU and batch normalization:\n")
        ids = {
            name: client.submit({"name": name, "tags": ["demo"], **spec})["id"] for name, spec in EXPERIMENTS.items()
        }
        experiments = terminal.follow(client, ids, console)
        for name, experiment in experiments.items():
            if experiment["status"] != "succeeded":
                raise DemoError(f"{name}: {terminal.outcome_line(experiment)}")
        gradients = {name: client.gradients(experiment_id) for name, experiment_id in ids.items()}
        console.print()
        for name, answer in gradients.items():
            console.print(terminal.gradient_table(f"{name}: gradient norm of each kernel", answer))
            console.print(f"  {terminal.outcome_line(experiments[name])}")
            console.print(f"  verdict: {client.diagnosis(ids[name])['verdict'].replace('_', ' ')}\n")
        for sentence in what_was_seen(experiments, gradients):
            console.print(f"• {sentence}", soft_wrap=True)
        draw(gradients, output)
        console.print(f"\nThe picture of it: {output.resolve()}", soft_wrap=True)
        console.print("The experiments:")
        for name, experiment in experiments.items():
            console.print(f"  {name}: {client.url}{experiment['links']['self']}", soft_wrap=True)


def what_was_seen(experiments: dict[str, Json], gradients: dict[str, Json]) -> Iterator[str]:
    """The story that the measured numbers tell, a sentence at a time."""
    for name in ("baseline, random labels", "improved, random labels"):
        yield f"{name.partition(',')[0]}: {_fate_of_the_gradient(experiments[name], gradients[name])}"
    on_random = [experiments[f"{model}, random labels"] for model in ("baseline", "improved")]
    data, training = on_random[0]["spec"]["data"], on_random[0]["spec"]["training"]
    tosses = data["samples"] - int(data["samples"] * (1 - training["validation_split"]))
    reach = 3 * 0.5 / math.sqrt(tosses)  # three standard deviations of the share of heads
    fair = all(abs((experiment["outcome"]["val_accuracy"] or 0) - 0.5) <= reach for experiment in on_random)
    yield (
        "On random labels there is nothing to learn: validation accuracy is "
        f"{_accuracy(on_random[0])} for the baseline and {_accuracy(on_random[1])} for the improved net, "
        + ("a coin toss for both" if fair else "further from 50% than a coin would be")
        + f" ({tosses} tosses give 50% ± {reach:.0%}). It says nothing about either."
    )
    baseline, improved = experiments["baseline, breast cancer"], experiments["improved, breast cancer"]
    stuck = abs((baseline["outcome"]["val_accuracy"] or 0) - BENIGN_SHARE) < 0.05
    better = (improved["outcome"]["val_accuracy"] or 0) - (baseline["outcome"]["val_accuracy"] or 0)
    yield (
        f"On real data (breast cancer, 569 patients) accuracy means something: {_accuracy(baseline)} for the baseline, "
        f"{_accuracy(improved)} for the improved net after as many epochs; "
        + (f"the baseline does as well as always saying “benign” ({BENIGN_SHARE:.0%}), and " if stuck else "")
        + ("this is what the lost decades cost." if better > 0.05 else "this time the lost decades cost little.")
    )


def _fate_of_the_gradient(experiment: Json, gradients: Json) -> str:
    """What became of the gradient between the last hidden layer and the first, before the first update."""
    first, _ = terminal.columns_at_ends(gradients)
    norms = terminal.floats(first)
    lost, per_layer = decades_lost(norms), slope(norms)
    if lost is None:
        return "a gradient norm at the start is 0 or not finite, so there are no decades to count."
    a_layer = "" if per_layer is None else f", {abs(per_layer):.2f} a layer"
    if lost >= VANISHED_DECADES:
        return (
            f"before the first update, the first hidden layer's gradient is 10^{lost:.1f} times smaller than the last "
            f"hidden layer's: {lost:.1f} decades lost{a_layer}. It has vanished on the way, and the layers next to the "
            "input hardly learn."
        )
    if lost > 0:
        return f"the gradient shrinks towards the input by {lost:.1f} decades{a_layer}, and arrives."
    explodes = (
        ": batch normalization on ReLU makes gradients explode with depth, a little a layer (Yang et al. 2019, A Mean "
        "Field Theory of Batch Normalization)"
    )
    return (
        f"the gradient does not vanish. It grows towards the input, {10**-lost:.1f} times from the last hidden layer "
        f"to the first ({-lost:.1f} decades{a_layer})"
        + (explodes if experiment["spec"]["model"]["kind"] == "improved" else "")
        + "."
    )


def _accuracy(experiment: Json) -> str:
    accuracy = experiment["outcome"]["val_accuracy"]
    return "not measured" if accuracy is None else f"{accuracy:.0%}"


@contextmanager
def _stack(port: int, data_dir: Path, console: Console) -> Iterator[Client]:
    """A client of the stack that answers already, or of one that ends with the demo."""
    with Client(f"http://{HOST}:{port}") as client:
        if client.trainers() is not None:
            console.print(f"gradflow answers at {client.url}: using it")
            _wait_until_ready(client, None, console)
            yield client
            return
    if not _free(port):
        console.print(f"port {port} is taken by something that is not gradflow: choosing another")
        port = _free_port()
    command = [sys.executable, "-m", "gradflow.cli", "up", "--port", str(port), "--data-dir", str(data_dir)]
    # In a session of its own Ctrl-C does not reach it, and it ends in its turn: below, also where the demo is ended.
    before = signal.signal(signal.SIGTERM, _end)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        with Client(f"http://{HOST}:{port}") as client:
            _wait_until_ready(client, process, console)
            console.print(f"gradflow is up at {client.url}")
            yield client
        restart = f"gradflow up --port {port} --data-dir {data_dir}"
        console.print(f"They are kept, and answer there again after: {restart}", soft_wrap=True)
    finally:
        process.terminate()
        try:
            process.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
        signal.signal(signal.SIGTERM, before)


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the stack will bind it
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(client: Client, process: "subprocess.Popen[str] | None", console: Console) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    with console.status("waiting for gradflow: its training processes import TensorFlow, about ten seconds …"):
        while not client.ready():
            if process is not None and process.poll() is not None:
                raise DemoError(f"gradflow does not start: {process.communicate()[0].strip()}")
            if time.monotonic() > deadline:
                raise DemoError(
                    f"gradflow was not ready within {STARTS_WITHIN_S} s; see worker.log in its data directory"
                )
            time.sleep(0.2)
