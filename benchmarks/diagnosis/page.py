"""Writes the results of the benchmark between the markers of docs/diagnosis.md."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.diagnosis import criteria
from benchmarks.diagnosis.case import Part
from benchmarks.diagnosis.cases import FAMILIES
from benchmarks.diagnosis.labeling import LabeledCase
from benchmarks.diagnosis.scoring import HEALTHY, Score, Scored, Share
from benchmarks.report.page import table

PAGE = Path(__file__).parents[2] / "docs" / "diagnosis.md"
PICTURE = PAGE.parent / "images" / "diagnosis.png"
PLACE = re.compile(
    r"(?<=<!-- written by python -m benchmarks.diagnosis: results -->\n).*?(?=<!-- to here -->)", re.DOTALL
)
NONE = "–"


def with_results(page: str, text: str) -> str:
    """The page with new results.

    Raises:
        ValueError: The page has no markers for the results.
    """
    if PLACE.search(page) is None:
        raise ValueError("the page has no markers for the results")
    return PLACE.sub(lambda _: f"\n{text.strip()}\n\n", page, count=1)


def results(part: Part, labeled: Sequence[LabeledCase], scores: Mapping[str, Score]) -> str:
    """The text of the results, with all tables."""
    return "\n\n".join(
        [
            _intro(part, labeled),
            _families(labeled),
            criteria.TEXT,
            "### Overall",
            _in_all(scores),
            f"![Recall by symptom, faults found, layers named and false alarms of each pack](images/{PICTURE.name})",
            "### By symptom",
            "F1 of each pack; the best of a row in bold.",
            _f1(scores),
            *(f"{_heading(pack)}\n\n{_symptoms(score)}" for pack, score in scores.items()),
            "### Confusion",
            "Rows are the true symptom, columns the verdict: the most severe symptom that the pack reports.",
            *(f"`{pack}`:\n\n{_confusion(score)}" for pack, score in scores.items()),
            "### Misses of `gradflow`",
            _misses(scores["gradflow"]),
        ]
    )


def _intro(part: Part, labeled: Sequence[LabeledCase]) -> str:
    healthy = sum(case.truth.symptom == HEALTHY for case in labeled)
    dropped = sum(case.truth.symptom is None for case in labeled)
    faults = len(labeled) - healthy - dropped
    seeds = [case.seed for case in labeled]
    others = " and ".join(f"{other.value:,}" for other in Part if other.is_held_out != part.is_held_out)
    kind = "development" if part.is_held_out else "held-out"
    return (
        f"The {_words(part)} part: {faults} faults and {healthy} healthy runs, seeds {min(seeds):,} to {max(seeds):,}; "
        f"the {kind} parts have seeds from {others} on and share no run with it. Of {len(labeled)} cases {dropped} "
        "were dropped because of their outcome before any pack ran, as the table shows. Intervals are 95 % (Wilson)."
    )


def _words(part: Part) -> str:
    return part.name.lower().replace("held_out", "held-out").replace("_", " ")


def _heading(pack: str) -> str:
    return f"`{pack}`, with intervals:"


def _families(labeled: Sequence[LabeledCase]) -> str:
    rows = []
    for family in FAMILIES:
        cases = [case for case in labeled if case.family == family.name]
        kept = Counter(case.truth.symptom for case in cases if case.truth.symptom is not None)
        dropped = Counter(case.truth.dropped for case in cases if case.truth.dropped is not None)
        truth = ", ".join(name if len(kept) == 1 else f"{count} {name}" for name, count in kept.most_common())
        right = ", ".join(sorted(family.right)) + (", any symptom whose criterion holds" if family.any_name else "")
        why = ", ".join(f"{count} {why}" for why, count in dropped.most_common())
        rows.append([family.name, family.what, str(sum(kept.values())), truth, right.strip(", "), why])
    return table(("family", "fault or kind", "cases", "true symptom", "also right", "dropped"), rows)


def _in_all(scores: Mapping[str, Score]) -> str:
    rows = [
        [pack, *(_with_interval(s) for s in (score.all_faults, score.false_alarms, score.layers, score.layers_alone))]
        for pack, score in scores.items()
    ]
    header = ("pack", "faults found", "false alarms", "faulty layer named", "only it or a neighbor named")
    return table(header, rows)


def _f1(scores: Mapping[str, Score]) -> str:
    rows = []
    for symptom, faults in true_symptoms(scores).items():
        values = [score.symptoms[symptom].f1 or 0.0 for score in scores.values()]
        cells = [f"**{v:.3f}**" if v == max(values) > 0 else f"{v:.3f}" for v in values]
        rows.append([symptom, str(faults), *cells])
    return table(("symptom", "faults", *scores), rows)


def _symptoms(score: Score) -> str:
    rows = [
        [
            name,
            _with_interval(found.precision),
            _with_interval(found.recall),
            NONE if found.f1 is None else f"{found.f1:.3f}",
        ]
        for name, found in sorted(score.symptoms.items(), key=lambda each: -each[1].recall.of)
    ]
    return table(("symptom", "precision", "recall", "F1"), rows)


def _confusion(score: Score) -> str:
    counts = score.confusion
    true, verdicts = (list(dict.fromkeys(sorted(pair[i] for pair in counts))) for i in (0, 1))
    rows = [[name, *(str(counts[name, verdict] or "") for verdict in verdicts)] for name in true]
    return table(("", *verdicts), rows)


def _misses(score: Score) -> str:
    misses = score.misses
    if not misses:
        return "None."
    return table(("case", "seed", "true symptom", "reported"), [_miss(each) for each in misses])


def _miss(each: Scored) -> list[str]:
    reported = ", ".join(sorted(each.answer.found)) or "nothing"
    return [each.case.name, f"{each.case.seed:,}", each.symptom, reported]


def true_symptoms(scores: Mapping[str, Score]) -> dict[str, int]:
    """The true symptoms of the faults with their number of faults, the most frequent first."""
    counts = Counter(each.symptom for score in list(scores.values())[:1] for each in score.scored)
    return {name: count for name, count in counts.most_common() if name != HEALTHY}


def _with_interval(share: Share) -> str:
    if share.value is None or share.interval is None:
        return NONE
    low, high = share.interval
    return f"{100 * share.value:.1f} % ({100 * low:.1f}–{100 * high:.1f}; {share.count} of {share.of})"
