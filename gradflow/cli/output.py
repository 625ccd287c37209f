"""What commands print: results to standard output, errors as one line to standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from gradflow.client import Client
from gradflow.errors import GradflowError

# Names and messages come from the service and may contain brackets: they are not markup.
console = Console(highlight=False, markup=False)
errors = Console(stderr=True, highlight=False, markup=False)


def failure(message: str) -> typer.Exit:
    """Print an error; the exception to raise ends the command with exit status 1."""
    errors.print(f"gradflow: {message}", style="red", soft_wrap=True)
    return typer.Exit(1)


@contextmanager
def connected(url: str, key: str | None) -> Iterator[Client]:
    """A client of the service; its errors become one line instead of a traceback."""
    try:
        with Client(url, key) as client:
            yield client
    except GradflowError as error:
        raise failure(str(error)) from error
