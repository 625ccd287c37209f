"""Where theory is known to be loose, in sentences."""

import math
from collections.abc import Iterator

from service.analysis.theory.inputs import expected_inputs
from service.analysis.theory.perceptron import MOST_ROWS, Perceptron
from service.analysis.theory.theory_input import TheoryInput

COHERENT = 1.45  # a layer's growth along one direction over that of the rest, bias-free ReLU with h + φ(h W)
CHAOTIC_DEPTH = 30  # of batch normalization in float32: rounding grows by about a factor of 1.5 a layer
NARROW = 16
NEARLY = 0.8  # of that depth: its spread is felt before
FEW_NORMALIZED = 100  # units: with fewer, benchmarks/theory saw slopes that are off by 0.01 decades a layer
UNLIKE = 0.3  # decades of spread from width alone: a factor of two


def caveats(given: TheoryInput, network: Perceptron, of_width: float, conditional: bool) -> tuple[str, ...]:
    """What to bear in mind with this network's prediction."""
    return tuple(_caveats(given, network, of_width, conditional))


def _caveats(given: TheoryInput, network: Perceptron, of_width: float, conditional: bool) -> Iterator[str]:
    model, batch = network.model, given.batch_size
    depth, narrowest = len(network.hidden), min(layer.fan_out for layer in network.hidden)
    if narrowest < NARROW:
        yield f"a layer has {narrowest} units: theory is exact for many, and this few stray far from it"
    elif of_width > UNLIKE:
        yield (
            f"{depth} layers of {narrowest} units: by width alone, two networks differ by a factor of "
            f"{10**of_width:.1f} (one standard deviation)"
        )
    if model.normalization == "batch":
        if batch > narrowest:
            yield f"{batch} rows are normalized together in layers of {narrowest} units: theory wants fewer than units"
        if depth > CHAOTIC_DEPTH and given.precision == "float32":
            yield f"batch normalization in {depth} layers is chaotic in float32: rounding alone changes the gradients"
    if model.normalization == "layer" and not network.normalizes_before and narrowest < FEW_NORMALIZED:
        yield (
            f"layer normalization of the activations of {narrowest} units: the slope may be off by 0.01 decades a layer"
        )
    if network.adds_up:
        reach = math.log(narrowest) / math.log(COHERENT)
        if depth > NEARLY * reach:
            yield (
                f"residuals over {depth} layers of {narrowest} units: beyond {reach:.0f} layers the gradient "
                "lies along one direction, and its size is a matter of chance"
            )
    if model.dropout > 0:
        yield "dropout is taken in the mean over its masks: one step's mask makes a gradient of its own"
    if batch > MOST_ROWS and (conditional or model.normalization == "batch"):
        yield f"computed from {MOST_ROWS} of the batch's {batch} rows"
    if not conditional:
        assumption = expected_inputs(given).assumption
        if assumption is not None:
            yield assumption
        if given.data.scale == "none" and given.data.source in ("breast_cancer", "wine", "upload"):
            yield "unscaled columns of different sizes: rows differ from the mean row, and so does their gradient"
