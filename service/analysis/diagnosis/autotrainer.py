"""The rules of AUTOTRAINER, with the thresholds of its paper and the order of its published program.

Source: Zhang, Zhai, Ma and Shen, "AUTOTRAINER: An Automatic DNN Training Problem Detection and Repair System", ICSE
2021; github.com/shiningrain/AUTOTRAINER, `utils/monitor.py`. The program checks a run after its first epoch and after
every third epoch from there. Gradients count only in a run that does not converge, and then dying ReLU has precedence
over exploding and vanishing gradients. The program computes the gradient of the first batch of the data; these rules
take that of the first recorded step after the epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.rules import CannotEvaluate, Rule, affected, no_objection, pack
from service.analysis.diagnosis.values import Finding, Symptom
from service.contract.recording_spec import Statistic

# The paper calls them beta_1, beta_2, beta_3, gamma, zeta, eta, delta and theta, in this order.
MIN_NORM_RATIO = 1e-3  # gradient norm of the first kernel divided by that of the last
MIN_FIRST_NORM = 1e-4  # gradient norm of the first kernel
MAX_NORM_RATIO = 70.0  # gradient norm of the first kernel divided by that of the last
MAX_ZERO_FRACTION = 0.7  # fraction of all gradient entries that are 0
SWING = 0.03  # difference of accuracy between a local maximum and a local minimum
SWING_FRACTION = 0.2  # swings per epoch
MIN_GAIN = 0.01  # gain of accuracy from one epoch to the next
CONVERGED_ACCURACY = 0.7  # accuracy of a run that converges
CHECK_EVERY = 3  # epochs from one check to the next
CHECK_FROM = 0.3  # fraction of all epochs before the first check


@dataclass(frozen=True)
class _Check:
    """State of the run after an epoch."""

    at: int  # index of the first recorded step after the epoch
    epoch: int  # number of finished epochs
    converges: bool  # accuracy has reached CONVERGED_ACCURACY
    gains: bool  # an epoch has raised the accuracy by MIN_GAIN
    swings: int  # number of swings of the accuracy


def _checks(evidence: Evidence) -> list[_Check]:
    """All checks of a run so far; CannotEvaluate if there are none."""
    accuracy, validation = evidence.epochs.get("accuracy"), evidence.epochs.get("val_accuracy")
    if accuracy is None:
        raise CannotEvaluate("accuracy is not measured: this pack applies to classifiers only")
    checks = []
    for epoch in range(1, len(accuracy) + 1, CHECK_EVERY):
        if epoch < CHECK_FROM * evidence.plan.spec.training.epochs:
            continue
        measured = [accuracy[:epoch]]
        if validation is not None and not np.isnan(validation).all():
            measured.append(validation[:epoch])
        best = min(float(series.max()) for series in measured)
        gain = max(float(np.diff(series, prepend=series[0]).max()) for series in measured)
        checks.append(
            _Check(
                int(evidence.epoch_ends[epoch - 1]),
                epoch,
                best >= CONVERGED_ACCURACY,
                gain >= MIN_GAIN,
                _swings(accuracy[:epoch]),
            )
        )
    if not checks:
        raise CannotEvaluate(f"fewer than {CHECK_FROM:.0%} of the epochs have ended")
    return checks


def _swings(accuracy: npt.NDArray[np.floating]) -> int:
    """Number of swings: the n-th local maximum and the n-th local minimum are one if they differ by SWING or more."""
    middle, before, after = accuracy[1:-1], accuracy[:-2], accuracy[2:]
    highest = middle[(middle >= before) & (middle >= after)]
    lowest = middle[(middle <= before) & (middle <= after)]
    pairs = min(len(highest), len(lowest))
    return int((highest[:pairs] - lowest[:pairs] >= SWING).sum())


def _failing(evidence: Evidence) -> list[_Check]:
    """The checks at which the run does not converge; gradients count only there."""
    return [check for check in _checks(evidence) if not (check.converges and check.gains)]


def _ratios(evidence: Evidence) -> tuple[tuple[str, str], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Ratio of the first kernel's gradient norm to that of the last, and the first norm itself.

    Returns:
        Names of the first and the last kernel's layer, the ratio [recorded steps], and the norm [recorded steps].
    """
    rows = evidence.rows(Statistic.GRADIENT_NORM, "kernel")
    if len(rows.variables) < 2:
        raise CannotEvaluate("the network has fewer than two kernels")
    first, last = rows.values[0].astype(np.float64), rows.values[-1].astype(np.float64)
    with np.errstate(all="ignore"):
        return (rows.variables[0].layer, rows.variables[-1].layer), first / last, first


