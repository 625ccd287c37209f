"""`gradflow demo`: the tutorial."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gradflow.cli.extras import require_extra, require_matplotlib
from gradflow.cli.files import is_writable
from gradflow.cli.options import DEFAULT_DATA_DIR, DEFAULT_PORT, DataDir, Port
from gradflow.cli.output import console, failure
from gradflow.client import Client
from gradflow.errors import GradflowError

RANDOM: dict[str, Any] = {"source": "random"}
BREAST_CANCER: dict[str, Any] = {"source": "breast_cancer", "scale": "standard"}
SPECS: dict[str, dict[str, Any]] = {
    "baseline, random labels": {"model": "baseline", "data": RANDOM},
    "improved, random labels": {"model": "improved", "data": RANDOM},
    "baseline, breast cancer": {"model": "baseline", "data": BREAST_CANCER, "training": {"epochs": 20}},
    "improved, breast cancer": {"model": "improved", "data": BREAST_CANCER, "training": {"epochs": 20}},
}


def demo(
    port: Port = DEFAULT_PORT,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    output: Annotated[Path, typer.Option(help="PNG file for the figure.")] = Path("gradflow-demo.png"),
) -> None:
    """Run the tutorial: train a network whose gradient vanishes and one whose gradient does not, in about a minute."""
    require_extra("local")
    require_matplotlib()
    from gradflow.cli.demo_stack import StackNotReady, running_stack

    if not is_writable(output):
        raise failure(f"{output} cannot be written; choose another file with --output")
    try:
        with running_stack(port, data_dir, console) as client:
            _train_and_explain(client, output)
    except (GradflowError, StackNotReady) as error:
        raise failure(str(error)) from error


def _train_and_explain(client: Client, output: Path) -> None:
    from gradflow.cli.demo_story import story
    from gradflow.cli.figures.gradients_figure import draw_gradients
    from gradflow.cli.terminal.gradient_table import gradient_table
    from gradflow.cli.terminal.outcome_line import outcome_line
    from gradflow.cli.terminal.progress_bars import follow_experiments

    console.print("\nTwo networks with eleven hidden layers: sigmoids, and ReLU with batch normalization:\n")
    ids = {name: client.submit({"name": name, "tags": ["demo"], **spec})["id"] for name, spec in SPECS.items()}
    experiments = follow_experiments(client, ids, console)
    for name, experiment in experiments.items():
        if experiment["status"] != "succeeded":
            raise failure(f"{name}: {outcome_line(experiment)}")
    gradients = {name: client.gradients(experiment_id) for name, experiment_id in ids.items()}
    console.print()
    for name, answer in gradients.items():
        console.print(gradient_table(f"{name}: gradient norm of each kernel", answer))
        console.print(f"  {outcome_line(experiments[name])}")
        console.print(f"  verdict: {client.diagnosis(ids[name])['verdict'].replace('_', ' ')}\n")
    for sentence in story(experiments, gradients):
        console.print(f"• {sentence}", soft_wrap=True)
    draw_gradients(gradients, output)
    console.print(f"\nfigure: {output.resolve()}", soft_wrap=True)
    console.print("experiments:")
    for name, experiment in experiments.items():
        console.print(f"  {name}: {client.url}{experiment['links']['self']}", soft_wrap=True)
