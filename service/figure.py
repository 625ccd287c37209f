"""One picture of several runs: profiles over depth above, histories over steps below."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from service.client import Json

COLOURS = colormaps["viridis"]  # read alike by colour-blind eyes and in grey
FIRST, LAST = "#21918c", "#d1495b"


def draw(gradients: Mapping[str, Json], path: Path) -> None:
    """Write a PNG with one column for each named answer of `GET …/gradients`."""
    figure = Figure(figsize=(3.4 * len(gradients) + 1.2, 6.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("Gradient norm of each kernel: by layer (above) and step by step (below)", fontsize=11)
    axes = figure.subplots(2, len(gradients), squeeze=False, sharey="row")
    deepest = max((v["depth"] for answer in gradients.values() for v in answer["variables"]), default=1)
    colour = Normalize(0, max(1, deepest))
    for column, (name, answer) in enumerate(gradients.items()):
        _profile(axes[0][column], name, answer)
        _history(axes[1][column], answer, colour)
    axes[0][0].set_ylabel("gradient norm of the kernel")
    axes[1][0].set_ylabel("gradient norm of the kernel")
    axes[0][0].legend(frameon=False, fontsize=8)
    bar = figure.colorbar(ScalarMappable(colour, COLOURS), ax=list(axes[1]), pad=0.01, aspect=16)
    bar.set_label("layer (0: next to the input)")
    figure.savefig(path)


def _profile(axes: Axes, name: str, answer: Json) -> None:
    depths = [variable["depth"] for variable in answer["variables"]]
    values = _values(answer)
    axes.set_title(name, fontsize=10)
    if values.shape[1]:
        axes.plot(depths, values[:, 0], "o-", color=FIRST, markersize=4, label="first step")
        axes.plot(depths, values[:, -1], "s--", color=LAST, markersize=4, label="last step")
    axes.set_yscale("log")
    axes.set_xlabel("layer (input → output)")
    axes.grid(alpha=0.25)


def _history(axes: Axes, answer: Json, colour: Normalize) -> None:
    for variable, row in zip(answer["variables"], _values(answer), strict=True):
        axes.plot(answer["steps"], row, color=COLOURS(colour(variable["depth"])), linewidth=0.9)
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.grid(alpha=0.25)


def _values(answer: Json) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """[variables, steps]; what is not finite leaves a gap."""
    rows = [[math.nan if value is None else value for value in row] for row in answer["values"]]
    return np.array(rows, np.float64).reshape(len(rows), len(answer["steps"]))