def _zeros(evidence: Evidence) -> npt.NDArray[np.floating]:
    """Fraction of all gradient entries that are 0 [recorded steps]; 0 if it was not recorded."""
    if Statistic.ZERO_FRACTION not in evidence.series:
        return np.zeros(len(evidence.steps))
    rows = evidence.rows(Statistic.ZERO_FRACTION)
    sizes = np.array([np.prod(variable.shape) for variable in rows.variables], np.float64)
    return np.asarray(sizes @ rows.values / sizes.sum(), np.float64)


def _vanishing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    (layer, last), ratio, norm = _ratios(evidence)
    zeros = _zeros(evidence)
    seen = [
        check.at
        for check in _failing(evidence)
        if ratio[check.at] < MIN_NORM_RATIO and norm[check.at] < MIN_FIRST_NORM and zeros[check.at] < MAX_ZERO_FRACTION
    ]
    if seen:
        yield rule.found(
            "critical",
            layers=(layer,),
            steps=_between(evidence, seen),
            observed=ratio[seen[0]],
            threshold=MIN_NORM_RATIO,
            explanation=f"The gradient norm of the first kernel is {ratio[seen[0]]:.3g} times that of {last}, below "
            f"{MIN_NORM_RATIO:g}, and is {norm[seen[0]]:.3g}, below {MIN_FIRST_NORM:g}, at step "
            f"{evidence.steps[seen[0]]}.",
        )


def _exploding(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.GRADIENT_NORM)
    if where := affected(evidence, rows, ~np.isfinite(rows.values)):
        yield rule.found(
            "critical",
            *where,
            observed=1.0,
            threshold=0.0,
            explanation=f"Gradients are NaN or infinite from step {where[0][0]} on.",
        )
        return
    (layer, last), ratio, _ = _ratios(evidence)
    zeros = _zeros(evidence)
    seen = [
        check.at
        for check in _failing(evidence)
        if ratio[check.at] > MAX_NORM_RATIO and zeros[check.at] < MAX_ZERO_FRACTION
    ]
    if seen:
        at = seen[0]
        yield rule.found(
            "critical",
            layers=(layer,),
            steps=_between(evidence, seen),
            observed=min(ratio[at], np.finfo(np.float64).max),
            threshold=MAX_NORM_RATIO,
            explanation=f"The gradient norm of the first kernel is {ratio[at]:.3g} times that of {last}, above "
            f"{MAX_NORM_RATIO:g}, at step {evidence.steps[at]}.",
        )


def _dying(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    zeros = _zeros(evidence)
    seen = [check.at for check in _failing(evidence) if zeros[check.at] >= MAX_ZERO_FRACTION]
    if seen:
        rows = evidence.rows(Statistic.ZERO_FRACTION, "kernel")
        yield rule.found(
            "critical",
            layers=rows.layers((rows.values[:, seen] >= MAX_ZERO_FRACTION).any(axis=1)),
            steps=_between(evidence, seen),
            observed=zeros[seen[0]],
            threshold=MAX_ZERO_FRACTION,
            explanation=f"{zeros[seen[0]]:.1%} of all gradient entries are 0 at step {evidence.steps[seen[0]]}, at "
            f"least {MAX_ZERO_FRACTION:.0%}.",
        )


def _slow(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    seen = [check for check in _checks(evidence) if not check.gains]
    if seen:
        yield rule.found(
            "warning",
            steps=_between(evidence, [check.at for check in seen]),
            observed=0.0,
            threshold=MIN_GAIN,
            explanation=f"In {seen[-1].epoch} epochs no epoch has raised the accuracy by {MIN_GAIN:g}.",
        )


def _oscillating(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    seen = [
        check
        for check in _checks(evidence)
        if check.swings >= max(SWING_FRACTION * check.epoch, 1) and check.converges and check.gains
    ]
    if seen:
        yield rule.found(
            "warning",
            steps=_between(evidence, [check.at for check in seen]),
            observed=seen[0].swings / seen[0].epoch,
            threshold=SWING_FRACTION,
            explanation=f"In {seen[0].epoch} epochs the accuracy swings {seen[0].swings} times by {SWING:g} or more, "
            f"which is at least {SWING_FRACTION:.0%} of the number of epochs.",
        )


def _between(evidence: Evidence, indices: list[int]) -> tuple[int, int]:
    """Step numbers of the first and the last index."""
    return int(evidence.steps[indices[0]]), int(evidence.steps[indices[-1]])


RULES = (
    Rule("vanishing_gradient", Symptom.VANISHING, _vanishing),
    Rule("exploding_gradient", Symptom.EXPLODING, _exploding),
    Rule("dying_relu", Symptom.DEAD_UNITS, _dying, (Statistic.ZERO_FRACTION,)),
    Rule("slow_convergence", Symptom.SLOW_CONVERGENCE, _slow),
    Rule("oscillating_loss", Symptom.OSCILLATING_LOSS, _oscillating),
)

autotrainer = pack("autotrainer", RULES, no_objection)
