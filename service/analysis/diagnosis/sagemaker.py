"""The built-in rules of Amazon SageMaker Debugger with their documented defaults.

Source: "List of Debugger built-in rules", Amazon SageMaker AI Developer Guide. Debugger evaluates the tensors that a
job has saved; these rules evaluate every recorded step.

Some rules here and in `deepdiagnosis.py` have the same shape (a mask, its worst value, a sentence). They stay apart, so
that each rule can be compared with its source line by line.
"""

from collections.abc import Iterator

import numpy as np

from service.analysis.diagnosis.evidence import Evidence
from service.analysis.diagnosis.rules import CannotEvaluate, Rule, affected, no_objection, pack
from service.analysis.diagnosis.values import Finding, Symptom
from service.contract.recording_spec import Statistic

# All thresholds are documented defaults; the name of the parameter in the guide is in parentheses.
MIN_MEAN_GRADIENT = 1e-7  # mean absolute gradient of a variable (threshold of VanishingGradient)
MAX_DEAD_FRACTION = 0.5  # fraction of a layer's units that are active for less than 1 % of the inputs (threshold_layer)
MAX_SATURATED_FRACTION = 0.5  # fraction of a layer's activation inputs in the flat range (threshold_layer)
MAX_VARIANCE_RATIO = 10.0  # largest variance of a layer's weights divided by the smallest (threshold)
INITIAL_STEPS = 10  # steps in which weights count as initial
MAX_UPDATE_RATIO, MIN_UPDATE_RATIO = 10.0, 1e-8  # norm of an update / norm of the variable (large_, small_threshold)
LOSS_WINDOW = 10  # steps per window (num_steps)
MIN_LOSS_DECREASE = 0.001  # relative decrease of the mean loss from window to window (diff_percent)
MAX_OVERFIT_RATIO = 0.1  # (validation loss − training loss) / training loss (ratio_threshold)
RECTIFIERS = ("relu", "relu6")  # activations whose units can die


def _vanishing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.MEAN_ABS_GRADIENT)
    if where := affected(evidence, rows, rows.values < MIN_MEAN_GRADIENT):
        least = np.nanmin(rows.values)
        yield rule.found(
            "critical",
            *where,
            observed=least,
            threshold=MIN_MEAN_GRADIENT,
            explanation=f"The mean absolute gradient of a variable falls to {least:.3g}, below {MIN_MEAN_GRADIENT:g}.",
        )


def _exploding(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.GRADIENT_NORM)
    broken = ~np.isfinite(rows.values)
    if where := affected(evidence, rows, broken):
        count = int(broken.any(axis=0).sum())
        yield rule.found(
            "critical",
            *where,
            observed=count,
            threshold=0,
            explanation=f"Gradients are NaN or infinite at {count} recorded steps, first at step {where[0][0]}.",
        )


def _dead(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.INACTIVE_UNITS)
    rectified = np.array([evidence.plan.network.by_name[v.layer].activation in RECTIFIERS for v in rows.variables])
    if where := affected(evidence, rows, (rows.values > MAX_DEAD_FRACTION) & rectified[:, None]):
        most = np.nanmax(rows.values[rectified])
        yield rule.found(
            "critical",
            *where,
            observed=most,
            threshold=MAX_DEAD_FRACTION,
            explanation=f"Up to {most:.1%} of the ReLU units of a layer are never active, more than "
            f"{MAX_DEAD_FRACTION:.0%}.",
        )


def _saturated(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.FRACTION_BEYOND_SAGEMAKER)
    if where := affected(evidence, rows, rows.values > MAX_SATURATED_FRACTION):
        most = np.nanmax(rows.values)
        yield rule.found(
            "critical",
            *where,
            observed=most,
            threshold=MAX_SATURATED_FRACTION,
            explanation=f"Up to {most:.1%} of the inputs of a layer's activation are in its flat range, outside "
            f"(−23, 17) for sigmoid and outside ±9.5 for tanh: more than {MAX_SATURATED_FRACTION:.0%}.",
        )


