"""Updates that are too small or too large for the weights, and clipping at every step."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from service.analysis.diagnosis import remedies
from service.analysis.diagnosis.evidence import Evidence, Rows
from service.analysis.diagnosis.gradflow.confidence import confidence
from service.analysis.diagnosis.gradflow.gradients import evaluated_reach, is_cut_off, starved_kernels
from service.analysis.diagnosis.gradflow.loss import MIN_STEPS, loss_curve
from service.analysis.diagnosis.gradflow.reach import Float64s, median_over_steps
from service.analysis.diagnosis.rules import CannotEvaluate, Rule, recorded_range
from service.analysis.diagnosis.values import Finding, Symptom
from service.contract.recording_spec import Statistic

# Thresholds are round numbers of this project; docs/diagnosis.md states on which runs they were chosen.
MAX_UPDATE_RATIO = 0.1  # norm of an update / norm of the kernel, at the median step
MIN_TRAVEL = 0.1  # sum of all update ratios of a kernel over the whole run
UNLEARNED = 0.5  # fraction of the first loss; above it there is still much to learn
STEADY_FALL = 0.02  # relative fall of the loss from each third of the run to the next
MIN_TOTAL_FALL = 0.2  # relative fall of the loss over the run so far
ALWAYS = 0.95  # fraction of the recorded steps
CLIPPED = 1.001  # gradient norm before clipping / after it, from which a step counts as clipped
MIN_REDUCTION = 2.0  # gradient norm before clipping / after it, at the median step
CLIPPING_HEADROOM = 3.0  # proposed clipping threshold as a multiple of the median gradient norm
MIN_LOGARITHM = 1e-12  # smallest travel in a confidence, so that its logarithm is finite
MAX_RATE_FACTOR = 1e3  # largest factor of the learning rate in a remedy


@dataclass(frozen=True, eq=False)
class Movement:
    """How far kernels move, in units of their own norm."""

    rows: Rows
    ratios: Float64s  # [kernels], update_ratio at the median step
    travel: float  # sum of the update ratios of the kernel that moves most, extrapolated to the end of the run
    most: int  # index of that kernel

    @property
    def layer(self) -> str:
        """Name of the layer of the kernel that moves most."""
        return self.rows.variables[self.most].layer


def movement_of(evidence: Evidence) -> Movement:
    """The movement of all kernels, from update ratios; a kernel that is all zeros has none, which counts as 0.

    Raises:
        CannotEvaluate: the network has no kernel.
        KeyError: update_ratio was not recorded.
    """
    rows = evidence.rows(Statistic.UPDATE_RATIO, "kernel", "recurrent_kernel")
    known = np.where(np.isfinite(rows.values), rows.values, 0.0).astype(np.float64)
    if known.size == 0:
        raise CannotEvaluate("the network has no kernel")
    made = max(len(evidence.step_loss), 1)
    sums = known.sum(axis=1) * evidence.steps_per_record * max(evidence.plan.work.total_steps / made, 1.0)
    most = int(np.argmax(sums))
    return Movement(rows, median_over_steps(known), float(sums[most]), most)


def _has_no_gradient(evidence: Evidence) -> bool:
    """Whether weights do not move because no gradient arrives, which other rules report."""
    reach = evaluated_reach(evidence)
    return bool(starved_kernels(reach)[1].any() or is_cut_off(reach))


def _slow(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    curve = loss_curve(evidence)
    if curve.last < UNLEARNED * curve.first or _has_no_gradient(evidence):
        return
    spec = evidence.plan.spec
    if Statistic.UPDATE_RATIO in evidence.series:
        moved = evidence.once(movement_of)
        travel, ratio = moved.travel, moved.ratios[moved.most]
        if travel >= MIN_TRAVEL:
            return
        factor = min(MAX_RATE_FACTOR, max(10.0, 1 / max(travel, 1 / MAX_RATE_FACTOR)))
        yield rule.found(
            "warning",
            steps=recorded_range(evidence),
            observed=travel,
            threshold=MIN_TRAVEL,
            confidence=confidence(math.log10(MIN_TRAVEL / max(travel, MIN_LOGARITHM)), 1.0, len(evidence.steps)),
            explanation=f"No kernel moves far. {moved.layer} moves most: its update_ratio is {ratio:.1e} at the median "
            f"step, and its update ratios add up to {travel:.2g} over all {evidence.plan.work.total_steps} steps of "
            f"the run, which is less than {MIN_TRAVEL:g}: it cannot change by more than that fraction of its size. The "
            f"mean step_loss is {curve.first:.4g} over the first twentieth of the steps so far and {curve.last:.4g} "
            "over the last quarter.",
            remedies=(
                *remedies.rate(spec, factor, "the weights can then move by as much as their own size"),
                *remedies.more_epochs(spec),
            ),
        )
        return
    third = len(curve.means) // 3
    parts = [float(curve.means[i * third : (i + 1) * third].mean()) for i in range(3)]
    steadily = all(a > 0 and 1 - b / a > STEADY_FALL for a, b in pairwise(parts))
    if not steadily or curve.last < (1 - MIN_TOTAL_FALL) * curve.first:
        return
    yield rule.found(
        "warning",
        steps=recorded_range(evidence),
        observed=1 - curve.last / curve.first,
        threshold=MIN_TOTAL_FALL,
        confidence=confidence(0.0, 1.0, len(evidence.steps)),
        explanation=f"The loss falls steadily, from {parts[0]:.4g} over {parts[1]:.4g} to {parts[2]:.4g} in the three "
        "thirds of the run, but by a fifth at most in all.",
        remedies=(*remedies.rate(spec, 10.0, "the loss then falls ten times as fast"), *remedies.more_epochs(spec)),
    )


def _out_of_range(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    if len(evidence.step_loss) < MIN_STEPS:
        raise CannotEvaluate(f"fewer than {MIN_STEPS} steps were made")
    moved = evidence.once(movement_of)
    rows, ratios, travel = moved.rows, moved.ratios, moved.travel
    large = ratios > MAX_UPDATE_RATIO
    if large.any():
        worst = int(np.argmax(ratios))
        yield rule.found(
            "warning",
            layers=rows.layers(large),
            steps=recorded_range(evidence),
            observed=float(ratios[worst]),
            threshold=MAX_UPDATE_RATIO,
            confidence=confidence(math.log10(ratios[worst] / MAX_UPDATE_RATIO), 1.0, len(evidence.steps)),
            explanation=f"The kernel of {rows.variables[worst].layer} changes by {ratios[worst]:.1%} of its own size "
            f"at the median step (update_ratio), more than {MAX_UPDATE_RATIO:.0%}: each batch overwrites what the "
            "network has learned from the previous one.",
            remedies=remedies.rate(evidence.plan.spec, 0.1, "smaller steps average over more batches"),
        )
        return
    ratio = ratios[moved.most]
    curve = loss_curve(evidence)
    if travel >= MIN_TRAVEL or curve.last < UNLEARNED * curve.first or _has_no_gradient(evidence):
        return
    yield rule.found(
        "warning",
        layers=(moved.layer,),
        steps=recorded_range(evidence),
        observed=ratio,
        threshold=MIN_TRAVEL / evidence.plan.work.total_steps,
        confidence=confidence(math.log10(MIN_TRAVEL / max(travel, MIN_LOGARITHM)), 1.0, len(evidence.steps)),
        explanation=f"{moved.layer} moves most, and its update_ratio is {ratio:.1e} at the median step. Over all "
        f"{evidence.plan.work.total_steps} steps of the run its update ratios add up to {travel:.2g} of its size, less "
        f"than {MIN_TRAVEL:g}.",
        remedies=remedies.rate(evidence.plan.spec, 10.0, "larger steps move the weights further"),
    )


def _clipping(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    if evidence.plan.spec.training.gradient_clipping is None:
        return
    if Statistic.CLIPPED_NORM not in evidence.series:
        raise CannotEvaluate("not recorded: clipped_norm", Statistic.CLIPPED_NORM)
    before, after = evidence.rows(Statistic.GRADIENT_NORM), evidence.rows(Statistic.CLIPPED_NORM)
    ratio = np.nanmax(np.where(after.values > 0, before.values / after.values, np.nan), axis=0, initial=1.0)
    fraction = float((ratio > CLIPPED).mean())
    typical = float(np.median(ratio))
    if fraction < ALWAYS or typical < MIN_REDUCTION:
        return
    threshold = evidence.plan.spec.training.gradient_clipping.threshold
    yield rule.found(
        "info" if evidence.plan.spec.training.optimizer.name != "sgd" else "warning",
        steps=recorded_range(evidence),
        observed=fraction,
        threshold=ALWAYS,
        confidence=confidence(math.log10(typical), fraction, len(evidence.steps)),
        explanation=f"In {fraction:.0%} of the recorded steps the gradient is clipped (clipped_norm is below "
        f"gradient_norm), at the median step to 1/{typical:.3g} of its size. A threshold of {threshold:g} is no "
        "safeguard against rare large gradients then; it acts as a learning rate.",
        remedies=remedies.unclipped(evidence.plan.spec, threshold * typical * CLIPPING_HEADROOM),
    )


RULES = (
    Rule("weights_stay", Symptom.SLOW_CONVERGENCE, _slow),
    Rule("update_ratio", Symptom.UPDATE_RATIO_OUT_OF_RANGE, _out_of_range, (Statistic.UPDATE_RATIO,)),
    Rule("clipped_at_every_step", Symptom.CLIPPING_ALWAYS_ON, _clipping),
)
