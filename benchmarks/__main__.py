"""Measure and print the table, as Markdown: `make bench`."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks import recording
from benchmarks.paired import Ratio
from benchmarks.steps import PAIRS, ROUNDS, measure
from worker.training import device


def main() -> None:
    """Print machine, versions and one row a preset."""
    where = device.configure(threads=1)
    rows = [measure(model) for model in ("baseline", "improved")]
    print(f"Measured on {datetime.now(UTC):%Y-%m-%d}: {_processor()}, {os.cpu_count()} cores, device {where}, ", end="")
    print(f"Python {platform.python_version()}, TensorFlow {_tensorflow()}, Keras {version('keras')}.")
    print(f"{ROUNDS} rounds against `model.fit` and {PAIRS} of recording against not recording, all in turns. ", end="")
    print("Microseconds a step are medians; a ratio is the median of the rounds' ratios, with their quartiles.\n")
    print("| model | `model.fit`, nothing recorded | gradflow, every norm | gradflow, nothing recorded ", end="")
    print("| every norm : `model.fit` (target ≤ 0.12) | every norm : nothing recorded (target ≤ 1.03) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        times = f"{row.fit_us:,.0f} µs | {row.recorded_us:,.0f} µs | {row.unrecorded_us:,.0f} µs"
        print(f"| {row.model} | {times} | {_cell(row.recorded_to_fit)} | {_cell(row.recorded_to_unrecorded)} |")
    print(f"\nWhat each statistic adds to a step, {recording.ROUNDS} rounds in turns with gradient norms alone:\n")
    print("| recorded beside gradient norms | baseline | improved |")
    print("| --- | --- | --- |")
    for baseline, improved in zip(recording.costs("baseline"), recording.costs("improved"), strict=True):
        print(f"| {baseline.recorded} | {_cell(baseline.beside_norms_alone)} | {_cell(improved.beside_norms_alone)} |")


def _cell(ratio: Ratio) -> str:
    return f"{ratio.median:.3f} ({ratio.lower_quartile:.3f}–{ratio.upper_quartile:.3f})"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _tensorflow() -> str:
    import tensorflow as tf

    return str(tf.__version__)


if __name__ == "__main__":
    main()
