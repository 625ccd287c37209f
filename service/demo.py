"""The tutorial: two networks, two data sets, and in plain words what their gradients did."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from service import terminal
from service.analysis.profile import decades_lost
from service.client import GradflowClient, Json
from service.figure import draw

STARTS_WITHIN_S = 180
STOPS_WITHIN_S = 15

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
    url = f"http://127.0.0.1:{port}"
    with GradflowClient(url) as client, _stack(client, port, data_dir, console):
        console.print("\nEleven layers, once with sigmoids and once with ReLU and batch normalisation:\n")
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
            console.print(f"  {terminal.outcome_line(experiments[name])}\n")
        for sentence in what_was_seen(experiments, gradients):
            console.print(f"• {sentence}", soft_wrap=True)
        draw(gradients, output)
        console.print(f"\nThe picture of it: {output.resolve()}", soft_wrap=True)
        console.print(
            f"The experiments are kept in {data_dir.resolve()}: gradflow up, then gradflow list", soft_wrap=True
        )


def what_was_seen(experiments: dict[str, Json], gradients: dict[str, Json]) -> Iterator[str]:
    """The story that the measured numbers tell, a sentence at a time."""
    for name in ("baseline, random labels", "improved, random labels"):
        lost = _decades_at_start(gradients[name])
        model = name.partition(",")[0]
        if lost is None:
            yield f"{model}: a gradient norm at the start is 0 or not finite, so there are no decades to count."
        elif lost >= 1:
            yield (
                f"{model}: before the first update, the first hidden layer's gradient is 10^{lost:.1f} times smaller "
                f"than the last hidden layer's: {lost:.1f} decades lost. It has vanished on the way, and the layers "
                "next to the input hardly learn."
            )
        elif lost <= 0:
            yield (
                f"{model}: the gradient does not vanish. It grows towards the input, {10**-lost:.1f} times from the "
                "last hidden layer to the first: batch normalisation on ReLU makes gradients explode with depth, a "
                "little a layer (Yang et al. 2019, A Mean Field Theory of Batch Normalization)."
            )
        else:
            yield f"{model}: the gradient shrinks towards the input by {lost:.1f} decades, less than one: it arrives."
    yield (
        "On random labels there is nothing to learn: validation accuracy is "
        f"{_accuracy(experiments['baseline, random labels'])} for the baseline and "
        f"{_accuracy(experiments['improved, random labels'])} for the improved net, a coin toss for both."
    )
    baseline, improved = experiments["baseline, breast cancer"], experiments["improved, breast cancer"]
    better = (improved["outcome"]["val_accuracy"] or 0) - (baseline["outcome"]["val_accuracy"] or 0)
    verdict = "this is what the lost decades cost" if better > 0.05 else "this time the lost decades cost little"
    yield (
        f"On real data (breast cancer, 569 patients) accuracy means something: {_accuracy(baseline)} for the baseline, "
        f"{_accuracy(improved)} for the improved net after as many epochs; {verdict}."
    )


def _decades_at_start(gradients: Json) -> float | None:
    first, _ = terminal.columns_at_ends(gradients)
    return decades_lost([float("nan") if norm is None else norm for norm in first])


def _accuracy(experiment: Json) -> str:
    accuracy = experiment["outcome"]["val_accuracy"]
    return "not measured" if accuracy is None else f"{accuracy:.0%}"


@contextmanager
def _stack(client: GradflowClient, port: int, data_dir: Path, console: Console) -> Iterator[None]:
    """A stack for the demo: the one that answers already, or one that ends with it."""
    if client.ready():
        console.print(f"gradflow answers at {client.url}: using it")
        yield
        return
    command = [sys.executable, "-m", "service.cli", "up", "--port", str(port), "--data-dir", str(data_dir)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        with console.status("starting gradflow; the training processes import TensorFlow, about ten seconds …"):
            _wait_until_ready(client, process)
        console.print(f"gradflow is up at {client.url}")
        yield
    finally:
        process.terminate()
        process.wait(STOPS_WITHIN_S)


def _wait_until_ready(client: GradflowClient, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while not client.ready():
        if process.poll() is not None:
            raise DemoError(f"gradflow does not start: {process.communicate()[0].strip()}")
        if time.monotonic() > deadline:
            raise DemoError(f"gradflow was not ready within {STARTS_WITHIN_S} s; see worker.log in the data directory")
        time.sleep(0.2)
