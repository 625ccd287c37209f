"""Warnings before a second of compute is spent."""

import math
from collections.abc import Iterator

import numpy as np

from service.analysis.theory.inputs import expected_inputs
from service.analysis.theory.perceptron import Perceptron, perceptron_of
from service.analysis.theory.prediction import NoTheory
from service.analysis.theory.row import Way, way_of
from service.analysis.theory.theory_input import TheoryInput
from service.contract.plan import Plan

DECADES = 3.0  # between the first and the last hidden kernel: no rate suits both
FAINT = 1e-7  # a gradient's entry: the epsilon of Keras's Adam, and SageMaker Debugger's threshold
LOUD = 1e3
SATURATED = 0.5  # part of a layer's units
SLOPE_LOST = 0.01  # |φ'| of a saturated unit, as a part of its maximum
BEYOND: dict[str, float] = {"tanh": math.acosh(10.0), "sigmoid": 2 * math.acosh(10.0)}  # |u| of one: φ' ∝ 1 / cosh²


def preflight(plan: Plan) -> tuple[str, ...]:
    """Warnings of theory about a run that is about to be queued; () where nothing is wrong or nothing is known."""
    try:
        return warnings_for(TheoryInput.of(plan))
    except NoTheory:
        return ()


def warnings_for(given: TheoryInput) -> tuple[str, ...]:
    """The same for the value that theory reads, which may be the key of a cache."""
    try:
        network = perceptron_of(given)
        rows = expected_inputs(given).rows
    except NoTheory:
        return ()
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return tuple(_warnings(network, way_of(network, rows)))


def _warnings(network: Perceptron, way: Way) -> Iterator[str]:
    if (dead := way.dead_layer) is not None:
        yield (
            f"dead units: of the {network.hidden[dead].fan_out} units of layer {dead + 1} only {way.active[dead]:.2g} "
            f"will be active for a row, with a bias of {network.hidden[dead].bias_mean:.3g} to inputs of deviation "
            f"{math.sqrt(way.variances[dead]):.2g}"
        )
        return
    kernels = way.kernels / 2
    if not np.isfinite(kernels).all():
        yield "the signal becomes 0 or infinite on its way through the layers, and with it the gradient"
        return
    sizes = np.log10([dense.fan_in * dense.fan_out for dense in network.hidden]) / 2
    entries = kernels - sizes
    lost, layers = float(kernels[-1] - kernels[0]), len(kernels)
    rate = f"a factor of {10 ** (abs(lost) / max(layers - 1, 1)):.2f} a layer"
    if lost > DECADES and not network.adds_up:  # there what adds up along one direction makes up for it
        yield (
            f"vanishing gradient: the gradient reaching layer 1 will be about 10^{-lost:.1f} of that at layer {layers} "
            f"({rate}, from {_what(network)})"
        )
    elif lost < -DECADES:
        least = "at least " if network.model.normalization == "batch" else "about "
        yield (
            f"exploding gradient: the gradient reaching layer 1 will be {least}10^{-lost:.1f} times that at "
            f"layer {layers} ({rate}, from {_what(network)})"
        )
    level = float(entries.mean())
    if level < math.log10(FAINT):
        where = "in all layers alike" if abs(lost) <= DECADES else "in the mean over layers"
        yield (
            f"vanishing gradient: an entry of a hidden kernel's gradient will be about 10^{level:.1f}, {where} "
            f"(from {_what(network)})"
        )
    elif float(entries.max()) > math.log10(LOUD):
        loudest = int(entries.argmax())
        yield f"exploding gradient: an entry of layer {loudest + 1}'s gradient will be about 10^{entries[loudest]:.1f}"
    yield from _saturated(network, way)


def _saturated(network: Perceptron, way: Way) -> Iterator[str]:
    bound = BEYOND.get(network.activation.name)
    if bound is None:
        return
    parts = np.array([math.erfc(bound / math.sqrt(2 * q)) if q > 0 else 0.0 for q in way.variances])
    if parts.max() > SATURATED:
        worst = int(parts.argmax())
        yield (
            f"saturation: about {parts[worst] * 100:.0f} % of the {network.activation.name} units of layer {worst + 1} "
            f"will be where their slope is below {SLOPE_LOST * 100:.0f} % of its maximum "
            f"(the deviation of their inputs is {math.sqrt(way.variances[worst]):.1f})"
        )


def _what(network: Perceptron) -> str:
    model = network.model
    words = [model.activation, f"σ_w² = {network.hidden[-1].gain:.3g}"]
    if model.normalization != "none":
        words.append(f"{model.normalization} normalization")
    if model.residual != "none":
        words.append(f"residuals with α = {network.scale:.2g}")
    return ", ".join(words)
