"""Caveats of a prediction: the cases in which theory is known to be inaccurate, as sentences for the user.

docs/theory.md lists the measurements behind the limits.
"""

import math
from collections.abc import Iterator

from service.analysis.theory.data_moments import expected_data
from service.analysis.theory.perceptron import MAX_SAMPLES, Perceptron
from service.analysis.theory.theory_input import TheoryInput

MIN_UNITS = 16  # units per layer; with fewer, measurements scatter widely around theory
MAX_WIDTH_SPREAD = 0.3  # decades of spread from width alone: a factor of two
CHAOTIC_DEPTH = 30  # layers of batch normalization in float32: rounding errors grow about 1.5-fold per layer
MIN_UNITS_LAYER_NORMALIZED = 100  # units; below, benchmarks/theory measured slopes off by 0.01 decades per layer
COHERENT_GROWTH = 1.45  # growth per layer along one direction relative to the rest: bias-free ReLU, h + φ(h W)
COHERENT_FRACTION = 0.8  # fraction of the depth of coherence at which its effect begins to show


def caveats(given: TheoryInput, network: Perceptron, width_spread: float, conditional: bool) -> tuple[str, ...]:
    """What limits the accuracy of a prediction.

    Args:
        given: what the prediction is for.
        network: its network.
        width_spread: largest standard deviation of a log10 norm that finite width alone causes, in decades.
        conditional: whether the prediction uses the first batch.

    Returns:
        Sentences without a final period, the most general first.
    """
    return tuple(_caveats(given, network, width_spread, conditional))


def _caveats(given: TheoryInput, network: Perceptron, width_spread: float, conditional: bool) -> Iterator[str]:
    model, batch = network.model, given.batch_size
    depth, narrowest = len(network.hidden), min(layer.fan_out for layer in network.hidden)
    if narrowest < MIN_UNITS:
        yield f"a layer has {narrowest} units: theory assumes many, and networks this narrow deviate widely from it"
    elif width_spread > MAX_WIDTH_SPREAD:
        yield (
            f"{depth} layers of {narrowest} units: by width alone, two networks differ by a factor of "
            f"{10**width_spread:.1f} (one standard deviation)"
        )
    if model.normalization == "batch":
        if batch > narrowest:
            yield (
                f"{batch} samples are normalized together in layers of {narrowest} units: theory assumes fewer samples "
                "than units"
            )
        if depth > CHAOTIC_DEPTH and given.precision == "float32":
            yield f"batch normalization in {depth} layers is chaotic in float32: rounding alone changes the gradients"
    if model.normalization == "layer" and not network.normalizes_before and narrowest < MIN_UNITS_LAYER_NORMALIZED:
        yield (
            f"layer normalization of the activations of {narrowest} units: the slope may be off by 0.01 decades per "
            "layer"
        )
    if network.adds_up:
        reach = math.log(narrowest) / math.log(COHERENT_GROWTH)
        if depth > COHERENT_FRACTION * reach:
            yield (
                f"residual connections over {depth} layers of {narrowest} units: beyond {reach:.0f} layers the "
                "gradient lies along one direction, and its size varies strongly from seed to seed"
            )
    if model.dropout > 0:
        yield "dropout is averaged over its masks: the gradient of a single step depends on the mask of that step"
    if batch > MAX_SAMPLES and (conditional or model.normalization == "batch"):
        yield f"computed from {MAX_SAMPLES} of the {batch} samples of the batch"
    if not conditional:
        assumption = expected_data(given).assumption
        if assumption is not None:
            yield assumption
        if given.data.scale == "none" and given.data.source in ("breast_cancer", "wine", "upload"):
            yield "unscaled columns of different sizes: samples differ from the average sample, and so do the gradients"
