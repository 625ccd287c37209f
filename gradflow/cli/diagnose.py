"""`gradflow diagnose`."""

from typing import Annotated

import typer

from gradflow.cli.options import DEFAULT_URL, ExperimentId, Key, PackName, Url
from gradflow.cli.output import connected, console


def diagnose(
    experiment_id: ExperimentId,
    url: Url = DEFAULT_URL,
    key: Key = None,
    rules: Annotated[PackName, typer.Option(help="Rule pack.")] = "gradflow",
) -> None:
    """Show what is wrong with an experiment, the measured values behind it, and what to change; also while it runs."""
    from gradflow.cli.terminal.diagnosis_text import diagnosis_text

    with connected(url, key) as client:
        console.print(diagnosis_text(client.diagnosis(experiment_id, rules)))
