"""Predicted and measured gradient norms on one axis of decades."""

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gradflow.cli.terminal.printable_text import printable
from gradflow.client import Json

WIDTH = 34  # characters of the axis
BAND, PREDICTED, MEASURED = "─", "┼", "●"
FORMS = {
    "conditional": "from the samples and errors of the first batch of the run",
    "a_priori": "from the spec alone",
}


def theory_table(title: str, theory: Json) -> RenderableType:
    """A row per kernel with its predicted and, if there is one, its measured norm; then slope, level, phase, caveats.

    Args:
        title: title of the table.
        theory: answer of `GET /v1/experiments/{id}/theory` or `POST /v1/theory`.
    """
    kernels = [layer for layer in theory["layers"] if layer["role"] == "kernel"]
    axis = _Axis(kernels)
    measured = any(kernel.get("measured_log10_norm") is not None for kernel in kernels)
    table = Table(title=printable(title), title_justify="left", box=None, padding=(0, 1))
    table.add_column("layer", no_wrap=True)
    for heading in ("predicted", "measured") if measured else ("predicted",):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(axis.ends, no_wrap=True)
    for kernel in kernels:
        norms = [f"10^{kernel['log10_norm']:.2f} ± {kernel['spread']:.2f}"]
        if measured:
            log10_norm = kernel["measured_log10_norm"]
            norms.append("not finite or 0" if log10_norm is None else f"10^{log10_norm:.2f}")
        table.add_row(printable(kernel["layer"]), *norms, axis.line(kernel))
    legend = f"{PREDICTED} predicted, {BAND} ± standard deviation" + (f", {MEASURED} measured" if measured else "")
    return Group(table, *(Text(f"  {line}") for line in (legend, *_lines(theory))))


def _lines(theory: Json) -> list[str]:
    lines = [f"predicted {FORMS[theory['form']]}"]
    for name, unit in (("slope", "decades lost per layer"), ("level", "mean of log10")):
        if theory[name] is not None:
            measured = theory.get(f"measured_{name}")
            comparison = "" if measured is None else f", measured {measured:+.2f}"
            lines.append(f"{name} {theory[name]:+.2f}{comparison} ({unit})")
    if (phase := theory["phase"]) is not None:
        values = [f"{name} {value:.4g}" for name, value in phase.items() if isinstance(value, float)]
        lines.append(f"phase: {phase['name']}" + (f" ({', '.join(values)})" if values else ""))
    return [*lines, *(f"caveat: {caveat}" for caveat in theory["caveats"])]


class _Axis:
    """An axis of decades from left to right that contains every mark."""

    def __init__(self, layers: Sequence[Json]) -> None:
        marks = [layer["log10_norm"] + side * layer["spread"] for layer in layers for side in (-1, 1)]
        marks += [measured for layer in layers if (measured := layer.get("measured_log10_norm")) is not None]
        self._low, self._high = math.floor(min(marks, default=0)), math.ceil(max(marks, default=0))
        self._high = max(self._high, self._low + 1)

    @property
    def ends(self) -> str:
        """The norms at both ends."""
        return f"10^{self._low} … 10^{self._high}"

    def line(self, layer: Json) -> Text:
        """The marks of a layer."""
        center, spread, measured = layer["log10_norm"], layer["spread"], layer.get("measured_log10_norm")
        first, last = self._column(center - spread), self._column(center + spread)
        cells = [BAND if first <= column <= last else " " for column in range(WIDTH)]
        cells[self._column(center)] = PREDICTED
        if measured is not None:
            cells[self._column(measured)] = MEASURED
        line = Text("".join(cells), style="cyan")
        line.highlight_regex(MEASURED, "bold magenta")
        return line

    def _column(self, log10_norm: float) -> int:
        return round((log10_norm - self._low) / (self._high - self._low) * (WIDTH - 1))
