"""The true symptoms of the cases of a part, written to a file before any rule evaluates the runs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks.diagnosis.case import Case, Part, RunSpec
from benchmarks.diagnosis.cases import BY_NAME, cases_of
from benchmarks.diagnosis.facts import facts_of
from benchmarks.diagnosis.processes import path_of
from benchmarks.diagnosis.run import Run
from benchmarks.diagnosis.truth import UNLEARNABLE, Truth, truth_of_control, truth_of_fault


@dataclass(frozen=True)
class LabeledCase:
    """A case with its true symptom."""

    name: str  # name of the case within its part
    family: str
    seed: int
    run: str  # name of the file of its run
    twin: str | None
    layers: tuple[str, ...]  # names that are right for the faulty layer
    truth: Truth


OF_FILE = TypeAdapter(list[LabeledCase])


def label(part: Part, folder: Path) -> list[LabeledCase]:
    """Label every case of a part; its runs must be in the folder."""
    return [labeled_case(case, folder) for case in cases_of(part)]


def write(labeled: Sequence[LabeledCase], path: Path) -> None:
    """Write one case per line, so that versions of the file can be compared."""
    lines = ",\n".join(TypeAdapter(LabeledCase).dump_json(case).decode() for case in labeled)
    path.write_text(f"[\n{lines}\n]\n")


def read(path: Path) -> list[LabeledCase]:
    """Read a file that `write` wrote."""
    return OF_FILE.validate_json(path.read_bytes())


def summary(labeled: Sequence[LabeledCase]) -> Iterator[str]:
    """Yield one line per family: the number of cases, their true symptoms, and why the others were dropped."""
    for family in BY_NAME:
        cases = [case for case in labeled if case.family == family]
        kept = Counter(case.truth.symptom for case in cases if case.truth.symptom is not None)
        dropped = Counter(case.truth.dropped for case in cases if case.truth.dropped is not None)
        yield f"{family}: {sum(kept.values())} of {len(cases)} {dict(kept)}, dropped {dict(dropped)}"
    healthy = sum(case.truth.symptom == "healthy" for case in labeled)
    faults = sum(case.truth.symptom is not None for case in labeled) - healthy
    yield f"{faults} faults and {healthy} healthy runs of {len(labeled)} cases"


def labeled_case(case: Case, folder: Path) -> LabeledCase:
    """Label a case; its runs must be in the folder."""
    runs = case.runs
    trained = [Run.load(path_of(folder, run)) for run in runs]
    facts = [facts_of(run) for run in trained]
    classes, learnable = trained[0].plan.objective.classes is not None, runs[0].spec.data.source != UNLEARNABLE
    if len(facts) == 1:
        truth = truth_of_control(facts[0], classes)
    else:
        truth = truth_of_fault(case, BY_NAME[case.family], facts[0], facts[1], learnable, classes)
    seed = runs[0].spec.training.seed
    return LabeledCase(case.name, case.family, seed, runs[0].key, _key(runs), case.layers, truth)


def _key(runs: Sequence[RunSpec]) -> str | None:
    return runs[1].key if len(runs) > 1 else None
