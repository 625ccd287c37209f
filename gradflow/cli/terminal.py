"""What people see in a terminal: progress, gradient profiles as bars, lists."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gradflow.client import Client, Json

BAR_WIDTH = 28


def follow(client: Client, experiments: Mapping[str, str], console: Console) -> dict[str, Json]:
    """Show a progress bar for each named experiment id until all have ended; the experiments by name."""
    ended: dict[str, Json] = {}
    with _progress(console) as progress:
        bars = {name: progress.add_task(name, status="queued", total=None) for name in experiments}
        watched = {name: client.watch(experiment_id) for name, experiment_id in experiments.items()}
        while watched:
            for name, states in list(watched.items()):
                experiment = next(states, None)
                if experiment is None:
                    del watched[name]
                    continue
                done = experiment["progress"]
                ended[name] = experiment
                progress.update(
                    bars[name],
                    completed=done["step"],
                    total=done["total_steps"],
                    status=experiment["status"],
                )
    return ended


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description:>24}", markup=False),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TextColumn("steps  {task.fields[status]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield progress


def gradient_table(title: str, gradients: Json) -> RenderableType:
    """Norm of each kernel's gradient at the first and last step, the first also as a bar, and what it comes to."""
    first, last = columns_at_ends(gradients)
    table = Table(title=printable(title), title_justify="left", box=None, padding=(0, 1))
    for heading in ("layer", "first step", "last step"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    table.add_column("first step, one decade a " + "█ × " + f"{_cells_a_decade(first):.1f}")
    for variable, at_first, at_last in zip(gradients["variables"], first, last, strict=True):
        table.add_row(variable["layer"], _norm(at_first), _norm(at_last), Text(_bar(at_first, first), style="cyan"))
    return Group(table, Text(f"  {summary(first)}\n"))


def summary(norms: Sequence[float | None]) -> str:
    """Decades between the last hidden kernel and the first, and decades a layer, in words."""
    from gradflow.profile import decades_lost, slope  # NumPy, which a list has no use for

    lost, per_layer = decades_lost(floats(norms)), slope(floats(norms))
    if lost is None:
        return "no decades to count: a norm is 0 or not finite"
    word = "lost" if lost >= 0 else "gained"
    text = f"{abs(lost):.1f} decades {word} between the last and the first hidden layer"
    return text if per_layer is None else f"{text}, {per_layer:+.2f} a layer (positive: shrinks towards the input)"


def columns_at_ends(gradients: Json) -> tuple[list[float | None], list[float | None]]:
    """The norms of all variables at the first and at the last recorded step."""
    rows = gradients["values"]
    return [row[0] if row else None for row in rows], [row[-1] if row else None for row in rows]


def outcome_line(experiment: Json) -> str:
    """Status and the figures of the last epoch."""
    outcome = experiment["outcome"]
    figures = [
        f"{label} {outcome[name]:.1%}" if "accuracy" in name else f"{label} {outcome[name]:.4f}"
        for name, label in (
            ("loss", "loss"),
            ("accuracy", "accuracy"),
            ("mse", "mean squared error"),
            ("val_loss", "validation loss"),
            ("val_accuracy", "validation accuracy"),
            ("val_mse", "validation mean squared error"),
        )
        if outcome.get(name) is not None
    ]
    if outcome.get("stopped_early"):
        figures.append(f"stopped early after epoch {experiment['progress']['epoch']}")
    if outcome["diverged_at_step"] is not None:
        figures.append(f"loss or gradient stopped being finite at step {outcome['diverged_at_step']}")
    if experiment["error"]:
        figures.append(experiment["error"])
    return f"{experiment['status']}: " + ", ".join(figures) if figures else experiment["status"]


def experiments_table(experiments: Iterable[Json]) -> Table:
    """One line an experiment; the id is whole even in a narrow terminal."""
    table = Table(box=None, padding=(0, 1))
    for heading in ("id", "status", "steps", "val. acc.", "experiment"):
        # rich narrows the columns that may wrap before all others: the cells of the last one do not, they are cut.
        table.add_column(heading, no_wrap=heading != "experiment", overflow="ignore")
    for experiment in experiments:
        model, done = experiment["spec"]["model"], experiment["progress"]
        accuracy = experiment["outcome"]["val_accuracy"]
        described = f"{_network(model)}, {experiment['spec']['data']['source']}"
        table.add_row(
            experiment["id"],
            experiment["status"],
            f"{done['step']}/{done['total_steps']}",
            "" if accuracy is None else f"{accuracy:.1%}",
            printable(experiment["name"] or described),
        )
    return table


def dataset_line(dataset: Json) -> Text:
    """An uploaded data set, and the name by which a spec asks for it."""
    labels = "numbers" if dataset["classes"] is None else f"{len(dataset['classes'])} classes"
    line = f"{dataset['id']}: {dataset['rows']:,} rows of {dataset['columns']:,}, {labels} in {dataset['label']}"
    return printable(f'{line}; use {{"source": "upload", "dataset_id": "{dataset["id"]}"}}')


def _network(model: Json) -> str:
    if model["kind"] == "keras":
        return f"keras, {len(model['config']['config']['layers'])} layers"
    if model.get("hidden_units"):
        return f"{model['kind']} {'-'.join(map(str, model['hidden_units']))}"
    return f"{model['kind']} {model['depth']}×{model['width']}"


def printable(text: str) -> Text:
    """Text from outside, shown as it is: not as markup, and with no control characters."""
    shown = "".join(character if character.isprintable() else "�" for character in text)
    return Text(shown, no_wrap=True, overflow="ellipsis")


def floats(values: Sequence[float | None]) -> list[float]:
    """Norms as the API sends them, with NaN for null."""
    return [math.nan if value is None else value for value in values]


def _norm(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2e}"


def _range(norms: Sequence[float | None]) -> tuple[float, float]:
    logs = [math.log10(value) for value in norms if value]
    return (math.floor(min(logs)), math.ceil(max(logs))) if logs else (0.0, 1.0)


def _cells_a_decade(norms: Sequence[float | None]) -> float:
    low, high = _range(norms)
    return BAR_WIDTH / max(1.0, high - low)


def _bar(value: float | None, norms: Sequence[float | None]) -> str:
    if not value:
        return ""
    low, _ = _range(norms)
    return "█" * max(1, round((math.log10(value) - low) * _cells_a_decade(norms)))
