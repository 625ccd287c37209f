"""Measures how often each rule pack is right, in three stages.

python -m benchmarks.diagnosis train --part development     # write every run to a file; continues after a stop
python -m benchmarks.diagnosis label --part development     # the true symptom of each case, before any pack runs
python -m benchmarks.diagnosis evaluate --part development  # print the score of every pack
python -m benchmarks.diagnosis evaluate --part second_held_out --publish  # write docs/diagnosis.md and its figure
"""

import argparse
from pathlib import Path

from benchmarks.diagnosis.case import Part
from benchmarks.diagnosis.cases import cases_of
from benchmarks.diagnosis.labeling import label, read, summary, write
from benchmarks.diagnosis.processes import train_all

CACHE = Path(".benchmarks/diagnosis")
TRUTH = "truth.json"


def main() -> None:
    """Run one stage."""
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks.diagnosis", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("stage", choices=["train", "label", "evaluate"])
    arguments.add_argument("--part", choices=[part.name.lower() for part in Part], required=True)
    arguments.add_argument("--cache", type=Path, default=CACHE, help="directory of the trained runs")
    arguments.add_argument("--processes", type=int, default=2)
    arguments.add_argument("--publish", action="store_true", help="write docs/diagnosis.md")
    chosen = arguments.parse_args()
    part, folder = Part[chosen.part.upper()], chosen.cache / chosen.part
    match chosen.stage:
        case "train":
            train_all([run for case in cases_of(part) for run in case.runs], folder, chosen.processes)
        case "label":
            labeled = label(part, folder)
            write(labeled, folder / TRUTH)
            print("\n".join(summary(labeled)))
        case _:
            _evaluate(part, folder, chosen.publish)


def _evaluate(part: Part, folder: Path, publish: bool) -> None:
    from benchmarks.diagnosis import page, picture
    from benchmarks.diagnosis.evaluation import evaluate

    labeled = read(folder / TRUTH)
    scores = evaluate(labeled, folder)
    text = page.results(part, labeled, scores)
    if publish:
        page.PAGE.write_text(page.with_results(page.PAGE.read_text(), text))
        picture.draw(scores, page.true_symptoms(scores), page.PICTURE)
    else:
        print(text)


if __name__ == "__main__":
    main()
