"""Theory as people see it in a terminal."""

import io
from typing import Any

import pytest
from rich.console import Console

from gradflow.cli.theory import BAND, MEASURED, PREDICTED, WIDTH, theory_table

Json = dict[str, Any]


def layer(depth: int, log10_norm: float, spread: float = 0.0, role: str = "kernel", **more: Any) -> Json:
    name = f"dense_{depth}"
    here = {"name": f"{name}/{role}", "layer": name, "depth": depth, "role": role}
    return {**here, "log10_norm": log10_norm, "spread": spread, **more}


def theory(*layers: Json, **more: Any) -> Json:
    told = {"form": "a_priori", "slope": 0.63, "level": -4.2, "phase": None, "caveats": []}
    return {**told, "layers": list(layers), **more}


def shown(answer: Json, width: int = 120) -> str:
    file = io.StringIO()
    Console(file=file, width=width, markup=False).print(theory_table("of somebody's [/b] run", answer))
    return file.getvalue()


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.lstrip().startswith("dense")]


def test_a_mark_stands_where_its_decade_is() -> None:
    text = shown(theory(layer(0, -4.0), layer(1, -2.0), layer(2, 0.0)))

    columns = [line.index(PREDICTED) for line in rows(text)]
    assert columns[2] - columns[0] == WIDTH - 1
    assert columns[1] - columns[0] == pytest.approx((WIDTH - 1) / 2, abs=0.5)
    assert "10^-4 … 10^0" in text
    assert "measured" not in text


def test_the_spread_is_a_band_around_it_and_what_was_measured_lies_over_both() -> None:
    (line,) = rows(shown(theory(layer(0, -2.0, 1.0, measured_log10_norm=-1.5), measured_slope=0.6, measured_level=-4)))

    plot = line[line.index(BAND) :].rstrip()
    assert plot.count(PREDICTED) == plot.count(MEASURED) == 1
    assert plot.startswith(BAND)
    assert plot.endswith(BAND)
    assert plot.index(PREDICTED) < plot.index(MEASURED)
    assert len(plot) == WIDTH
    assert "10^-2.00 ± 1.00" in line
    assert "10^-1.50" in line


def test_slope_level_phase_and_every_caveat_are_told() -> None:
    phase = {"name": "ordered", "q_star": 0.26469, "chi_1": 0.05572, "c_star": None, "xi_q": 1.5, "xi_c": None}
    measured = {"measured_slope": 0.6, "measured_level": -4.3}
    text = shown(theory(layer(0, 0.0), phase=phase, caveats=["loose [here]", "and there"], **measured))

    assert "slope +0.63, measured +0.60" in text
    assert "level -4.20, measured -4.30" in text
    assert "phase: ordered (q_star 0.2647, chi_1 0.05572, xi_q 1.5)" in text
    assert "but: loose [here]" in text
    assert "but: and there" in text
    assert "of somebody's [/b] run" in text


@pytest.mark.parametrize("at", [None, -3.0])
def test_a_norm_without_a_logarithm_is_said_to_be_one(at: float | None) -> None:
    text = shown(theory(layer(0, 0.0, measured_log10_norm=at), layer(1, 0.0, measured_log10_norm=-1.0)))

    assert ("not finite or 0" in text) == (at is None)


def test_biases_are_left_out_and_a_network_without_slope_has_none() -> None:
    text = shown(theory(layer(0, 0.0), layer(0, -9.0, role="bias"), slope=None, level=None))

    assert len(rows(text)) == 1
    assert "slope" not in text
    assert "10^-9" not in text
