"""The built-in rules of Amazon SageMaker Debugger with their documented defaults.

Source: "List of Debugger built-in rules", Amazon SageMaker AI Developer Guide. Debugger looks at the tensors that a job
has saved; here each rule looks at every recorded step.
"""

from collections.abc import Iterator

import numpy as np

from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.rules import NotJudged, Rule, no_objection, pack, spotted
from service.analysis.diagnosis.values import Finding, Symptom
from service.contract.recording_spec import Statistic

VANISHING_MEAN = 1e-7
DEAD_PART = 0.5  # threshold_layer, of units that are active for less than 1 % of the inputs
SATURATED_PART = 0.5  # threshold_layer
VARIANCE_RATIO, FIRST_STEPS = 10.0, 10
LARGE_UPDATE, SMALL_UPDATE = 10.0, 1e-8
LOSS_WINDOW, LOSS_DECREASE = 10, 0.001  # num_steps, diff_percent
OVERFIT_RATIO = 0.1
RECTIFIERS = ("relu", "relu6")


def _vanishing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.MEAN_ABS_GRADIENT)
    if where := spotted(evidence, rows, rows.values < VANISHING_MEAN):
        least = np.nanmin(rows.values)
        yield rule.found(
            "critical",
            layers=where[0],
            steps=where[1],
            observed=least,
            threshold=VANISHING_MEAN,
            explanation=f"The mean absolute gradient falls to {least:.3g}, below {VANISHING_MEAN:g}.",
        )


def _exploding(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.GRADIENT_NORM)
    broken = ~np.isfinite(rows.values)
    if where := spotted(evidence, rows, broken):
        count = int(broken.any(axis=0).sum())
        yield rule.found(
            "critical",
            layers=where[0],
            steps=where[1],
            observed=count,
            threshold=0,
            explanation=f"Gradients are NaN or infinite in {count} recorded steps, from step {where[1][0]} on.",
        )


def _dead(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.INACTIVE_UNITS)
    rectified = np.array([evidence.plan.network.by_name[v.layer].activation in RECTIFIERS for v in rows.variables])
    if where := spotted(evidence, rows, (rows.values > DEAD_PART) & rectified[:, None]):
        most = np.nanmax(rows.values[rectified])
        yield rule.found(
            "critical",
            layers=where[0],
            steps=where[1],
            observed=most,
            threshold=DEAD_PART,
            explanation=f"Up to {most:.1%} of a layer's ReLU units are never active, more than {DEAD_PART:.0%}.",
        )


def _saturated(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.FRACTION_BEYOND_SAGEMAKER)
    if where := spotted(evidence, rows, rows.values > SATURATED_PART):
        most = np.nanmax(rows.values)
        yield rule.found(
            "critical",
            layers=where[0],
            steps=where[1],
            observed=most,
            threshold=SATURATED_PART,
            explanation=f"Up to {most:.1%} of the inputs of a layer's sigmoid lie outside (−23, 17), or of its tanh "
            f"outside ±9.5: more than {SATURATED_PART:.0%}.",
        )


def _poor_initialization(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.WEIGHT_VARIANCE, "kernel", "recurrent_kernel")
    early = rows.values[:, evidence.steps < FIRST_STEPS]
    if early.size == 0:
        raise NotJudged("no kernel was recorded in the first steps")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = early.max(axis=0) / early.min(axis=0)
    beyond = np.flatnonzero(ratios > VARIANCE_RATIO)
    if len(beyond):
        at = beyond[0]
        yield rule.found(
            "warning",
            layers=rows.layers(np.isin(np.arange(len(early)), [early[:, at].argmin(), early[:, at].argmax()])),
            steps=(int(evidence.steps[at]), int(evidence.steps[beyond[-1]])),
            observed=ratios[at],
            threshold=VARIANCE_RATIO,
            explanation=f"At step {evidence.steps[at]} the largest variance of a layer's weights is {ratios[at]:.3g} "
            f"times the smallest, more than {VARIANCE_RATIO:g} times.",
        )


