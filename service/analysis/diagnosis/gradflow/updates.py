"""Steps that are too small or too large for the weights, and clipping that never lets go."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from service.analysis.diagnosis import remedies
from service.analysis.diagnosis.evidence import Evidence, Rows
from service.analysis.diagnosis.gradflow.confidence import confidence
from service.analysis.diagnosis.gradflow.gradients import cut_off, judged_reach, starved
from service.analysis.diagnosis.gradflow.loss import FEWEST_STEPS, course_of
from service.analysis.diagnosis.gradflow.reach import Float64s, middle
from service.analysis.diagnosis.rules import NotJudged, Rule, whole
from service.analysis.diagnosis.values import Finding, Symptom
from service.contract.recording_spec import Statistic

LARGEST_RATIO = 0.1  # of its own size that a kernel changes by in one step
LEAST_TRAVEL = 0.1  # of its own size that a kernel can have moved by in all
UNLEARNT = 0.5  # of the first loss
STEADY = 0.02  # of the loss: fall from each third of the run to the next
ALWAYS = 0.95  # of the steps
CUT = 2.0  # times smaller


@dataclass(frozen=True, eq=False)
class Movement:
    """How far kernels move, as parts of their own sizes."""

    rows: Rows
    ratios: Float64s  # [kernels] update_ratio of the median step
    travel: float  # of the kernel that moves most, all its update ratios together, at this pace to the end of the run
    most: int  # which that is

    @property
    def layer(self) -> str:
        """That of the kernel that moves most."""
        return self.rows.variables[self.most].layer


def movement_of(evidence: Evidence) -> Movement:
    """From update ratios; where a kernel is all zeros there is none, which counts as 0.

    Raises:
        NotJudged: the network has no kernel.
    """
    rows = evidence.rows(Statistic.UPDATE_RATIO, "kernel", "recurrent_kernel")
    known = np.where(np.isfinite(rows.values), rows.values, 0.0).astype(np.float64)
    if known.size == 0:
        raise NotJudged("the network has no kernel")
    made = max(len(evidence.step_loss), 1)
    sums = known.sum(axis=1) * evidence.steps_apart * max(evidence.plan.work.total_steps / made, 1.0)
    most = int(np.argmax(sums))
    return Movement(rows, middle(known), float(sums[most]), most)


def _for_want_of_a_gradient(evidence: Evidence) -> bool:
    """Whether weights stay because no gradient arrives, which is another symptom."""
    reach = judged_reach(evidence)
    return bool(starved(reach)[1].any() or cut_off(reach))


def _slow(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    course = course_of(evidence)
    if course.last < UNLEARNT * course.first or _for_want_of_a_gradient(evidence):
        return
    spec = evidence.plan.spec
    if Statistic.UPDATE_RATIO in evidence.series:
        moved = evidence.once(movement_of)
        travel, ratio = moved.travel, moved.ratios[moved.most]
        if travel >= LEAST_TRAVEL:
            return
        yield rule.found(
            "warning",
            steps=whole(evidence),
            observed=travel,
            threshold=LEAST_TRAVEL,
            confidence=confidence(math.log10(LEAST_TRAVEL / max(travel, 1e-12)), 1.0, len(evidence.steps)),
            explanation=f"No kernel moves: the update_ratios of {moved.layer}, which moves most, are {ratio:.1e} in "
            f"the median step and add up to {travel:.2g} over all {evidence.plan.work.total_steps} steps of the run: "
            f"it cannot change by more than that part of its size, and less than {LEAST_TRAVEL:g} is little. The mean "
            f"step_loss is {course.first:.4g} over the first twentieth of the steps made and {course.last:.4g} over "
            "the last quarter.",
            remedies=(
                *remedies.rate(
                    spec, min(1e3, max(10.0, 1 / max(travel, 1e-3))), "then the weights can move by their own size"
                ),
                *remedies.more_epochs(spec),
            ),
        )
        return
    third = len(course.means) // 3
    parts = [float(course.means[i * third : (i + 1) * third].mean()) for i in range(3)]
    steadily = all(a > 0 and 1 - b / a > STEADY for a, b in pairwise(parts))
    if not steadily or course.last < 0.8 * course.first:
        return
    yield rule.found(
        "warning",
        steps=whole(evidence),
        observed=1 - course.last / course.first,
        threshold=0.2,
        confidence=confidence(0.0, 1.0, len(evidence.steps)),
        explanation=f"The loss falls without a break, from {parts[0]:.4g} over {parts[1]:.4g} to {parts[2]:.4g} in the "
        "thirds of the run, and has come a fifth of the way at most.",
        remedies=(*remedies.rate(spec, 10.0, "it goes the same way ten times as fast"), *remedies.more_epochs(spec)),
    )


def _out_of_range(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    if len(evidence.step_loss) < FEWEST_STEPS:
        raise NotJudged(f"fewer than {FEWEST_STEPS} steps were made")
    moved = evidence.once(movement_of)
    rows, ratios, travel = moved.rows, moved.ratios, moved.travel
    large = ratios > LARGEST_RATIO
    if large.any():
        worst = int(np.argmax(ratios))
        yield rule.found(
            "warning",
            layers=rows.layers(large),
            steps=whole(evidence),
            observed=float(ratios[worst]),
            threshold=LARGEST_RATIO,
            confidence=confidence(math.log10(ratios[worst] / LARGEST_RATIO), 1.0, len(evidence.steps)),
            explanation=f"{rows.variables[worst].layer} changes by {ratios[worst]:.1%} of its own size in the median "
            f"step (update_ratio), more than {LARGEST_RATIO:.0%}: what one batch says is written over by the next.",
            remedies=remedies.rate(evidence.plan.spec, 0.1, "smaller steps average over more batches"),
        )
        return
    ratio = ratios[moved.most]
    course = course_of(evidence)
    if travel >= LEAST_TRAVEL or course.last < UNLEARNT * course.first or _for_want_of_a_gradient(evidence):
        return
    yield rule.found(
        "warning",
        layers=(moved.layer,),
        steps=whole(evidence),
        observed=ratio,
        threshold=LEAST_TRAVEL / evidence.plan.work.total_steps,
        confidence=confidence(math.log10(LEAST_TRAVEL / max(travel, 1e-12)), 1.0, len(evidence.steps)),
        explanation=f"The update_ratio of {moved.layer}, which moves most, is {ratio:.1e} in the median step; over all "
        f"{evidence.plan.work.total_steps} steps of the run that adds up to {travel:.2g} of its size, less than "
        f"{LEAST_TRAVEL:g}.",
        remedies=remedies.rate(evidence.plan.spec, 10.0, "larger steps bring the weights somewhere"),
    )


def _clipping(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    if evidence.plan.spec.training.gradient_clipping is None:
        return
    if Statistic.CLIPPED_NORM not in evidence.series:
        raise NotJudged("not recorded: clipped_norm", Statistic.CLIPPED_NORM)
    before, after = evidence.rows(Statistic.GRADIENT_NORM), evidence.rows(Statistic.CLIPPED_NORM)
    ratio = np.nanmax(np.where(after.values > 0, before.values / after.values, np.nan), axis=0, initial=1.0)
    part = float((ratio > 1.001).mean())
    typical = float(np.median(ratio))
    if part < ALWAYS or typical < CUT:
        return
    threshold = evidence.plan.spec.training.gradient_clipping.threshold
    yield rule.found(
        "info" if evidence.plan.spec.training.optimizer.name != "sgd" else "warning",
        steps=whole(evidence),
        observed=part,
        threshold=ALWAYS,
        confidence=confidence(math.log10(typical), part, len(evidence.steps)),
        explanation=f"In {part:.0%} of the recorded steps the gradient is clipped (clipped_norm below gradient_norm), "
        f"in the median step to 1/{typical:.3g} of its size. The threshold of {threshold:g} is then no safeguard, but "
        "a learning rate.",
        remedies=remedies.unclipped(evidence.plan.spec, threshold * typical * 3),
    )


RULES = (
    Rule("weights_stay", Symptom.SLOW_CONVERGENCE, _slow),
    Rule("update_ratio", Symptom.UPDATE_RATIO_OUT_OF_RANGE, _out_of_range, (Statistic.UPDATE_RATIO,)),
    Rule("clipped_at_every_step", Symptom.CLIPPING_ALWAYS_ON, _clipping),
)
