"""The figure of gradient norms is a valid PNG file whatever was measured; people judge how it looks."""

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gradflow.cli.figures.gradients_figure import draw_gradients

# Warnings are errors: a warning of Matplotlib about text, scales or legends fails these tests.


def _gradients(layers: int, steps: int, norm: float | None = 1.0) -> dict[str, Any]:
    return {
        "variables": [{"name": f"dense_{d}/kernel", "layer": f"dense_{d}", "depth": d} for d in range(layers)],
        "steps": list(range(steps)),
        "values": [[norm and norm * 10.0**-depth for _ in range(steps)] for depth in range(layers)],
    }


def _size(figure: Path) -> tuple[int, int]:
    content = figure.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_each_experiment_has_a_column(tmp_path: Path) -> None:
    widths = []
    for count in (2, 4):
        draw_gradients({f"run {i}": _gradients(12, 50) for i in range(count)}, tmp_path / "figure.png")
        widths.append(_size(tmp_path / "figure.png")[0])

    assert widths[1] > 1.5 * widths[0]


@pytest.mark.parametrize(
    "gradients",
    [
        _gradients(3, 0),
        _gradients(3, 1),
        _gradients(1, 5),
        _gradients(2, 5, 0.0),
        _gradients(2, 5, None),
        _gradients(2, 5, 1e-30),
        _gradients(0, 5),
    ],
    ids=["no step", "one step", "one layer", "all zero", "all null", "tiny", "no layer"],
)
def test_norms_that_cannot_be_drawn_leave_a_figure_of_the_others(tmp_path: Path, gradients: dict[str, Any]) -> None:
    draw_gradients({"alone": gradients}, tmp_path / "alone.png")
    draw_gradients({"odd": gradients, "usual": _gradients(4, 5)}, tmp_path / "both.png")

    assert _size(tmp_path / "both.png") > _size(tmp_path / "alone.png")


def test_norms_that_are_not_finite_at_both_ends_are_drawn(tmp_path: Path) -> None:
    gradients = _gradients(2, 3)
    for row in gradients["values"]:
        row[0], row[-1] = None, 0.0

    draw_gradients({"gaps": gradients}, tmp_path / "figure.png")

    _size(tmp_path / "figure.png")


@pytest.mark.parametrize("name", ["$x_", "n" * 120, "many words " * 10, "", "two\nlines"])
def test_any_name_can_be_a_title(tmp_path: Path, name: str) -> None:
    draw_gradients({name: _gradients(3, 5)}, tmp_path / "figure.png")

    _size(tmp_path / "figure.png")


def test_the_file_is_a_png_whatever_its_suffix(tmp_path: Path) -> None:
    draw_gradients({"run": _gradients(3, 5)}, tmp_path / "figure.txt")

    _size(tmp_path / "figure.txt")


def test_the_figure_needs_no_display_and_no_global_state() -> None:
    program = "import sys, gradflow.cli.figures.gradients_figure; print('matplotlib.pyplot' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"False\n"
