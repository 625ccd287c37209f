"""`gradflow theory`."""

import re
from pathlib import Path
from typing import Annotated

import typer

from gradflow.cli.extras import require_matplotlib
from gradflow.cli.files import read_spec, require_writable
from gradflow.cli.options import DEFAULT_URL, Key, Url
from gradflow.cli.output import connected, console

EXPERIMENT_ID = re.compile("[0-9a-f]{24}")


def theory(
    experiment: Annotated[str, typer.Argument(help="Id of an experiment, a JSON file with a spec, or a preset.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    png: Annotated[Path | None, typer.Option(help="Also draw the profiles in this PNG file.")] = None,
) -> None:
    """Show the gradient norms that theory predicts at step 0, next to the measured ones of an experiment."""
    from gradflow.cli.terminal.theory_table import theory_table

    if png is not None:
        require_matplotlib()
        require_writable(png, "--png")
    spec = None if EXPERIMENT_ID.fullmatch(experiment) else read_spec(experiment)
    with connected(url, key) as client:
        answer = client.theory(experiment) if spec is None else client.predict(spec)
        console.print(theory_table(f"{experiment}: gradient norm of each kernel at step 0", answer))
    if png is not None:
        from gradflow.cli.figures.theory_figure import draw_theory

        draw_theory({experiment: [answer]}, png)
        console.print(f"\nfigure: {png.resolve()}", soft_wrap=True)
