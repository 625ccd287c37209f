"""A figure of theory and measurement: the predicted profile with its standard deviation, and measured norms."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gradflow.client import Json

PREDICTED, MEASURED = "#21918c", "#d1495b"
ROLES = ("kernel", "bias")
MIN_WIDTH_INCHES = 6.4

Floats = npt.NDArray[np.float64]


def draw_theory(runs: Mapping[str, Sequence[Json]], path: Path, form: Literal["png", "svg"] = "png") -> None:
    """Write a figure with one column per network: kernels above, biases below.

    With several answers per network, such as several seeds, the line is the mean of their predictions. The band is the
    standard deviation over all of them: each prediction's own variance plus the variance between the predictions, which
    differ if they are conditional on the data of their runs.

    Args:
        runs: answers of `GET /v1/experiments/{id}/theory` or `POST /v1/theory` by title, at least one per network.
        path: the file to write.
        form: format of the file, whatever its suffix.
    """
    figure = Figure(figsize=(max(MIN_WIDTH_INCHES, 3.4 * len(runs) + 0.8), 6.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("Gradient norm at step 0: theory (line, ± one standard deviation) and measurement", fontsize=11)
    axes = figure.subplots(len(ROLES), len(runs), squeeze=False, sharey="row")
    for column, (name, answers) in enumerate(runs.items()):
        axes[0][column].set_title(textwrap.fill(name, 34, max_lines=2, placeholder=" …"), fontsize=10, parse_math=False)
        for row, role in enumerate(ROLES):
            _profile(axes[row][column], role, answers)
    for row, role in zip(axes, ROLES, strict=True):
        row[0].set_ylabel(f"log10 of the norm, {role}")
    with_legend = next((axis for axis in axes.flat if axis.lines), None)
    if with_legend is not None:
        with_legend.legend(frameon=False, fontsize=8)
    figure.savefig(path, format=form)


def _profile(axes: Axes, role: str, answers: Sequence[Json]) -> None:
    layers = [[layer for layer in answer["layers"] if layer["role"] == role] for answer in answers]
    depth = _column(layers[0], "depth")
    predictions, spreads = (np.array([_column(run, name) for run in layers]) for name in ("log10_norm", "spread"))
    predicted, spread = predictions.mean(axis=0), np.sqrt((spreads**2).mean(axis=0) + predictions.var(axis=0))
    if len(depth):
        marker = "o" if len(depth) == 1 else ""  # a line through one point is invisible
        axes.plot(depth, predicted, color=PREDICTED, marker=marker, markersize=3, label="theory", zorder=3)
        axes.fill_between(depth, predicted - spread, predicted + spread, color=PREDICTED, alpha=0.22, linewidth=0)
    size, opacity = (4.5, 1.0) if len(answers) == 1 else (3.0, 0.45)
    for number, run in enumerate(layers):
        measured = _column(run, "measured_log10_norm")
        if np.isfinite(measured).any():
            label = "measured" if number == 0 else None
            axes.plot(
                depth, measured, "o", color=MEASURED, markersize=size, alpha=opacity, markeredgewidth=0, label=label
            )
    axes.set_xlabel("layer (input → output)")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.grid(alpha=0.25)


def _column(layers: Sequence[Json], name: str) -> Floats:
    """A field of each layer [layers]; NaN if it is null or missing."""
    values = (layer.get(name) for layer in layers)
    return np.array([np.nan if value is None else value for value in values], np.float64)