def _poor_initialization(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.WEIGHT_VARIANCE, "kernel", "recurrent_kernel")
    early = rows.values[:, evidence.steps < INITIAL_STEPS]
    if early.size == 0:
        raise CannotEvaluate("no kernel was recorded in the initial steps")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = early.max(axis=0) / early.min(axis=0)
    beyond = np.flatnonzero(ratios > MAX_VARIANCE_RATIO)
    if len(beyond):
        at = beyond[0]
        yield rule.found(
            "warning",
            layers=rows.layers(np.isin(np.arange(len(early)), [early[:, at].argmin(), early[:, at].argmax()])),
            steps=(int(evidence.steps[at]), int(evidence.steps[beyond[-1]])),
            observed=ratios[at],
            threshold=MAX_VARIANCE_RATIO,
            explanation=f"At step {evidence.steps[at]} the largest variance of a layer's weights is {ratios[at]:.3g} "
            f"times the smallest, more than {MAX_VARIANCE_RATIO:g} times.",
        )


def _update_ratio(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows = evidence.rows(Statistic.UPDATE_RATIO)
    for beyond, threshold, word in (
        (np.isfinite(rows.values) & (rows.values > MAX_UPDATE_RATIO), MAX_UPDATE_RATIO, "above"),
        (rows.values < MIN_UPDATE_RATIO, MIN_UPDATE_RATIO, "below"),
    ):
        if where := affected(evidence, rows, beyond):
            values = rows.values[beyond]
            worst = values.max() if word == "above" else values.min()
            yield rule.found(
                "warning",
                *where,
                observed=worst,
                threshold=threshold,
                explanation=f"The norm of an update is {worst:.3g} times that of its variable, {word} {threshold:g}.",
            )


def _loss_not_decreasing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    windows = len(evidence.step_loss) // LOSS_WINDOW
    if windows < 2:
        raise CannotEvaluate(f"fewer than {2 * LOSS_WINDOW} steps were made")
    with np.errstate(all="ignore"):
        means = evidence.step_loss[: windows * LOSS_WINDOW].reshape(windows, LOSS_WINDOW).mean(axis=1, dtype=np.float64)
        decrease = 1 - means[1:] / means[:-1]
        flat = np.flatnonzero(decrease < MIN_LOSS_DECREASE)
    if len(flat):
        least = decrease[flat].min()
        yield rule.found(
            "warning",
            steps=evidence.recorded_span((int(flat[0]) + 1) * LOSS_WINDOW, (int(flat[-1]) + 2) * LOSS_WINDOW - 1),
            observed=least,
            threshold=MIN_LOSS_DECREASE,
            explanation=f"In {len(flat)} of {windows - 1} windows of {LOSS_WINDOW} steps the mean loss is not at least "
            f"{MIN_LOSS_DECREASE:.1%} below that of the previous window.",
        )


def _overfit(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    training, validation = evidence.epochs.get("loss"), evidence.epochs.get("val_loss")
    if training is None or validation is None or len(training) == 0 or np.isnan(validation).all():
        raise CannotEvaluate("no epoch with validation samples has ended")
    with np.errstate(all="ignore"):
        ratio = (validation.astype(np.float64) - training) / training
    beyond = np.flatnonzero(ratio > MAX_OVERFIT_RATIO)
    if len(beyond):
        most = min(ratio[beyond].max(), np.finfo(np.float64).max)
        size = evidence.plan.work.steps_per_epoch
        yield rule.found(
            "warning",
            steps=evidence.recorded_span(int(beyond[0]) * size, (int(beyond[-1]) + 1) * size - 1),
            observed=most,
            threshold=MAX_OVERFIT_RATIO,
            explanation=f"In {len(beyond)} of {len(ratio)} epochs the validation loss is more than "
            f"{MAX_OVERFIT_RATIO:.0%} above the training loss, by up to {most:.1%}.",
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
