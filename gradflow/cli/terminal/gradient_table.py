"""The gradient norm of each kernel at the first and the last step, as a table with bars."""

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gradflow.cli.terminal.printable_text import printable
from gradflow.client import Json

BAR_WIDTH = 28  # characters


def gradient_table(title: str, gradients: Json) -> RenderableType:
    """A row per kernel, and a line with the decades lost.

    Args:
        title: title of the table.
        gradients: answer of `GET /v1/experiments/{id}/gradients`.
    """
    first, last = norms_at_ends(gradients)
    scale = _Scale(first)
    table = Table(title=printable(title), title_justify="left", box=None, padding=(0, 1))
    table.add_column("layer")
    table.add_column("first step", justify="right")
    table.add_column("last step", justify="right")
    table.add_column(f"first step (one decade is {scale.characters_per_decade:.1f} × █)")
    for variable, at_first, at_last in zip(gradients["variables"], first, last, strict=True):
        bar = Text(scale.bar(at_first), style="cyan")
        table.add_row(printable(variable["layer"]), _norm(at_first), _norm(at_last), bar)
    return Group(table, Text(f"  {summary(first)}\n"))


def summary(norms: Sequence[float | None]) -> str:
    """The decades lost between the hidden layers and the slope of the profile, as a sentence.

    Args:
        norms: gradient norms [kernels] from input to output; None for a norm that is not finite.
    """
    from gradflow.profile import decades_lost, slope  # imports NumPy

    lost, per_layer = decades_lost(floats(norms)), slope(floats(norms))
    if lost is None:
        return "decades lost: unknown, because a norm is 0 or not finite"
    verb = "lost" if lost >= 0 else "gained"
    text = f"{abs(lost):.1f} decades {verb} between the last and the first hidden layer"
    return text if per_layer is None else f"{text}; slope {per_layer:+.2f} per layer (> 0: shrinks towards the input)"


def norms_at_ends(gradients: Json) -> tuple[list[float | None], list[float | None]]:
    """The norm of each variable at the first and at the last recorded step."""
    histories = gradients["values"]
    return [norms[0] if norms else None for norms in histories], [norms[-1] if norms else None for norms in histories]


def floats(norms: Sequence[float | None]) -> list[float]:
    """The norms with NaN instead of None."""
    return [math.nan if norm is None else norm for norm in norms]


def _norm(norm: float | None) -> str:
    return "not finite" if norm is None else f"{norm:.2e}"


class _Scale:
    """A logarithmic scale that contains all norms."""

    def __init__(self, norms: Sequence[float | None]) -> None:
        logarithms = [math.log10(norm) for norm in norms if norm]
        self._low = math.floor(min(logarithms, default=0))
        high = math.ceil(max(logarithms, default=1))
        self.characters_per_decade = BAR_WIDTH / max(1, high - self._low)

    def bar(self, norm: float | None) -> str:
        """At least one character; none if the norm has no logarithm."""
        if not norm:
            return ""
        return "█" * max(1, round((math.log10(norm) - self._low) * self.characters_per_decade))
