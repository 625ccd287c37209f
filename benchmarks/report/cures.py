"""Run the curl lines of docs/cures.md, draw its figures and write its table: `make figures`."""

import argparse
import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gradflow.client import Client, Json
from service.analysis.profile import log10_profile, slope
from tests.support.running_stack import RunningStack

PAGE = Path(__file__).parents[2] / "docs" / "cures.md"
TABLE = re.compile(r"(?<=<!-- written by `make figures` -->\n).*?(?=<!-- to here -->)", re.DOTALL)
PICTURE = re.compile(r"\((images/cures-(\w+)\.svg)\)")
CLIPPING = "clipping"  # the figure that shows norms before and after clipping, not at the first and the last step
REFERENCE = "sigmoid"  # drawn in every figure but that one
MIN_SPAN = 1e4  # of the vertical axis, so that a factor of two does not look like an explosion
LEGEND_COLUMNS = 3
WORKERS = 2
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito 2008
MARKERS = "osD^vP*"
Norms = npt.NDArray[np.float64]  # [kernels, steps]


@dataclass(frozen=True)
class Section:
    """A section of the page: its specs by name, and the reference to its figure, if it has one."""

    specs: Mapping[str, Json]
    picture: re.Match[str] | None


@dataclass(frozen=True)
class Measured:
    """The results of one network."""

    outcome: Json
    steps: Sequence[int]
    norms: Norms
    clipped: Norms | None

    @property
    def last(self) -> int:
        """Index of the last step whose norms are all finite."""
        return int(np.flatnonzero(np.isfinite(self.norms).all(axis=0))[-1])


def sections(page: str) -> list[Section]:
    """The sections of the page that submit experiments, in order."""
    found = []
    for text in re.split(r"^## ", page, flags=re.MULTILINE):
        bodies = [shlex.split(line)[-1] for line in curl_lines(text)]
        specs = {spec["name"]: spec for spec in map(json.loads, bodies)}
        if specs:
            found.append(Section(specs, PICTURE.search(text)))
    return found


def curl_lines(text: str) -> list[str]:
    """The commands that submit an experiment; the last word of each is the body."""
    return re.findall(r"^curl .*/v1/experiments .* -d '.*'$", text, re.MULTILINE)


def level(norms: npt.ArrayLike) -> float:
    """Geometric mean of the norms of the same kernels that determine the slope."""
    return float(10 ** np.nanmean(log10_profile(norms)[1:-1]))


