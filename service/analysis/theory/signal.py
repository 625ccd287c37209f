"""What flows through a network of many units: moments over the units of a layer, for all pairs of a batch's rows."""

from dataclasses import dataclass, replace

import numpy as np

from service.analysis.theory.activations import Array


@dataclass(frozen=True)
class Signal:
    """Forward: h_i,a of unit i and row a."""

    mean: Array  # [rows], over units
    second: Array  # [rows, rows], mean of h_a h_b over units
    shares: Array  # [rows, rows], of the batch's pairs of rows, that each pair stands for; they add up to 1
    log_variance: float = 0.0  # of a batch's ln h², over networks of this width
    row_variance: float = 0.0  # the same of one row's
    response: float = 1.0  # d ln h² / d ln of what went into the block
    fixed: bool = False  # Σ h² is that of the layer before: an isometry, not a random sum

    @property
    def covariance(self) -> Array:
        """Over units [rows, rows]."""
        return self.second - np.multiply.outer(self.mean, self.mean)

    def to(
        self, mean: Array, second: Array, response: float, own: float = 0.0, own_of_batch: float | None = None
    ) -> "Signal":
        """Of the same batch, further on.

        What it was given fluctuates on by `response`, and the relative variance `own` of a row is added; of the batch
        only what its rows have in common, unless it is said.
        """
        of_batch = own * self.common(second) if own_of_batch is None else own_of_batch
        return replace(
            self,
            mean=mean,
            second=second,
            log_variance=response**2 * self.log_variance + of_batch,
            row_variance=response**2 * self.row_variance + own,
            response=response * self.response,
            fixed=False,
        )

    def common(self, second: Array) -> float:
        """Mean squared correlation of two rows: how much of a row's fluctuation the whole batch has."""
        scale = np.sqrt(np.maximum(np.diagonal(second), np.finfo(np.float64).tiny))
        return float(np.sum(self.shares * np.minimum((second / np.multiply.outer(scale, scale)) ** 2, 1.0)))


@dataclass(frozen=True)
class Gradient:
    """Backward: g_i,a = batch · ∂loss/∂h_i,a. Its scale is apart, for it may lie beyond what a float holds."""

    second: Array  # [rows, rows], mean of g_a g_b over units
    log_scale: float = 0.0  # natural logarithm of what `second` is to be multiplied with
    log_variance: float = 0.0  # of a batch's ln g², over networks of this width
    log_excess: float = 0.0  # of the mean of ln g², over that of a normal logarithm with the mean `second`
    along: Array | None = None  # [3, 3, rows, rows], what residuals add up along two directions, where it is known
    directed: float = 0.0  # the part of `second` that lies along one direction that is not random
    fixed: bool = False  # Σ g² is that of the layer behind: an isometry, not a random sum
    response: float = 0.0  # d ln g² / d ln of the h² that it is the gradient of, through the slopes on its way back

    def to(
        self,
        second: Array,
        more_variance: float = 0.0,
        along: Array | None = None,
        directed: float | None = None,
        more_excess: float = 0.0,
        response: float = 0.0,
        of_response: float = 0.0,
    ) -> "Gradient":
        """Further back; the largest entry goes into the scale.

        The variance `of_response` is that of slopes which follow the signal. It leaves the mean of the logarithm.
        """
        directed = self.directed if directed is None else directed
        largest = float(np.max(np.abs(second)))
        variance = self.log_variance + more_variance + of_response
        excess = self.log_excess + more_excess + of_response / 2
        if not 0.0 < largest < np.inf:
            return Gradient(second, self.log_scale, variance, excess, along, directed, response=response)
        if along is not None:
            along = along / largest
        log_scale = self.log_scale + float(np.log(largest))
        return Gradient(second / largest, log_scale, variance, excess, along, directed, response=response)
