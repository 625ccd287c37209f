"""The figure of the benchmark: recall of every pack for every symptom, and its false alarms."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.diagnosis.scoring import Score, Share

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe and Ito 2008
MARKERS = "osD^"
DISTANCE = 0.18  # vertical distance between the packs of a row


def draw(scores: Mapping[str, Score], symptoms: Mapping[str, int], path: Path) -> None:
    """Draw the figure into a file.

    Args:
        scores: Score of each pack.
        symptoms: The symptoms in the order of the rows, with their numbers of faults.
        path: The PNG file.
    """
    figure = Figure(figsize=(9.6, 0.5 * len(symptoms) + 1.8), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for number, (pack, score) in enumerate(scores.items()):
        recalls = [score.symptoms[name].recall for name in symptoms]
        _dots(left, recalls, number, pack)
        _dots(right, [score.all_faults, score.layers, score.false_alarms], number, pack)
    _rows(left, [f"{name} ({count})" for name, count in symptoms.items()], "recall, by symptom (faults)")
    _rows(right, ["faults found", "layer named", "false alarms"], "in all")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(scores), frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _dots(axes: Axes, shares: list[Share], number: int, pack: str) -> None:
    for row, share in enumerate(shares):
        if share.value is None or share.interval is None:
            continue
        height = row + DISTANCE * (number - 1.5)
        axes.plot(share.interval, [height, height], color=COLORS[number], linewidth=1.5, alpha=0.6)
        label = pack if row == 0 else None
        axes.plot(share.value, height, MARKERS[number], color=COLORS[number], markersize=5, label=label)


def _rows(axes: Axes, names: list[str], title: str) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(-0.03, 1.03)
    axes.grid(alpha=0.25, axis="x")
    axes.set_title(title, fontsize=11)
