"""The symptoms of DeepDiagnosis, with the thresholds of its published program.

Source: Wardat, Cruz, Le and Rajan, "DeepDiagnosis: Automatically Diagnosing Faults and Recommending Actionable Fixes in
Deep Learning Programs", ICSE 2022; github.com/DeepDiagnosis/ICSE2022, `callback/callbacks.py`. It looks after every
epoch, at saturation and at the loss after every fifth, at dead units after the last. It takes the first batch of the
data; here it is the first recorded step after the epoch.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from service.analysis.diagnosis.evidence import Evidence, Rows
from service.analysis.diagnosis.rules import NotJudged, Rule, no_objection, pack, spotted, whole
from service.analysis.diagnosis.values import Finding, Symptom
from service.contract.recording_spec import Statistic

VANISHING_MEAN = 1e-7
DEAD_PART = 0.7  # of outputs that are not positive
SATURATED_PART = 0.5  # of inputs beyond ±5
LEAST_VARIANCE, LARGEST_VARIANCE = 1e-5, 10.0
LEAST_UPDATE, LARGEST_UPDATE = 1e-5, 1e-1  # learning rate times gradient norm over weight norm
LOSS_EPOCHS, ACCURACY_EPOCHS = 5, 20
RECTIFIERS = ("relu",)


def _ends(evidence: Evidence, every: int = 1) -> npt.NDArray[np.int64]:
    ends = evidence.epoch_ends[every - 1 :: every]
    if len(ends) == 0:
        raise NotJudged(f"fewer than {every} epochs have ended" if every > 1 else "no epoch has ended")
    return ends


def _vanishing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows, ends = evidence.rows(Statistic.MEAN_ABS_GRADIENT, "kernel"), _ends(evidence)
    values = rows.values[:, ends]
    if where := spotted(evidence, rows, values < VANISHING_MEAN, ends):
        least = np.nanmin(values)
        yield rule.found(
            "critical",
            layers=where[0],
            steps=where[1],
            observed=least,
            threshold=VANISHING_MEAN,
            explanation=f"After an epoch the mean absolute gradient of a kernel is {least:.3g}, below "
            f"{VANISHING_MEAN:g}.",
        )


def _numerical(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows, ends = evidence.rows(Statistic.GRADIENT_NORM, "kernel"), _ends(evidence)
    broken = ~np.isfinite(rows.values[:, ends]) | (rows.values[:, ends] == 0)
    if where := spotted(evidence, rows, broken, ends):
        count = int(broken.any(axis=0).sum())
        yield rule.found(
            "critical",
            layers=where[0],
            steps=where[1],
            observed=count,
            threshold=0,
            explanation=f"After {count} of {len(ends)} epochs the gradient of a kernel is NaN, infinite or 0.",
        )


def _dead(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    made = len(evidence.epoch_ends)
    if made < evidence.plan.spec.training.epochs:
        raise NotJudged("the last epoch has not ended")
    rows, ends = evidence.rows(Statistic.FRACTION_NOT_POSITIVE), evidence.epoch_ends[-1:]
    rectified = np.array([evidence.plan.network.by_name[v.layer].activation in RECTIFIERS for v in rows.variables])
    if where := spotted(evidence, rows, (rows.values[:, ends] >= DEAD_PART) & rectified[:, None], ends):
        most = np.nanmax(rows.values[rectified][:, ends])
        yield rule.found(
            "critical",
            layers=where[0],
            steps=where[1],
            observed=most,
            threshold=DEAD_PART,
            explanation=f"After the last epoch {most:.1%} of the outputs of a ReLU layer are not positive, at least "
            f"{DEAD_PART:.0%}.",
        )


def _saturated(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows, ends = evidence.rows(Statistic.FRACTION_BEYOND_DEEPDIAGNOSIS), _ends(evidence, LOSS_EPOCHS)
    values = rows.values[:, ends]
    if where := spotted(evidence, rows, values > SATURATED_PART, ends):
        most = np.nanmax(values)
        yield rule.found(
            "critical",
            layers=where[0],
            steps=where[1],
            observed=most,
            threshold=SATURATED_PART,
            explanation=f"{most:.1%} of the inputs of a layer's sigmoid or tanh lie beyond ±5, more than "
            f"{SATURATED_PART:.0%}.",
        )


def _weights(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows, ends = evidence.rows(Statistic.WEIGHT_VARIANCE, "kernel"), _ends(evidence)
    yield from _out_of_range(rule, evidence, rows, ends, LEAST_VARIANCE, LARGEST_VARIANCE, "the variance of a kernel")


def _learning_rate(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    rows, ends = evidence.rows(Statistic.UPDATE_RATIO, "kernel"), _ends(evidence)
    yield from _out_of_range(
        rule, evidence, rows, ends, LEAST_UPDATE, LARGEST_UPDATE, "a kernel's update over its norm"
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
    values = rows.values[:, ends]
    for beyond, threshold, word in ((values > largest, largest, "above"), (values < least, least, "below")):
        if where := spotted(evidence, rows, beyond, ends):
            worst = min(values[beyond].max(), np.finfo(np.float64).max) if word == "above" else values[beyond].min()
            yield rule.found(
                "warning",
                layers=where[0],
                steps=where[1],
                observed=worst,
                threshold=threshold,
                explanation=f"After an epoch {what} is {worst:.3g}, {word} {threshold:g}.",
            )


def _invalid_loss(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    broken = np.flatnonzero(~np.isfinite(evidence.step_loss))
    if len(broken):
        first = evidence.recorded(int(broken[0]), int(broken[-1]))
        yield rule.found(
            "critical",
            steps=first,
            observed=len(broken),
            threshold=0,
            explanation=f"The loss is NaN or infinite from step {broken[0]} on.",
        )


def _loss_not_decreasing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    yield from _unchanged(rule, evidence, "loss", LOSS_EPOCHS)


def _accuracy_not_increasing(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    yield from _unchanged(rule, evidence, "accuracy", ACCURACY_EPOCHS)


def _unchanged(rule: Rule, evidence: Evidence, metric: str, window: int) -> Iterator[Finding]:
    series = evidence.epochs.get(metric)
    if series is None:
        raise NotJudged(f"{metric} is not measured")
    windows = len(series) // window
    if windows == 0:
        raise NotJudged(f"fewer than {window} epochs have ended")
    blocks = series[: windows * window].reshape(windows, window)
    same = np.flatnonzero((blocks == blocks[:, :1]).all(axis=1))
    if len(same):
        ends = evidence.epoch_ends[(same + 1) * window - 1]
        yield rule.found(
            "warning",
            steps=(int(evidence.steps[ends[0]]), int(evidence.steps[ends[-1]])) if len(ends) else whole(evidence),
            observed=0.0,
            threshold=0.0,
            explanation=f"The {metric} is {series[same[0] * window]:.4g} in each of {window} epochs.",
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
