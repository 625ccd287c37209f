"""`gradflow list`."""

from itertools import islice
from typing import Annotated

import typer

from gradflow.cli.options import DEFAULT_URL, Key, StatusName, Url
from gradflow.cli.output import connected, console


def list_experiments(
    url: Url = DEFAULT_URL,
    key: Key = None,
    status: Annotated[StatusName | None, typer.Option(help="Only experiments with this status.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only experiments with this tag.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Number of experiments.")] = 20,
) -> None:
    """List experiments, newest first."""
    from gradflow.cli.terminal.experiments_table import experiments_table

    with connected(url, key) as client:
        console.print(experiments_table(islice(client.list(status=status, tag=tag, limit=limit), limit)))
