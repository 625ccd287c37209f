"""Experiments as a table."""

from collections.abc import Iterable

from rich.table import Table

from gradflow.cli.terminal.printable_text import printable
from gradflow.client import Json


def experiments_table(experiments: Iterable[Json]) -> Table:
    """A row per experiment; ids are complete even in a narrow terminal."""
    table = Table(box=None, padding=(0, 1))
    for heading in ("id", "status", "steps", "val. acc."):
        table.add_column(heading, no_wrap=True, overflow="ignore")
    # Rich narrows columns that may wrap first; the cells of this one are cut instead of wrapped.
    table.add_column("experiment", no_wrap=False, overflow="ignore")
    for experiment in experiments:
        done, accuracy = experiment["progress"], experiment["outcome"]["val_accuracy"]
        table.add_row(
            experiment["id"],
            experiment["status"],
            f"{done['step']}/{done['total_steps']}",
            "" if accuracy is None else f"{accuracy:.1%}",
            printable(experiment["name"] or _description(experiment["spec"])),
        )
    return table


def _description(spec: Json) -> str:
    return f"{_network(spec['model'])}, {spec['data']['source']}"


def _network(model: Json) -> str:
    if model["kind"] == "keras":
        return f"keras, {len(model['config']['config']['layers'])} layers"
    if model.get("hidden_units"):
        return f"{model['kind']} {'-'.join(map(str, model['hidden_units']))}"
    return f"{model['kind']} {model['depth']}×{model['width']}"
