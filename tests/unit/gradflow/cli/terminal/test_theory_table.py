"""Theory in a terminal."""

import io

import pytest
from rich.console import Console

from gradflow.cli.terminal.theory_table import BAND, MEASURED, PREDICTED, WIDTH, theory_table
from tests.support.answers import Json, theory, theory_layer


def shown(answer: Json, width: int = 120) -> str:
    file = io.StringIO()
    Console(file=file, width=width, markup=False).print(theory_table("a [/b] title", answer))
    return file.getvalue()


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.lstrip().startswith("dense")]


def test_a_mark_is_at_the_column_of_its_decade() -> None:
    text = shown(theory(theory_layer(0, -4.0), theory_layer(1, -2.0), theory_layer(2, 0.0)))

    columns = [line.index(PREDICTED) for line in rows(text)]
    assert columns[2] - columns[0] == WIDTH - 1
    assert columns[1] - columns[0] == pytest.approx((WIDTH - 1) / 2, abs=0.5)
    assert "10^-4 … 10^0" in text
    assert "measured" not in text


def test_the_spread_is_a_band_around_the_prediction_and_the_measured_mark_covers_both() -> None:
    (line,) = rows(
        shown(theory(theory_layer(0, -2.0, 1.0, measured_log10_norm=-1.5), measured_slope=0.6, measured_level=-4))
    )

    plot = line[line.index(BAND) :].rstrip()
    assert plot.count(PREDICTED) == plot.count(MEASURED) == 1
    assert plot.startswith(BAND)
    assert plot.endswith(BAND)
    assert plot.index(PREDICTED) < plot.index(MEASURED)
    assert len(plot) == WIDTH
    assert "10^-2.00 ± 1.00" in line
    assert "10^-1.50" in line


def test_slope_level_phase_and_every_caveat_are_shown() -> None:
    phase = {"name": "ordered", "q_star": 0.26469, "chi_1": 0.05572, "c_star": None, "xi_q": 1.5, "xi_c": None}
    measured = {"measured_slope": 0.6, "measured_level": -4.3}
    text = shown(theory(theory_layer(0, 0.0), phase=phase, caveats=["inexact [here]", "and there"], **measured))

    assert "slope +0.63, measured +0.60" in text
    assert "level -4.20, measured -4.30" in text
    assert "phase: ordered (q_star 0.2647, chi_1 0.05572, xi_q 1.5)" in text
    assert "caveat: inexact [here]" in text
    assert "caveat: and there" in text
    assert "a [/b] title" in text


@pytest.mark.parametrize("measured", [None, -3.0])
def test_a_measured_norm_without_a_logarithm_is_shown_as_such(measured: float | None) -> None:
    text = shown(
        theory(theory_layer(0, 0.0, measured_log10_norm=measured), theory_layer(1, 0.0, measured_log10_norm=-1.0))
    )

    assert ("not finite or 0" in text) == (measured is None)


def test_biases_and_a_missing_slope_are_left_out() -> None:
    text = shown(theory(theory_layer(0, 0.0), theory_layer(0, -9.0, role="bias"), slope=None, level=None))

    assert len(rows(text)) == 1
    assert "slope" not in text
    assert "10^-9" not in text
