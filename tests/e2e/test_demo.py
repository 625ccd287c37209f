"""`gradflow demo` from an empty directory to its figure."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.running_stack import free_port


def test_the_demo_shows_a_vanishing_gradient_and_one_that_does_not_vanish(tmp_path: Path) -> None:
    figure = tmp_path / "demo.png"
    command = [sys.executable, "-m", "gradflow.cli", "demo", "--port", str(free_port()), "--output", str(figure)]

    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "120", "PYTHONPATH": str(Path(__file__).parents[2])},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    changes = re.findall(r"(\d+\.\d) decades (lost|gained)", done.stdout)
    signed = [float(decades) if word == "lost" else -float(decades) for decades, word in changes[:2]]
    assert signed[0] > 5  # baseline, step 0
    assert abs(signed[1]) < 2  # improved, step 0
    assert "It grows towards the input" in done.stdout
    assert "dense_10" in done.stdout
    assert "verdict: vanishing" in done.stdout
    accuracies = re.search(r"accuracy is meaningful: (\d+)% for the baseline and (\d+)% for the improved", done.stdout)
    assert accuracies is not None
    assert int(accuracies[2]) > 90 > int(accuracies[1])
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert figure.stat().st_size > 50_000
