"""The figure of theory and measurement is a valid file whatever there is to draw; people judge how it looks."""

import struct
from pathlib import Path
from typing import Any

import pytest

from gradflow.cli.figures.theory_figure import draw_theory

Json = dict[str, Any]


def theory(layers: int, measured: bool = True, norm: float | None = -1.0) -> Json:
    layers_of_all_roles = [
        {"name": f"dense_{d}/{role}", "layer": f"dense_{d}", "depth": d, "role": role, "log10_norm": -d, "spread": 0.1}
        | ({"measured_log10_norm": norm} if measured else {})
        for d in range(layers)
        for role in ("kernel", "bias", "gamma")
    ]
    return {"layers": layers_of_all_roles}


def size(figure: Path) -> tuple[int, int]:
    content = figure.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_each_network_has_a_column(tmp_path: Path) -> None:
    widths = []
    for count in (2, 4):
        draw_theory({f"run {i}": [theory(12)] for i in range(count)}, tmp_path / "figure.png")
        widths.append(size(tmp_path / "figure.png")[0])

    assert widths[1] > 1.5 * widths[0]


@pytest.mark.parametrize(
    "answers",
    [
        [theory(3, measured=False)],
        [theory(3, norm=None)],
        [theory(1)],
        [theory(0)],
        [theory(5, norm=-0.1 * seed) for seed in range(50)],
    ],
    ids=["nothing measured", "no logarithm", "one layer", "no layer", "fifty seeds"],
)
@pytest.mark.parametrize("name", ["$x_", "n" * 120, "", "two\nlines"])
def test_any_answers_can_be_drawn(tmp_path: Path, answers: list[Json], name: str) -> None:
    draw_theory({name: answers}, tmp_path / "figure.png")

    size(tmp_path / "figure.png")


def test_the_figure_can_be_an_svg_file(tmp_path: Path) -> None:
    draw_theory({"run": [theory(3)]}, tmp_path / "figure.svg", "svg")

    assert "</svg>" in (tmp_path / "figure.svg").read_text()
