"""The detection of AUTOTRAINER, with the thresholds of its paper and the order of its published program.

Source: Zhang, Zhai, Ma and Shen, "AUTOTRAINER: An Automatic DNN Training Problem Detection and Repair System", ICSE
2021; github.com/shiningrain/AUTOTRAINER, `utils/monitor.py`. It looks after the first epoch and every third one from
there. Gradients count only in a run that does not converge, and then dying ReLU comes before exploding, and that before
vanishing. It takes the gradient of the first batch of the data; here it is that of the first recorded step after the
epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.rules import NotJudged, Rule, no_objection, pack, spotted
from service.analysis.diagnosis.values import Finding, Symptom
from service.contract.recording_spec import Statistic

BETA_1, BETA_2, BETA_3 = 1e-3, 1e-4, 70.0  # first kernel over last: vanishing with first, exploding
GAMMA = 0.7  # part of the gradients that are 0
ZETA, ETA = 0.03, 0.2  # swing of the accuracy, in such a part of the epochs
DELTA = 0.01  # gain of accuracy from one epoch to the next
THETA = 0.7  # accuracy of a run that converges
EVERY, FROM = 3, 0.3  # epochs; part of all epochs before accuracy counts


@dataclass(frozen=True)
class _Look:
    """What it sees after an epoch."""

    at: int  # index of the recorded step
    epoch: int  # epochs made
    converges: bool
    gains: bool  # accuracy, from one epoch to the next, once
    swings: int


def _looks(evidence: Evidence) -> list[_Look]:
    accuracy, validation = evidence.epochs.get("accuracy"), evidence.epochs.get("val_accuracy")
    if accuracy is None:
        raise NotJudged("accuracy is not measured: it judges classifiers only")
    looks = []
    for epoch in range(1, len(accuracy) + 1, EVERY):
        if epoch < FROM * evidence.plan.spec.training.epochs:
            continue
        measured = [accuracy[:epoch]]
        if validation is not None and not np.isnan(validation).all():
            measured.append(validation[:epoch])
        best = min(float(series.max()) for series in measured)
        gain = max(float(np.diff(series, prepend=series[0]).max()) for series in measured)
        looks.append(
            _Look(int(evidence.epoch_ends[epoch - 1]), epoch, best >= THETA, gain >= DELTA, _swings(accuracy[:epoch]))
        )
    if not looks:
        raise NotJudged(f"fewer than {FROM:.0%} of the epochs have ended")
    return looks


def _swings(accuracy: npt.NDArray[np.floating]) -> int:
    """Pairs of a local maximum and a local minimum, in the order of each, that are ZETA apart."""
    middle, before, after = accuracy[1:-1], accuracy[:-2], accuracy[2:]
    highest = middle[(middle >= before) & (middle >= after)]
    lowest = middle[(middle <= before) & (middle <= after)]
    pairs = min(len(highest), len(lowest))
    return int((highest[:pairs] - lowest[:pairs] >= ZETA).sum())


def _failing(evidence: Evidence) -> list[_Look]:
    """Where gradients count."""
    return [look for look in _looks(evidence) if not (look.converges and look.gains)]


def _ratios(evidence: Evidence) -> tuple[tuple[str, str], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """First and last kernel's layer, norm of the first one's gradient over the last one's, and the first one's."""
    rows = evidence.rows(Statistic.GRADIENT_NORM, "kernel")
    if len(rows.variables) < 2:
        raise NotJudged("the network has fewer than two kernels")
    first, last = rows.values[0].astype(np.float64), rows.values[-1].astype(np.float64)
    with np.errstate(all="ignore"):
        return (rows.variables[0].layer, rows.variables[-1].layer), first / last, first


def _zeros(evidence: Evidence) -> npt.NDArray[np.floating]:
    """Part of all entries of all gradients that are 0, at each recorded step; none where it was not recorded."""
    if Statistic.ZERO_FRACTION not in evidence.series:
        return np.zeros(len(evidence.steps))
    rows = evidence.rows(Statistic.ZERO_FRACTION)
    sizes = np.array([np.prod(variable.shape) for variable in rows.variables], np.float64)
    return np.asarray(sizes @ rows.values / sizes.sum(), np.float64)


def _vanishing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    (layer, last), ratio, norm = _ratios(evidence)
    zeros = _zeros(evidence)
    seen = [
        look.at
        for look in _failing(evidence)
        if ratio[look.at] < BETA_1 and norm[look.at] < BETA_2 and zeros[look.at] < GAMMA
    ]
    if seen:
        yield rule.found(
            "critical",
            layers=(layer,),
            steps=_between(evidence, seen),
            observed=ratio[seen[0]],
            threshold=BETA_1,
            explanation=f"The first kernel's gradient norm is {ratio[seen[0]]:.3g} times that of {last}, below "
            f"{BETA_1:g}, and {norm[seen[0]]:.3g}, below {BETA_2:g}, at step {evidence.steps[seen[0]]}.",
        )


def _exploding(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.GRADIENT_NORM)
    if where := spotted(evidence, rows, ~np.isfinite(rows.values)):
        yield rule.found(
            "critical",
            layers=where[0],
            steps=where[1],
            observed=1.0,
            threshold=0.0,
            explanation=f"Gradients are NaN or infinite from step {where[1][0]} on.",
        )
        return
    (layer, last), ratio, _ = _ratios(evidence)
    zeros = _zeros(evidence)
    seen = [look.at for look in _failing(evidence) if ratio[look.at] > BETA_3 and zeros[look.at] < GAMMA]
    if seen:
        at = seen[0]
        yield rule.found(
            "critical",
            layers=(layer,),
            steps=_between(evidence, seen),
            observed=min(ratio[at], np.finfo(np.float64).max),
            threshold=BETA_3,
            explanation=f"The first kernel's gradient norm is {ratio[at]:.3g} times that of {last}, above {BETA_3:g}, "
            f"at step {evidence.steps[at]}.",
        )


def _dying(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    zeros = _zeros(evidence)
    seen = [look.at for look in _failing(evidence) if zeros[look.at] >= GAMMA]
    if seen:
        rows = evidence.rows(Statistic.ZERO_FRACTION, "kernel")
        yield rule.found(
            "critical",
            layers=rows.layers((rows.values[:, seen] >= GAMMA).any(axis=1)),
            steps=_between(evidence, seen),
            observed=zeros[seen[0]],
            threshold=GAMMA,
            explanation=f"{zeros[seen[0]]:.1%} of all gradients are 0 at step {evidence.steps[seen[0]]}, at least "
            f"{GAMMA:.0%}.",
        )


def _slow(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    seen = [look for look in _looks(evidence) if not look.gains]
    if seen:
        yield rule.found(
            "warning",
            steps=_between(evidence, [look.at for look in seen]),
            observed=0.0,
            threshold=DELTA,
            explanation=f"After {seen[-1].epoch} epochs no epoch has raised the accuracy by {DELTA:g}.",
        )


def _oscillating(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    seen = [
        look for look in _looks(evidence) if look.swings >= max(ETA * look.epoch, 1) and look.converges and look.gains
    ]
    if seen:
        yield rule.found(
            "warning",
            steps=_between(evidence, [look.at for look in seen]),
            observed=seen[0].swings / seen[0].epoch,
            threshold=ETA,
            explanation=f"In {seen[0].epoch} epochs the accuracy swings by {ZETA:g} or more {seen[0].swings} times, at "
            f"least {ETA:.0%} of them.",
        )


def _between(evidence: Evidence, indices: list[int]) -> tuple[int, int]:
    return int(evidence.steps[indices[0]]), int(evidence.steps[indices[-1]])


RULES = (
    Rule("vanishing_gradient", Symptom.VANISHING, _vanishing),
    Rule("exploding_gradient", Symptom.EXPLODING, _exploding),
    Rule("dying_relu", Symptom.DEAD_UNITS, _dying, (Statistic.ZERO_FRACTION,)),
    Rule("slow_convergence", Symptom.SLOW_CONVERGENCE, _slow),
    Rule("oscillating_loss", Symptom.OSCILLATING_LOSS, _oscillating),
)

autotrainer = pack("autotrainer", RULES, no_objection)
