"""Runs every rule pack on the cases of a part."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.diagnosis.labeling import LabeledCase
from benchmarks.diagnosis.run import Run
from benchmarks.diagnosis.scoring import HEALTHY, Answer, Score, Scored
from benchmarks.diagnosis.stored_evidence import evidence_of
from service.analysis.diagnosis import PACKS, Diagnosis
from service.contract.plan import Plan


def evaluate(labeled: Sequence[LabeledCase], folder: Path) -> dict[str, Score]:
    """The score of each pack over the cases that were not dropped."""
    scored: dict[str, list[Scored]] = {pack: [] for pack in PACKS}
    for case in labeled:
        if case.truth.symptom is not None:
            for pack, each in _of_case(case, folder):
                scored[pack].append(each)
    return {pack: Score(each) for pack, each in scored.items()}


def answer_of(diagnosis: Diagnosis) -> Answer:
    """The symptoms and layers of a diagnosis; a rule that was not evaluated has found nothing."""
    found: dict[str, frozenset[str]] = {}
    for finding in diagnosis.findings:
        if finding.symptom != HEALTHY:
            found[str(finding.symptom)] = found.get(str(finding.symptom), frozenset()) | set(finding.layers)
    return Answer(str(diagnosis.verdict), found)


def neighbors_of(plan: Plan, layers: Collection[str]) -> frozenset[str]:
    """The layers with a kernel that are directly before or after these layers, in the order of the plan."""
    kernels = list(dict.fromkeys(v.layer for v in plan.variables if v.role == "kernel"))
    positions = [position for position, name in enumerate(kernels) if name in layers]
    if not positions:
        return frozenset()
    return frozenset(kernels[max(0, min(positions) - 1) : max(positions) + 2]) - frozenset(layers)


def _of_case(case: LabeledCase, folder: Path) -> Iterator[tuple[str, Scored]]:
    run = Run.load(folder / f"{case.run}.npz")
    evidence, neighbors = evidence_of(run), neighbors_of(run.plan, case.layers)
    packs: Mapping[str, object] = PACKS
    for pack in packs:
        yield pack, Scored(case, answer_of(PACKS[pack](evidence)), neighbors)