def main() -> None:
    """Run all experiments, draw the figures, and write the table into the page."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--url", help="address of a running gradflow; default: start and stop one")
    url = arguments.parse_args().url
    page = PAGE.read_text()
    parts = sections(page)
    with _client(url) as client:
        ids = {name: client.submit(spec)["id"] for part in parts for name, spec in part.specs.items()}
        measured = {name: _measured(client, experiment_id) for name, experiment_id in ids.items()}
    for part in parts:
        if part.picture is not None:
            networks = {name: measured[name] for name in part.specs}
            figure = _clipping(networks) if part.picture[2] == CLIPPING else _profiles(networks, measured[REFERENCE])
            with mpl.rc_context({"svg.hashsalt": part.picture[2]}):  # the same values give the same bytes
                figure.savefig(PAGE.parent / part.picture[1], metadata={"Date": None})
    table = "\n".join(_table(measured))
    PAGE.write_text(TABLE.sub(lambda _: f"\n{table}\n\n", page))
    print(table)


@contextmanager
def _client(url: str | None) -> Iterator[Client]:
    with ExitStack() as stack:
        if url is None:
            running = RunningStack(Path(stack.enter_context(TemporaryDirectory())), WORKERS)
            running.start()
            stack.callback(running.end)
            running.wait_until_ready()
            url = running.url
        yield stack.enter_context(Client(url))


def _measured(client: Client, experiment_id: str) -> Measured:
    experiment = client.wait(experiment_id)
    if experiment["status"] != "succeeded":
        raise SystemExit(f"{experiment['name']}: {experiment['status']}, {experiment['error']}")
    answer = client.gradients(experiment_id)
    clipped = None
    if experiment["spec"]["training"]["gradient_clipping"] is not None:
        clipped = _norms(client.gradients(experiment_id, statistic="clipped_norm"))
    return Measured(experiment["outcome"], answer["steps"], _norms(answer), clipped)


def _norms(answer: Json) -> Norms:
    return np.array([[math.nan if value is None else value for value in row] for row in answer["values"]], np.float64)


def _table(measured: Mapping[str, Measured]) -> Iterator[str]:
    yield "| network | slope, first step | last step | level, first step | last step | validation accuracy |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, run in measured.items():
        first, last = run.norms[:, 0], run.norms[:, run.last]
        diverged = run.outcome["diverged_at_step"]
        result = (
            f"{run.outcome['val_accuracy'] * 100:.0f} %" if diverged is None else f"none: diverged at step {diverged}"
        )
        yield f"| {name} | {_slope(first)} | {_slope(last)} | {_level(first)} | {_level(last)} | {result} |"


def _slope(norms: Norms) -> str:
    value = slope(norms)
    return "none" if value is None else f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def _level(norms: Norms) -> str:
    """The level with two digits."""
    mantissa, power = f"{level(norms):.1e}".split("e")
    exponent = int(power)
    return f"{level(norms):.{1 - exponent}f}" if -2 < exponent < 2 else f"{mantissa}e{exponent}".replace("-", "−")


def _profiles(networks: Mapping[str, Measured], reference: Measured) -> Figure:
    """Draw the profile of every network before the first update and at the end."""
    figure, panels = _two_panels("before the first update", "at the last step")
    for axes, at_end in zip(panels, (False, True), strict=True):
        for number, (name, run) in enumerate(networks.items()):
            _line(axes, run.norms[:, run.last if at_end else 0], number, name)
        bottom, top = axes.get_ylim()
        if REFERENCE not in networks:
            axes.plot(reference.norms[:, reference.last if at_end else 0], ":", color="0.45", label="sigmoid alone")
        axes.set_ylim(bottom, top)
        axes.set_xlabel("layer (input → output)")
    limits = np.array([axes.get_ylim() for axes in panels])
    panels[0].set_ylim(min(limits.min(), limits.max() / MIN_SPAN), limits.max())
    panels[1].sharey(panels[0])
    panels[1].tick_params(labelleft=False)
    panels[0].set_ylabel("gradient norm of the kernel")
    _legend(figure, panels[1])
    return figure


def _clipping(networks: Mapping[str, Measured]) -> Figure:
    """Draw norms before clipping (solid) and after it (dashed): by layer at the start, and the largest of each step."""
    figure, (profile, history) = _two_panels("before the first update", "largest kernel norm, step by step")
    clipped_first = sorted(networks.items(), key=lambda network: network[1].clipped is None)
    for color, (name, run) in zip(COLORS, clipped_first, strict=False):
        largest = run.norms.max(axis=0)
        if run.clipped is None:
            profile.plot(run.norms[:, 0], color=color, linewidth=4, alpha=0.3)
            history.plot(run.steps, largest, "X-", color=color, markersize=7, label=name)
        else:
            profile.plot(run.norms[:, 0], color=color)
            profile.plot(run.clipped[:, 0], "--", color=color)
            history.plot(run.steps, largest, color=color, linewidth=0.9, label=f"{name}:\ngradient_norm")
            history.plot(run.steps, run.clipped.max(axis=0), "--", color=color, label=f"{name}:\nclipped_norm")
    profile.set_ylabel("norm of the kernel's gradient")
    profile.set_xlabel("layer (input → output)")
    history.set_xlabel("step")
    _legend(figure, history)
    return figure


def _two_panels(left: str, right: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(9.6, 4.4), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(1, 2))
    for axes, title in zip(panels, (left, right), strict=True):
        axes.set_title(title, fontsize=11)
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.grid(alpha=0.25)
    return figure, panels


def _line(axes: Axes, norms: Norms, number: int, name: str) -> None:
    marks = slice(number % 4, None, 4)  # staggered, so that the markers of overlapping lines do not coincide
    axes.plot(norms, MARKERS[number] + "-", color=COLORS[number], markersize=5, markevery=marks, label=name)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False, fontsize=10)


if __name__ == "__main__":
    main()
