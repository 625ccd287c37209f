"""What people see in a terminal, as text."""

import io
import re
from typing import Any

import pytest
from rich.console import Console, RenderableType

from gradflow.cli import terminal


def _shown(renderable: RenderableType, width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(renderable)
    return file.getvalue()


def _gradients(*norms: tuple[float | None, float | None]) -> dict[str, Any]:
    return {
        "variables": [{"layer": f"dense_{depth}", "depth": depth} for depth in range(len(norms))],
        "steps": [0, 1],
        "values": [list(row) for row in norms],
    }


def _experiment(**fields: Any) -> dict[str, Any]:
    return {
        "id": "0123456789abcdef01234567",
        "name": None,
        "status": "succeeded",
        "error": None,
        "progress": {"step": 25, "total_steps": 25},
        "spec": {"model": {"kind": "baseline", "depth": 11, "width": 64}, "data": {"source": "random"}},
        "outcome": {"loss": 0.5, "accuracy": 0.5, "val_loss": 0.25, "val_accuracy": 0.75, "diverged_at_step": None},
    } | fields


def test_bars_are_as_long_as_the_decades_that_they_stand_for() -> None:
    shown = _shown(terminal.gradient_table("norms", _gradients((1e-4, 1.0), (1e-2, 1.0), (1.0, 1.0))))

    bars = [line.count("█") for line in shown.splitlines() if line.lstrip().startswith("dense")]
    assert bars == [1, terminal.BAR_WIDTH // 2, terminal.BAR_WIDTH]
    assert "1.00e-04" in shown
    assert "█ × 7.0" in shown


def test_the_sign_of_the_decades_is_a_word() -> None:
    assert terminal.summary([1e-6, 1e-4, 1e-2, 1.0]).startswith("4.0 decades lost")
    assert terminal.summary([100.0, 10.0, 1.0, 1.0]).startswith("2.0 decades gained")
    assert "+2.00 a layer" in terminal.summary([1e-6, 1e-4, 1e-2, 1.0])


@pytest.mark.parametrize("first", [0.0, None])
def test_a_norm_that_has_no_logarithm_is_shown_without_a_bar(first: float | None) -> None:
    shown = _shown(terminal.gradient_table("norms", _gradients((first, 1.0), (1.0, 1.0), (1.0, 1.0))))

    line = next(line for line in shown.splitlines() if "dense_0" in line)
    assert "█" not in line
    assert ("not finite" if first is None else "0.00e+00") in line
    assert "no decades to count" in shown


def test_all_norms_lost_is_still_a_table() -> None:
    assert "dense_1" in _shown(terminal.gradient_table("norms", _gradients((None, None), (0.0, 0.0))))


@pytest.mark.parametrize("name", ["[/b]", "[red]", "[bold]x[/bold]", "$x_1$", ":smile:", "\\"])
def test_a_name_is_shown_as_it_was_given(name: str) -> None:
    assert name in _shown(terminal.experiments_table([_experiment(name=name)]))
    assert name in _shown(terminal.gradient_table(name, _gradients((1.0, 1.0))))


def test_control_characters_of_a_name_do_not_reach_the_terminal() -> None:
    shown = _shown(terminal.experiments_table([_experiment(name="a\x1b]0;b\x07\r\nc")]))

    assert "a�]0;b���c" in shown
    assert len(shown.splitlines()) == 2


def test_an_id_is_whole_in_a_narrow_terminal() -> None:
    assert _experiment()["id"] in _shown(terminal.experiments_table([_experiment(name="n" * 120)]), width=60)


def test_an_experiment_without_a_name_is_described() -> None:
    shown = _shown(terminal.experiments_table([_experiment()]))

    assert re.search(r"succeeded +25/25 +75\.0% +baseline 11×64, random", shown)


def test_an_outcome_says_what_there_is_and_leaves_out_what_there_is_not() -> None:
    nothing = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy", "diverged_at_step"))

    assert (
        terminal.outcome_line(_experiment())
        == "succeeded: loss 0.5000, accuracy 50.0%, validation loss 0.2500, validation accuracy 75.0%"
    )
    assert terminal.outcome_line(_experiment(status="cancelled", outcome=nothing)) == "cancelled"
    assert (
        terminal.outcome_line(_experiment(outcome=nothing | {"diverged_at_step": 7}))
        == "succeeded: loss or gradient stopped being finite at step 7"
    )
    assert terminal.outcome_line(_experiment(status="failed", outcome=nothing, error="oh")) == "failed: oh"
