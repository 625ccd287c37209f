"""Theory in a terminal: the predicted profile and the measured one on one axis."""

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gradflow.cli.terminal import printable
from gradflow.client import Json

WIDTH = 34  # characters of the axis
BAND, PREDICTED, MEASURED = "─", "┼", "●"
FORMS = {
    "conditional": "from the rows and errors of the run's own first batch",
    "a_priori": "from the spec alone",
}


def theory_table(title: str, theory: Json) -> RenderableType:
    """Each kernel's gradient at step 0 as predicted, with its spread, and as measured if it was; and what that is."""
    layers = [layer for layer in theory["layers"] if layer["role"] == "kernel"]
    axis = _Axis(layers)
    table = Table(title=printable(title), title_justify="left", box=None, padding=(0, 1))
    table.add_column("layer", no_wrap=True)
    measured = any(layer.get("measured_log10_norm") is not None for layer in layers)
    for heading in ("predicted", "measured") if measured else ("predicted",):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(axis.ends, no_wrap=True)
    legend = f"{PREDICTED} predicted, {BAND} ± spread" + (f", {MEASURED} measured" if measured else "")
    for layer in layers:
        figures = [f"10^{layer['log10_norm']:.2f} ± {layer['spread']:.2f}"]
        if measured:
            at = layer["measured_log10_norm"]
            figures.append("not finite or 0" if at is None else f"10^{at:.2f}")
        table.add_row(printable(layer["layer"]), *figures, axis.line(layer))
    return Group(table, *(Text(f"  {line}") for line in (legend, *_lines(theory))))


def _lines(theory: Json) -> list[str]:
    """What the profile comes to."""
    lines = [f"predicted {FORMS[theory['form']]}"]
    for name, unit in (("slope", "decades lost a layer"), ("level", "mean of log10")):
        if theory[name] is not None:
            measured = theory.get(f"measured_{name}")
            beside = "" if measured is None else f", measured {measured:+.2f}"
            lines.append(f"{name} {theory[name]:+.2f}{beside} ({unit})")
    if (phase := theory["phase"]) is not None:
        numbers = [f"{name} {value:.4g}" for name, value in phase.items() if isinstance(value, float)]
        lines.append(f"phase: {phase['name']}" + (f" ({', '.join(numbers)})" if numbers else ""))
    return [*lines, *(f"but: {caveat}" for caveat in theory["caveats"])]


class _Axis:
    """Decades from left to right, so wide that every mark is on it."""

    def __init__(self, layers: Sequence[Json]) -> None:
        marks = [layer["log10_norm"] + side * layer["spread"] for layer in layers for side in (-1, 1)]
        marks += [at for layer in layers if (at := layer.get("measured_log10_norm")) is not None]
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
