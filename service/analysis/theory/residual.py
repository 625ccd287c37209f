"""Residual connections (Yang and Schoenholz 2017)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.analysis.theory.directions import ActivatedBlock, Layer
from service.analysis.theory.layer_maps import LayerMap, Pullback, VariableMoments, chain, fraction_of
from service.analysis.theory.signal import Gradient, Signal


@dataclass(frozen=True)
class Residual:
    """Maps h to h + α · block(h)."""

    block: Sequence[LayerMap]
    scale: float  # α
    units: int
    activated: Layer | None = None  # set if the block is φ(h W + b) and nothing else

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """Propagate H + α (m μᵀ + μ mᵀ) + α² H_block.

        The weights of the block are independent of h, so the block's output is related to h by its mean μ alone.

        Args:
            signal: moments of h.

        Returns:
            Moments of the sum, and the backward pass with the variables of the block.
        """
        made, block_pullback = chain(self.block, replace(signal, response=1.0))
        across = np.multiply.outer(signal.mean, made.mean)
        second = signal.second + self.scale * (across + across.T) + self.scale**2 * made.second
        share = fraction_of(self.scale**2 * made.second, second)
        varying = fraction_of(self.scale**2 * made.covariance, second)

        def pullback(gradient: Gradient) -> tuple[Gradient, tuple[VariableMoments, ...]]:
            log_scale = gradient.log_scale + 2 * float(np.log(self.scale))
            into_block = replace(gradient, log_scale=log_scale, response=share * gradient.response)
            through, variables = block_pullback(into_block)
            added = through.second * np.exp(through.log_scale - gradient.log_scale)
            both = gradient.second + added
            part = fraction_of(added, both)
            more = part**2 * (through.log_variance - gradient.log_variance)
            more += _cross_variance(part, 1 - part, self.units) * signal.common(both)
            responses = (gradient.response * response, gradient.response * (1 - share) + through.response)
            along, directed = None, None
            if self.activated is not None and gradient.along is not None:
                block = ActivatedBlock(self.activated, self.scale, signal)
                extra = block.added(gradient.along) / self.units
                along = block.pulled_back(gradient.second, gradient.along)
                directed = gradient.directed + (1 - gradient.directed) * fraction_of(extra, both + extra)
                both = both + extra
            excess = part * (through.log_excess - gradient.log_excess)
            response_of_both = (1 - part) * responses[0] + part * responses[1]
            of_response = gradient.response**2 * (of_batch - part**2 * of_block)
            return gradient.to(both, more, along, directed, excess, response_of_both, of_response), variables

        response = 1 - share + share * made.response
        crossing = _cross_variance(varying, 1 - share, self.units)
        own = share**2 * (made.sample_variance - made.response**2 * signal.sample_variance) + crossing
        of_block = share**2 * (made.log_variance - made.response**2 * signal.log_variance)
        of_batch = of_block + crossing * signal.common(second)
        return signal.to(signal.mean + self.scale * made.mean, second, response, own, of_batch), pullback


def _cross_variance(random: float, rest: float, units: int) -> float:
    """Relative variance of the cross term 2 Σ a_i b_i / n, whose mean is 0.

    `random` and `rest` are the fractions of a² and b² of the whole square.
    """
    return 4 * random * rest / units
