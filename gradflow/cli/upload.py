"""`gradflow upload`."""

from pathlib import Path
from typing import Annotated

import typer

from gradflow.cli.options import DEFAULT_URL, Key, TaskName, Url
from gradflow.cli.output import connected, console


def upload(
    file: Annotated[
        Path, typer.Argument(help="A .csv file with a header, an .npz file with x and y, or a .parquet file.")
    ],
    url: Url = DEFAULT_URL,
    key: Key = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set, for people.")] = None,
    label: Annotated[str | None, typer.Option(help="Column with the labels; the last column if omitted.")] = None,
    task: Annotated[TaskName | None, typer.Option(help="Task; derived from the labels if omitted.")] = None,
) -> None:
    """Upload a data set and print the `data` of a spec that uses it."""
    from gradflow.cli.terminal.dataset_line import dataset_line

    with connected(url, key) as client:
        try:
            dataset = client.upload(file, name=name, label=label, task=task)
        except OSError as error:
            raise typer.BadParameter(f"{file}: {error.strerror}") from error
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        console.print(dataset_line(dataset), soft_wrap=True)
