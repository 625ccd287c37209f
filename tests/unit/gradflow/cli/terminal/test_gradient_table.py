"""Gradient norms in a terminal."""

import io

import pytest
from rich.console import Console, RenderableType

from gradflow.cli.terminal.gradient_table import BAR_WIDTH, gradient_table, summary
from tests.support.answers import gradients


def shown(table: RenderableType, width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(table)
    return file.getvalue()


def test_the_length_of_a_bar_is_its_number_of_decades() -> None:
    text = shown(gradient_table("norms", gradients((1e-4, 1.0), (1e-2, 1.0), (1.0, 1.0))))

    bars = [line.count("█") for line in text.splitlines() if line.lstrip().startswith("dense")]
    assert bars == [1, BAR_WIDTH // 2, BAR_WIDTH]
    assert "1.00e-04" in text
    assert "one decade is 7.0 × █" in text


def test_a_gradient_that_shrinks_loses_decades_and_one_that_grows_gains_them() -> None:
    assert summary([1e-6, 1e-4, 1e-2, 1.0]).startswith("4.0 decades lost")
    assert summary([100.0, 10.0, 1.0, 1.0]).startswith("2.0 decades gained")
    assert "slope +2.00 per layer" in summary([1e-6, 1e-4, 1e-2, 1.0])


@pytest.mark.parametrize("first", [0.0, None])
def test_a_norm_without_a_logarithm_has_no_bar(first: float | None) -> None:
    text = shown(gradient_table("norms", gradients((first, 1.0), (1.0, 1.0), (1.0, 1.0))))

    line = next(line for line in text.splitlines() if "dense_0" in line)
    assert "█" not in line
    assert ("not finite" if first is None else "0.00e+00") in line
    assert "decades lost: unknown" in text


def test_norms_without_any_logarithm_are_still_a_table() -> None:
    assert "dense_1" in shown(gradient_table("norms", gradients((None, None), (0.0, 0.0))))


@pytest.mark.parametrize("name", ["[/b]", "[red]", "[bold]x[/bold]", "$x_1$", ":smile:", "\\"])
def test_a_title_is_shown_as_it_is(name: str) -> None:
    assert name in shown(gradient_table(name, gradients((1.0, 1.0))))
