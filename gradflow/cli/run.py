"""`gradflow run`."""

from typing import Annotated

import typer

from gradflow.cli.files import read_spec
from gradflow.cli.options import DEFAULT_URL, Key, Url
from gradflow.cli.output import connected, console
from gradflow.cli.watch import watch_experiment


def run(
    spec: Annotated[str, typer.Argument(help="A JSON file with a spec, or a preset: baseline, improved.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Submit an experiment, wait until it has ended, and show its gradient norms and its verdict."""
    body = read_spec(spec)
    with connected(url, key) as client:
        experiment = client.submit(body)
        console.print(f"queued {client.url}{experiment['links']['self']}", soft_wrap=True)
        for warning in experiment["warnings"]:
            console.print(f"warning: {warning}", style="yellow")
        watch_experiment(client, experiment["id"])
