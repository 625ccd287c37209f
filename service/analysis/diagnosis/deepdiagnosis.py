"""The rules of DeepDiagnosis, with the thresholds of its published program.

Source: Wardat, Cruz, Le and Rajan, "DeepDiagnosis: Automatically Diagnosing Faults and Recommending Actionable Fixes in
Deep Learning Programs", ICSE 2022; github.com/DeepDiagnosis/ICSE2022, `callback/callbacks.py`. The program
checks a run after every epoch, saturation and loss after every fifth epoch, and dead units after the last one. It
computes the gradient of the first batch of the data; these rules take that of the first recorded step after the epoch.

Some rules have the shape of rules in `sagemaker.py`; they stay apart, so that each can be compared with its source.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from service.analysis.diagnosis.evidence import Evidence, Rows
from service.analysis.diagnosis.rules import CannotEvaluate, Rule, affected, no_objection, pack, recorded_range
from service.analysis.diagnosis.values import Finding, Symptom
from service.contract.recording_spec import Statistic

# All thresholds are those of the published program.
MIN_MEAN_GRADIENT = 1e-7  # mean absolute gradient of a kernel
MAX_DEAD_FRACTION = 0.7  # fraction of a layer's outputs that are not positive
MAX_SATURATED_FRACTION = 0.5  # fraction of a layer's activation inputs beyond ±5
MIN_VARIANCE, MAX_VARIANCE = 1e-5, 10.0  # variance of the entries of a kernel
MIN_UPDATE_RATIO, MAX_UPDATE_RATIO = 1e-5, 1e-1  # learning rate · gradient norm / weight norm of a kernel
SAME_LOSS_EPOCHS = 5  # epochs with the same loss; saturation is checked as often
SAME_ACCURACY_EPOCHS = 20  # epochs with the same accuracy
RECTIFIERS = ("relu",)  # activations whose units can die


def _ends(evidence: Evidence, every: int = 1) -> npt.NDArray[np.int64]:
    """Indices of the first recorded step after each `every`-th epoch; CannotEvaluate if there are none."""
    ends = evidence.epoch_ends[every - 1 :: every]
    if len(ends) == 0:
        raise CannotEvaluate(f"fewer than {every} epochs have ended" if every > 1 else "no epoch has ended")
    return ends


def _vanishing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows, ends = evidence.rows(Statistic.MEAN_ABS_GRADIENT, "kernel"), _ends(evidence)
    values = rows.values[:, ends]
    if where := affected(evidence, rows, values < MIN_MEAN_GRADIENT, ends):
        least = np.nanmin(values)
        yield rule.found(
            "critical",
            *where,
            observed=least,
            threshold=MIN_MEAN_GRADIENT,
            explanation=f"After an epoch the mean absolute gradient of a kernel is {least:.3g}, below "
            f"{MIN_MEAN_GRADIENT:g}.",
        )


def _numerical(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows, ends = evidence.rows(Statistic.GRADIENT_NORM, "kernel"), _ends(evidence)
    broken = ~np.isfinite(rows.values[:, ends]) | (rows.values[:, ends] == 0)
    if where := affected(evidence, rows, broken, ends):
        count = int(broken.any(axis=0).sum())
        yield rule.found(
            "critical",
            *where,
            observed=count,
            threshold=0,
            explanation=f"After {count} of {len(ends)} epochs the gradient of a kernel is NaN, infinite or 0.",
        )


def _dead(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    made = len(evidence.epoch_ends)
    if made < evidence.plan.spec.training.epochs:
        raise CannotEvaluate("the last epoch has not ended")
    rows, ends = evidence.rows(Statistic.FRACTION_NOT_POSITIVE), evidence.epoch_ends[-1:]
    rectified = np.array([evidence.plan.network.by_name[v.layer].activation in RECTIFIERS for v in rows.variables])
    if where := affected(evidence, rows, (rows.values[:, ends] >= MAX_DEAD_FRACTION) & rectified[:, None], ends):
        most = np.nanmax(rows.values[rectified][:, ends])
        yield rule.found(
            "critical",
            *where,
            observed=most,
            threshold=MAX_DEAD_FRACTION,
            explanation=f"After the last epoch {most:.1%} of the outputs of a ReLU layer are not positive, at least "
            f"{MAX_DEAD_FRACTION:.0%}.",
        )


def _saturated(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows, ends = evidence.rows(Statistic.FRACTION_BEYOND_DEEPDIAGNOSIS), _ends(evidence, SAME_LOSS_EPOCHS)
    values = rows.values[:, ends]
    if where := affected(evidence, rows, values > MAX_SATURATED_FRACTION, ends):
        most = np.nanmax(values)
        yield rule.found(
            "critical",
            *where,
            observed=most,
            threshold=MAX_SATURATED_FRACTION,
            explanation=f"{most:.1%} of the inputs of the sigmoid or tanh of a layer lie beyond ±5, more than "
            f"{MAX_SATURATED_FRACTION:.0%}.",
        )


def _weights(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows, ends = evidence.rows(Statistic.WEIGHT_VARIANCE, "kernel"), _ends(evidence)
    yield from _out_of_range(
        rule, evidence, rows, ends, MIN_VARIANCE, MAX_VARIANCE, "the variance of the entries of a kernel"
    )


def _learning_rate(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows, ends = evidence.rows(Statistic.UPDATE_RATIO, "kernel"), _ends(evidence)
    yield from _out_of_range(
        rule,
        evidence,
        rows,
        ends,
        MIN_UPDATE_RATIO,
        MAX_UPDATE_RATIO,
        "the norm of a kernel's update divided by the norm of the kernel",
    )


def _out_of_range(
    rule: Rule,
    evidence: Evidence,
    rows: Rows,
    ends: npt.NDArray[np.int64],
    least: float,
    largest: float,
    what: str,
) -> Iterator[Finding]:
    """Findings for values above `largest` and for values below `least`; `what` names the values for the user."""
    values = rows.values[:, ends]
    for beyond, threshold, word in ((values > largest, largest, "above"), (values < least, least, "below")):
        if where := affected(evidence, rows, beyond, ends):
            worst = min(values[beyond].max(), np.finfo(np.float64).max) if word == "above" else values[beyond].min()
            yield rule.found(
                "warning",
                *where,
                observed=worst,
                threshold=threshold,
                explanation=f"After an epoch {what} is {worst:.3g}, {word} {threshold:g}.",
            )


def _invalid_loss(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    broken = np.flatnonzero(~np.isfinite(evidence.step_loss))
    if len(broken):
        span = evidence.recorded_span(int(broken[0]), int(broken[-1]))
        yield rule.found(
            "critical",
            steps=span,
            observed=len(broken),
            threshold=0,
            explanation=f"The loss is NaN or infinite from step {broken[0]} on.",
        )


def _loss_not_decreasing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    yield from _unchanged(rule, evidence, "loss", SAME_LOSS_EPOCHS)


def _accuracy_not_increasing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    yield from _unchanged(rule, evidence, "accuracy", SAME_ACCURACY_EPOCHS)


def _unchanged(rule: Rule, evidence: Evidence, metric: str, window: int) -> Iterator[Finding]:
    """A finding if a metric has the same value in all epochs of a window; windows do not overlap."""
    series = evidence.epochs.get(metric)
    if series is None:
        raise CannotEvaluate(f"{metric} is not measured")
    windows = len(series) // window
    if windows == 0:
        raise CannotEvaluate(f"fewer than {window} epochs have ended")
    blocks = series[: windows * window].reshape(windows, window)
    same = np.flatnonzero((blocks == blocks[:, :1]).all(axis=1))
    if len(same):
        ends = evidence.epoch_ends[(same + 1) * window - 1]
        yield rule.found(
            "warning",
            steps=(int(evidence.steps[ends[0]]), int(evidence.steps[ends[-1]]))
            if len(ends)
            else recorded_range(evidence),
            observed=0.0,
            threshold=0.0,
            explanation=f"The {metric} is {series[same[0] * window]:.4g} in each of {window} consecutive epochs.",
        )


RULES = (
    Rule("VanishingGradient", Symptom.VANISHING, _vanishing, (Statistic.MEAN_ABS_GRADIENT,)),
    Rule("NumericalError", Symptom.EXPLODING, _numerical),
    Rule("DeadNode", Symptom.DEAD_UNITS, _dead, (Statistic.FRACTION_NOT_POSITIVE,)),
    Rule("SaturatedActivation", Symptom.SATURATION, _saturated, (Statistic.FRACTION_BEYOND_DEEPDIAGNOSIS,)),
    Rule("ImproperWeights", Symptom.POOR_INITIALIZATION, _weights, (Statistic.WEIGHT_VARIANCE,)),
    Rule("ImproperLearningRate", Symptom.UPDATE_RATIO_OUT_OF_RANGE, _learning_rate, (Statistic.UPDATE_RATIO,)),
    Rule("InvalidLoss", Symptom.DIVERGED, _invalid_loss),
    Rule("LossNotDecreasing", Symptom.LOSS_NOT_DECREASING, _loss_not_decreasing),
    Rule("AccuracyNotIncreasing", Symptom.LOSS_NOT_DECREASING, _accuracy_not_increasing),
)

deepdiagnosis = pack("deepdiagnosis", RULES, no_objection)
