"""Every pack's answers to the cases of a part."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.diagnosis.judging import Judged
from benchmarks.diagnosis.run import Run
from benchmarks.diagnosis.scoring import HEALTHY, Answer, Score, Scored
from benchmarks.diagnosis.stored_evidence import evidence_of
from service.analysis.diagnosis import PACKS, Diagnosis
from service.contract.plan import Plan


def evaluate(judged: Sequence[Judged], folder: Path) -> dict[str, Score]:
    """The score of each pack over the cases that count."""
    scored: dict[str, list[Scored]] = {pack: [] for pack in PACKS}
    for case in judged:
        if case.truth.symptom is not None:
            for pack, each in _of_case(case, folder):
                scored[pack].append(each)
    return {pack: Score(each) for pack, each in scored.items()}


def answer_of(diagnosis: Diagnosis) -> Answer:
    """A diagnosis without its words and numbers; a rule that was not evaluated has found nothing."""
    found: dict[str, frozenset[str]] = {}
    for finding in diagnosis.findings:
        if finding.symptom != HEALTHY:
            found[str(finding.symptom)] = found.get(str(finding.symptom), frozenset()) | set(finding.layers)
    return Answer(str(diagnosis.verdict), found)


def neighbors_of(plan: Plan, layers: Collection[str]) -> frozenset[str]:
    """The layers with a kernel that stand next to these; in a stack all stand in a row."""
    kernels = list(dict.fromkeys(v.layer for v in plan.variables if v.role == "kernel"))
    places = [place for place, name in enumerate(kernels) if name in layers]
    if not places:
        return frozenset()
    return frozenset(kernels[max(0, min(places) - 1) : max(places) + 2]) - frozenset(layers)


def _of_case(case: Judged, folder: Path) -> Iterator[tuple[str, Scored]]:
    run = Run.load(folder / f"{case.run}.npz")
    evidence, neighbors = evidence_of(run), neighbors_of(run.plan, case.layers)
    packs: Mapping[str, object] = PACKS
    for pack in packs:
        yield pack, Scored(case, answer_of(PACKS[pack](evidence)), neighbors)
