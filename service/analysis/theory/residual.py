"""Residual connections (Yang and Schoenholz 2017)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.analysis.theory.directions import Activated, Layer
from service.analysis.theory.signal import Gradient, Signal
from service.analysis.theory.stages import Found, Pullback, Stage, chain, part_of


@dataclass(frozen=True)
class Residual:
    """h + α · block(h)."""

    block: Sequence[Stage]
    scale: float  # α
    units: int
    activated: Layer | None = None  # where the block is φ(h W + b) and no more

    def __call__(self, signal: Signal) -> tuple[Signal, Pullback]:
        """H + α (m μᵀ + μ mᵀ) + α² H_block: the block's weights know nothing of h beyond its moments."""
        made, pullback = chain(self.block, replace(signal, response=1.0))
        across = np.multiply.outer(signal.mean, made.mean)
        second = signal.second + self.scale * (across + across.T) + self.scale**2 * made.second
        share = part_of(self.scale**2 * made.second, second)
        varying = part_of(self.scale**2 * made.covariance, second)

        def back(gradient: Gradient) -> tuple[Gradient, tuple[Found, ...]]:
            log_scale = gradient.log_scale + 2 * float(np.log(self.scale))
            through, found = pullback(replace(gradient, log_scale=log_scale, response=share * gradient.response))
            added = through.second * np.exp(through.log_scale - gradient.log_scale)
            both = gradient.second + added
            part = part_of(added, both)
            more = part**2 * (through.log_variance - gradient.log_variance)
            more += _crossing(part, 1 - part, self.units) * signal.common(both)
            responses = (gradient.response * response, gradient.response * (1 - share) + through.response)
            along, directed = None, None
            if self.activated is not None and gradient.along is not None:
                activated = Activated(self.activated, self.scale, signal)
                extra = activated.added(gradient.along) / self.units
                along = activated.went_back(gradient.second, gradient.along)
                directed = gradient.directed + (1 - gradient.directed) * part_of(extra, both + extra)
                both = both + extra
            excess = part * (through.log_excess - gradient.log_excess)
            response_of_both = (1 - part) * responses[0] + part * responses[1]
            of_response = gradient.response**2 * (of_batch - part**2 * of_block)
            return gradient.to(both, more, along, directed, excess, response_of_both, of_response), found

        response = 1 - share + share * made.response
        crossing = _crossing(varying, 1 - share, self.units)
        own = share**2 * (made.row_variance - made.response**2 * signal.row_variance) + crossing
        of_block = share**2 * (made.log_variance - made.response**2 * signal.log_variance)
        of_batch = of_block + crossing * signal.common(second)
        return signal.to(signal.mean + self.scale * made.mean, second, response, own, of_batch), back


def _crossing(random: float, rest: float, units: int) -> float:
    """Relative variance of 2 Σ a_i b_i / n, whose mean is 0, beside a² and b² of these parts of the whole."""
    return 4 * random * rest / units
