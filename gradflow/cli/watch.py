"""`gradflow watch`."""

import typer

from gradflow.cli.options import DEFAULT_URL, ExperimentId, Key, Url
from gradflow.cli.output import connected, console
from gradflow.client import Client


def watch(experiment_id: ExperimentId, url: Url = DEFAULT_URL, key: Key = None) -> None:
    """Wait until an experiment has ended, and show its gradient norms and its verdict."""
    with connected(url, key) as client:
        watch_experiment(client, experiment_id)


def watch_experiment(client: Client, experiment_id: str) -> None:
    """Show progress until the experiment has ended, then its results.

    Raises:
        typer.Exit: with exit status 1 if the experiment did not succeed, or on Ctrl-C, which does not cancel it.
    """
    from gradflow.cli.terminal.diagnosis_text import verdict_line
    from gradflow.cli.terminal.gradient_table import gradient_table
    from gradflow.cli.terminal.outcome_line import outcome_line
    from gradflow.cli.terminal.progress_bars import follow_experiments

    try:
        experiment = follow_experiments(client, {experiment_id: experiment_id}, console)[experiment_id]
    except KeyboardInterrupt:
        command = f"gradflow watch {experiment_id} --url {client.url}"
        console.print(f"the experiment continues; watch it again with: {command}", soft_wrap=True)
        raise typer.Exit(1) from None
    gradients = client.gradients(experiment_id)
    recorded = bool(gradients["steps"])
    if recorded:
        console.print(gradient_table("gradient norm of each kernel", gradients))
    console.print(outcome_line(experiment))
    if recorded:
        console.print(verdict_line(client.diagnosis(experiment_id)))
        console.print(f"  for details: gradflow diagnose {experiment_id}", soft_wrap=True)
    if experiment["status"] != "succeeded":
        raise typer.Exit(1)
