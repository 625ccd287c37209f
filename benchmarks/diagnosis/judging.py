"""The truth of a part in a file, written before any rule has seen its runs."""

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
class Judged:
    """A case with its truth."""

    name: str  # of the case, within its part
    family: str
    seed: int
    run: str  # the key of its run's file
    twin: str | None
    layers: tuple[str, ...]  # names that are right for the one at fault
    truth: Truth


OF_FILE = TypeAdapter(list[Judged])


def judge(part: Part, folder: Path) -> list[Judged]:
    """Every case of a part whose runs are in the folder."""
    return [judged_case(case, folder) for case in cases_of(part)]


def write(judged: Sequence[Judged], path: Path) -> None:
    """One case a line, so that versions of the file compare."""
    lines = ",\n".join(TypeAdapter(Judged).dump_json(case).decode() for case in judged)
    path.write_text(f"[\n{lines}\n]\n")


def read(path: Path) -> list[Judged]:
    """What `write` wrote."""
    return OF_FILE.validate_json(path.read_bytes())


def summary(judged: Sequence[Judged]) -> Iterator[str]:
    """Of each family: how many cases count, as what, and why the others do not."""
    for family in BY_NAME:
        cases = [case for case in judged if case.family == family]
        kept = Counter(case.truth.symptom for case in cases if case.truth.symptom is not None)
        dropped = Counter(case.truth.dropped for case in cases if case.truth.dropped is not None)
        yield f"{family}: {sum(kept.values())} of {len(cases)} {dict(kept)}, dropped {dict(dropped)}"
    healthy = sum(case.truth.symptom == "healthy" for case in judged)
    faults = sum(case.truth.symptom is not None for case in judged) - healthy
    yield f"{faults} faults and {healthy} healthy runs of {len(judged)} cases"


def judged_case(case: Case, folder: Path) -> Judged:
    """A case whose runs are in the folder."""
    runs = case.runs
    trained = [Run.load(path_of(folder, run)) for run in runs]
    facts = [facts_of(run) for run in trained]
    classes, learnable = trained[0].plan.objective.classes is not None, runs[0].spec.data.source != UNLEARNABLE
    if len(facts) == 1:
        truth = truth_of_control(facts[0], classes)
    else:
        truth = truth_of_fault(case, BY_NAME[case.family], facts[0], facts[1], learnable, classes)
    seed = runs[0].spec.training.seed
    return Judged(case.name, case.family, seed, runs[0].key, _key(runs), case.layers, truth)


def _key(runs: Sequence[RunSpec]) -> str | None:
    return runs[1].key if len(runs) > 1 else None
