"""The benchmark of the diagnosis: `python -m benchmarks.diagnosis train --part development`."""

import argparse
from pathlib import Path

from benchmarks.diagnosis.case import Part
from benchmarks.diagnosis.cases import cases_of
from benchmarks.diagnosis.judging import judge, summary, write
from benchmarks.diagnosis.processes import train_all

TRUTH = "truth.json"
CACHE = Path(".benchmarks/diagnosis")


def main() -> None:
    """Run one stage."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("stage", choices=["train", "judge"])
    arguments.add_argument("--part", choices=[part.name.lower() for part in Part], required=True)
    arguments.add_argument("--cache", type=Path, default=CACHE, help="folder of the trained runs")
    arguments.add_argument("--processes", type=int, default=2)
    chosen = arguments.parse_args()
    part = Part[chosen.part.upper()]
    folder = chosen.cache / chosen.part
    if chosen.stage == "train":
        train_all([run for case in cases_of(part) for run in case.runs], folder, chosen.processes)
    if chosen.stage == "judge":
        judged = judge(part, folder)
        write(judged, folder / TRUTH)
        print("\n".join(summary(judged)))


if __name__ == "__main__":
    main()
