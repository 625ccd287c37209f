"""Warnings about a spec before any compute is spent on it."""

import math
from collections.abc import Iterator

import numpy as np

from service.analysis.theory.data_moments import expected_data
from service.analysis.theory.perceptron import Perceptron, perceptron_of
from service.analysis.theory.prediction import NoTheory
from service.analysis.theory.single_input import SingleInputRecursion, single_input_recursion
from service.analysis.theory.theory_input import TheoryInput
from service.contract.plan import Plan

MAX_DECADES = 3.0  # decades between the first and the last hidden kernel: no single learning rate suits both
MIN_ENTRY = 1e-7  # size of a gradient entry: epsilon of Keras's Adam, and the threshold of SageMaker Debugger
MAX_ENTRY = 1e3  # size of a gradient entry
MAX_SATURATED = 0.5  # fraction of the units of a layer
FLAT_SLOPE = 0.01  # |φ'| of a saturated unit, as a fraction of its maximum
FLAT_FROM: dict[str, float] = {"tanh": math.acosh(10.0), "sigmoid": 2 * math.acosh(10.0)}  # |u| with that slope


def preflight(plan: Plan) -> tuple[str, ...]:
    """Warn about a run that is about to be queued.

    Args:
        plan: the plan of the run.

    Returns:
        Warnings with numbers, without a final period; empty if the theory foresees no problem or does not apply.
    """
    try:
        return warnings_for(TheoryInput.of(plan))
    except NoTheory:
        return ()


def warnings_for(given: TheoryInput) -> tuple[str, ...]:
    """`preflight` for the value that the theory reads, which a cache can use as its key."""
    try:
        network = perceptron_of(given)
        samples = expected_data(given).samples
    except NoTheory:
        return ()
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return tuple(_warnings(network, single_input_recursion(network, samples)))


def _warnings(network: Perceptron, recursion: SingleInputRecursion) -> Iterator[str]:
    if (dead := recursion.dead_layer) is not None:
        yield (
            f"dead units: of the {network.hidden[dead].fan_out} units of layer {dead + 1} only "
            f"{recursion.active[dead]:.2g} will be active for a sample, with a bias of "
            f"{network.hidden[dead].bias_mean:.3g} added to inputs of standard deviation "
            f"{math.sqrt(recursion.variances[dead]):.2g}"
        )
        return
    kernels = recursion.kernels / 2
    if not np.isfinite(kernels).all():
        yield "the signal becomes 0 or infinite on its way through the layers, and so does the gradient"
        return
    sizes = np.log10([dense.fan_in * dense.fan_out for dense in network.hidden]) / 2
    entries = kernels - sizes
    lost, layers = float(kernels[-1] - kernels[0]), len(kernels)
    factor = f"a factor of {10 ** (abs(lost) / max(layers - 1, 1)):.2f} per layer"
    if lost > MAX_DECADES and not network.adds_up:  # otherwise growth along one direction makes up for the loss
        yield (
            f"vanishing gradient: the gradient reaching layer 1 will be about 10^{-lost:.1f} of that at layer "
            f"{layers} ({factor}, from {_description(network)})"
        )
    elif lost < -MAX_DECADES:
        bound = "at least " if network.model.normalization == "batch" else "about "
        yield (
            f"exploding gradient: the gradient reaching layer 1 will be {bound}10^{-lost:.1f} times that at "
            f"layer {layers} ({factor}, from {_description(network)})"
        )
    level = float(entries.mean())
    if level < math.log10(MIN_ENTRY):
        where = "in all layers alike" if abs(lost) <= MAX_DECADES else "on average over the layers"
        yield (
            f"vanishing gradient: an entry of a hidden kernel's gradient will be about 10^{level:.1f}, {where} "
            f"(from {_description(network)})"
        )
    elif float(entries.max()) > math.log10(MAX_ENTRY):
        largest = int(entries.argmax())
        yield f"exploding gradient: an entry of layer {largest + 1}'s gradient will be about 10^{entries[largest]:.1f}"
    yield from _saturated(network, recursion)


def _saturated(network: Perceptron, recursion: SingleInputRecursion) -> Iterator[str]:
    bound = FLAT_FROM.get(network.activation.name)
    if bound is None:
        return
    fractions = np.array([math.erfc(bound / math.sqrt(2 * q)) if q > 0 else 0.0 for q in recursion.variances])
    if fractions.max() > MAX_SATURATED:
        worst = int(fractions.argmax())
        yield (
            f"saturation: about {fractions[worst] * 100:.0f} % of the {network.activation.name} units of layer "
            f"{worst + 1} will have a slope below {FLAT_SLOPE * 100:.0f} % of its maximum "
            f"(the standard deviation of their inputs is {math.sqrt(recursion.variances[worst]):.1f})"
        )


def _description(network: Perceptron) -> str:
    """The parts of a network that decide its gradients, in a few words."""
    model = network.model
    words = [model.activation, f"σ_w² = {network.hidden[-1].gain:.3g}"]
    if model.normalization != "none":
        words.append(f"{model.normalization} normalization")
    if model.residual != "none":
        words.append(f"residual connections with α = {network.scale:.2g}")
    return ", ".join(words)
