"""What the demo's experiments show, in sentences with their measured values."""

import math
from collections.abc import Iterator, Mapping

from gradflow.cli.terminal.gradient_table import floats, norms_at_ends
from gradflow.client import Json
from gradflow.profile import decades_lost, slope

VANISHED_DECADES = 3  # a layer with a thousandth of the gradient of another one hardly changes in comparison
BENIGN_SHARE = 357 / 569  # the larger class of the breast cancer data, as scikit-learn describes it
COMPARABLE_ACCURACY = 0.05  # smaller differences in validation accuracy count as equal
EXPLODING = (
    ": batch normalization with ReLU makes gradients explode with depth, a little per layer "
    "(Yang et al. 2019, A Mean Field Theory of Batch Normalization)"
)


def story(experiments: Mapping[str, Json], gradients: Mapping[str, Json]) -> Iterator[str]:
    """Explain the results of the demo.

    Args:
        experiments: the ended experiments by name.
        gradients: their gradient norms by name.

    Yields:
        One or two sentences at a time.
    """
    for name in ("baseline, random labels", "improved, random labels"):
        yield f"{name.partition(',')[0]}: {_gradient(experiments[name], gradients[name])}"
    yield _accuracy_on_random_labels(*(experiments[f"{model}, random labels"] for model in ("baseline", "improved")))
    yield _accuracy_on_real_data(*(experiments[f"{model}, breast cancer"] for model in ("baseline", "improved")))


def _gradient(experiment: Json, gradients: Json) -> str:
    """How the gradient changes from the last hidden layer to the first before the first update."""
    first, _ = norms_at_ends(gradients)
    norms = floats(first)
    lost, per_layer = decades_lost(norms), slope(norms)
    if lost is None:
        return "a gradient norm at step 0 is 0 or not finite, so the decades lost are unknown."
    rate = "" if per_layer is None else f", {abs(per_layer):.2f} per layer"
    if lost >= VANISHED_DECADES:
        return (
            f"before the first update, the gradient of the first hidden layer is 10^{lost:.1f} times smaller than that "
            f"of the last hidden layer: {lost:.1f} decades lost{rate}. The gradient vanishes, and the layers next to "
            "the input hardly learn."
        )
    if lost > 0:
        return f"the gradient shrinks towards the input by {lost:.1f} decades{rate}; the first layers still learn."
    reason = EXPLODING if experiment["spec"]["model"]["kind"] == "improved" else ""
    return (
        f"the gradient does not vanish. It grows towards the input, {10**-lost:.1f} times from the last hidden layer "
        f"to the first ({-lost:.1f} decades{rate}){reason}."
    )


def _accuracy_on_random_labels(baseline: Json, improved: Json) -> str:
    samples = baseline["spec"]["data"]["samples"]
    tosses = samples - int(samples * (1 - baseline["spec"]["training"]["validation_split"]))
    reach = 3 * 0.5 / math.sqrt(tosses)  # three standard deviations of the fraction of heads
    fair = all(abs(_accuracy(experiment) - 0.5) <= reach for experiment in (baseline, improved))
    comparison = "which is what coin tosses give" if fair else "which coin tosses rarely give"
    return (
        "On random labels there is nothing to learn: validation accuracy is "
        f"{_percent(baseline)} for the baseline and {_percent(improved)} for the improved network, {comparison} "
        f"({tosses} tosses: 50% ± {reach:.0%}). It says nothing about either network."
    )


def _accuracy_on_real_data(baseline: Json, improved: Json) -> str:
    stuck = abs(_accuracy(baseline) - BENIGN_SHARE) < COMPARABLE_ACCURACY
    better = _accuracy(improved) - _accuracy(baseline) > COMPARABLE_ACCURACY
    return (
        f"On real data (breast cancer, 569 patients) accuracy is meaningful: {_percent(baseline)} for the baseline and "
        f"{_percent(improved)} for the improved network after as many epochs. "
        + (f"The baseline is no better than always answering “benign” ({BENIGN_SHARE:.0%}). " if stuck else "")
        + ("This is the price of the lost decades." if better else "This time the lost decades cost little.")
    )


def _accuracy(experiment: Json) -> float:
    return experiment["outcome"]["val_accuracy"] or 0.0


def _percent(experiment: Json) -> str:
    accuracy = experiment["outcome"]["val_accuracy"]
    return "not measured" if accuracy is None else f"{accuracy:.0%}"
