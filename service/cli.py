"""The command line under its module name before 0.2.0, kept for one version; use `gradflow`."""

import typer

from gradflow.cli.app import app

if __name__ == "__main__":
    typer.echo("`python -m service.cli` is deprecated: use `gradflow` or `python -m gradflow.cli`", err=True)
    app()
