"""The command `gradflow`: every command is registered here."""

from typing import Annotated

import typer

from gradflow import __version__
from gradflow.cli.demo import demo
from gradflow.cli.diagnose import diagnose
from gradflow.cli.keys import keys
from gradflow.cli.list import list_experiments
from gradflow.cli.run import run
from gradflow.cli.serve import serve
from gradflow.cli.study import study
from gradflow.cli.theory import theory
from gradflow.cli.up import up
from gradflow.cli.upload import upload
from gradflow.cli.watch import watch

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(demo)
app.command()(up)
app.command()(serve)
app.add_typer(keys, name="keys")
app.command()(run)
app.command()(watch)
app.command("list")(list_experiments)
app.command()(diagnose)
app.command()(theory)
app.command()(study)
app.command()(upload)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"gradflow {__version__}")
        raise typer.Exit


@app.callback()
def gradflow(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train deep networks and find out where their gradients vanish or explode."""