def _update_ratio(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.UPDATE_RATIO)
    for beyond, threshold, word in (
        (np.isfinite(rows.values) & (rows.values > LARGE_UPDATE), LARGE_UPDATE, "above"),
        (rows.values < SMALL_UPDATE, SMALL_UPDATE, "below"),
    ):
        if where := spotted(evidence, rows, beyond):
            values = rows.values[beyond]
            worst = values.max() if word == "above" else values.min()
            yield rule.found(
                "warning",
                layers=where[0],
                steps=where[1],
                observed=worst,
                threshold=threshold,
                explanation=f"The update of a variable is {worst:.3g} times its size, {word} {threshold:g}.",
            )


def _loss_not_decreasing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    windows = len(evidence.step_loss) // LOSS_WINDOW
    if windows < 2:
        raise NotJudged(f"fewer than {2 * LOSS_WINDOW} steps were made")
    with np.errstate(all="ignore"):
        means = evidence.step_loss[: windows * LOSS_WINDOW].reshape(windows, LOSS_WINDOW).mean(axis=1, dtype=np.float64)
        decrease = 1 - means[1:] / means[:-1]
        flat = np.flatnonzero(decrease < LOSS_DECREASE)
    if len(flat):
        least = decrease[flat].min()
        yield rule.found(
            "warning",
            steps=evidence.recorded((int(flat[0]) + 1) * LOSS_WINDOW, (int(flat[-1]) + 2) * LOSS_WINDOW - 1),
            observed=least,
            threshold=LOSS_DECREASE,
            explanation=f"In {len(flat)} of {windows - 1} windows of {LOSS_WINDOW} steps the mean loss falls by less "
            f"than {LOSS_DECREASE:.1%} of that of the window before.",
        )


def _overfit(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    training, validation = evidence.epochs.get("loss"), evidence.epochs.get("val_loss")
    if training is None or validation is None or len(training) == 0 or np.isnan(validation).all():
        raise NotJudged("no epoch with validation rows has ended")
    with np.errstate(all="ignore"):
        ratio = (validation.astype(np.float64) - training) / training
    beyond = np.flatnonzero(ratio > OVERFIT_RATIO)
    if len(beyond):
        most = min(ratio[beyond].max(), np.finfo(np.float64).max)
        size = evidence.plan.work.steps_per_epoch
        yield rule.found(
            "warning",
            steps=evidence.recorded(int(beyond[0]) * size, (int(beyond[-1]) + 1) * size - 1),
            observed=most,
            threshold=OVERFIT_RATIO,
            explanation=f"In {len(beyond)} of {len(ratio)} epochs the validation loss is more than {OVERFIT_RATIO:.0%} "
            f"above the training loss, by {most:.1%} at most.",
        )


RULES = (
    Rule("VanishingGradient", Symptom.VANISHING, _vanishing, (Statistic.MEAN_ABS_GRADIENT,)),
    Rule("ExplodingTensor", Symptom.EXPLODING, _exploding, (Statistic.GRADIENT_NORM,)),
    Rule("DeadRelu", Symptom.DEAD_UNITS, _dead, (Statistic.INACTIVE_UNITS,)),
    Rule("SaturatedActivation", Symptom.SATURATION, _saturated, (Statistic.FRACTION_BEYOND_SAGEMAKER,)),
    Rule("PoorWeightInitialization", Symptom.POOR_INITIALIZATION, _poor_initialization, (Statistic.WEIGHT_VARIANCE,)),
    Rule("WeightUpdateRatio", Symptom.UPDATE_RATIO_OUT_OF_RANGE, _update_ratio, (Statistic.UPDATE_RATIO,)),
    Rule("LossNotDecreasing", Symptom.LOSS_NOT_DECREASING, _loss_not_decreasing),
    Rule("Overfit", Symptom.OVERFITTING, _overfit),
)

sagemaker = pack("sagemaker", RULES, no_objection)
