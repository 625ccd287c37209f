"""A figure of the gradient norms of several experiments: by layer above, step by step below."""

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gradflow.client import Json

COLORS = colormaps["viridis"]  # readable with color blindness and in gray
FIRST, LAST = "#21918c", "#d1495b"
MIN_WIDTH_INCHES = 6.4  # for the title


def draw_gradients(gradients: Mapping[str, Json], path: Path) -> None:
    """Write a PNG file with one column per experiment.

    Args:
        gradients: answer of `GET /v1/experiments/{id}/gradients` by title.
        path: the PNG file, whatever its suffix.
    """
    figure = Figure(figsize=(max(MIN_WIDTH_INCHES, 3.4 * len(gradients) + 1.2), 6.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("Gradient norm of each kernel: by layer (above) and step by step (below)", fontsize=11)
    axes = figure.subplots(2, len(gradients), squeeze=False, sharey="row")
    deepest = max((v["depth"] for answer in gradients.values() for v in answer["variables"]), default=1)
    color = Normalize(0, max(1, deepest))
    for column, (name, answer) in enumerate(gradients.items()):
        _profile(axes[0][column], name, answer)
        _history(axes[1][column], answer, color)
    for row in axes:
        row[0].set_ylabel("gradient norm of the kernel")
        if any(axis.lines for axis in row):
            row[0].set_yscale("log")
    with_legend = next((axis for axis in axes[0] if axis.lines), None)
    if with_legend is not None:
        with_legend.legend(frameon=False, fontsize=8)
    bar = figure.colorbar(ScalarMappable(color, COLORS), ax=list(axes[1]), pad=0.01, aspect=16)
    bar.set_label("layer (0: next to the input)")
    bar.locator = MaxNLocator(integer=True)
    bar.update_ticks()
    figure.savefig(path, format="png")


def _profile(axes: Axes, name: str, answer: Json) -> None:
    depths = [variable["depth"] for variable in answer["variables"]]
    values = _values(answer)
    title = textwrap.fill(name, width=34, max_lines=2, placeholder=" …")
    axes.set_title(title, fontsize=10, parse_math=False)
    if np.isfinite(np.hstack((values[:, :1], values[:, -1:]))).any():
        axes.plot(depths, values[:, 0], "o-", color=FIRST, markersize=4, label="first step")
        axes.plot(depths, values[:, -1], "s--", color=LAST, markersize=4, label="last step")
    else:
        _write_that_nothing_is_drawn(axes)
    _finish(axes, "layer (input → output)")


def _history(axes: Axes, answer: Json, color: Normalize) -> None:
    values = _values(answer)
    if np.isfinite(values).any():
        marker = "o" if values.shape[1] == 1 else ""  # a line through one point is invisible
        for variable, row in zip(answer["variables"], values, strict=True):
            shade = COLORS(color(variable["depth"]))
            axes.plot(answer["steps"], row, color=shade, linewidth=0.9, marker=marker, markersize=4)
    else:
        _write_that_nothing_is_drawn(axes)
    _finish(axes, "step")


def _write_that_nothing_is_drawn(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no finite norm above 0", transform=axes.transAxes, ha="center", va="center", color="0.4")


def _finish(axes: Axes, label: str) -> None:
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.grid(alpha=0.25)


def _values(answer: Json) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """Norms [variables, steps]; NaN, which is a gap in the line, where a norm is 0 or not finite."""
    rows = [[value or math.nan for value in row] for row in answer["values"]]
    return np.array(rows, np.float64).reshape(len(rows), len(answer["steps"]))
