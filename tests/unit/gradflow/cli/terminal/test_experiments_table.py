"""Experiments in a terminal."""

import io
import re
from typing import Any

import pytest
from rich.console import Console

from gradflow.cli.terminal.experiments_table import experiments_table
from tests.support.answers import EXPERIMENT_ID, NO_OUTCOME, Json, experiment


def shown(experiment: Json, width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(experiments_table([experiment]))
    return file.getvalue()


@pytest.mark.parametrize("name", ["[/b]", "[red]", "[bold]x[/bold]", "$x_1$", ":smile:", "\\"])
def test_a_name_is_shown_as_it_is(name: str) -> None:
    assert name in shown(experiment(name=name))


def test_control_characters_of_a_name_do_not_reach_the_terminal() -> None:
    text = shown(experiment(name="a\x1b]0;b\x07\r\nc"))

    assert "a�]0;b���c" in text
    assert len(text.splitlines()) == 2


def test_an_id_is_complete_in_a_narrow_terminal() -> None:
    assert EXPERIMENT_ID in shown(experiment(name="n" * 120), width=60)


@pytest.mark.parametrize(
    ("model", "description"),
    [
        ({"kind": "baseline", "depth": 11, "width": 64}, "baseline 11×64"),
        ({"kind": "mlp", "hidden_units": [7, 3]}, "mlp 7-3"),
        ({"kind": "keras", "config": {"config": {"layers": [{}, {}]}}}, "keras, 2 layers"),
    ],
)
def test_an_experiment_without_a_name_shows_its_network_and_data(model: dict[str, Any], description: str) -> None:
    unnamed = experiment(
        spec={"model": model, "data": {"source": "random"}}, outcome=NO_OUTCOME | {"val_accuracy": 0.75}
    )

    assert re.search(rf"succeeded +25/25 +75\.0% +{description}, random", shown(unnamed))
