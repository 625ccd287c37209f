"""Moments over the units of one layer for all pairs of samples of a batch, forward and backward."""

from dataclasses import dataclass, replace

import numpy as np

from service.analysis.theory.activations import Array


@dataclass(frozen=True)
class Signal:
    """Moments of the forward signal h_ia of unit i and sample a."""

    mean: Array  # [samples], mean of h_a over units
    second: Array  # [samples, samples], mean of h_a h_b over units
    shares: Array  # [samples, samples], fraction of all pairs of the batch that each pair represents; sums to 1
    log_variance: float = 0.0  # variance of ln h² of the batch, over networks of this width
    sample_variance: float = 0.0  # variance of ln h² of one sample
    response: float = 1.0  # d ln h² / d ln of the squared input of the block
    fixed: bool = False  # whether Σ h² equals that of the layer before: an isometry instead of a random sum

    @property
    def covariance(self) -> Array:
        """Covariance over units [samples, samples]."""
        return self.second - np.multiply.outer(self.mean, self.mean)

    def to(
        self, mean: Array, second: Array, response: float, own: float = 0.0, own_of_batch: float | None = None
    ) -> "Signal":
        """The signal of the same batch after the next layer.

        Args:
            mean: [samples], new mean over units.
            second: [samples, samples], new second moments.
            response: d ln h² of the new signal / d ln h² of this one; scales the fluctuations of this signal.
            own: relative variance that the layer adds to the square of one sample.
            own_of_batch: relative variance that it adds to the square of the batch; by default the part of `own` that
                the samples have in common.
        """
        of_batch = own * self.common(second) if own_of_batch is None else own_of_batch
        return replace(
            self,
            mean=mean,
            second=second,
            log_variance=response**2 * self.log_variance + of_batch,
            sample_variance=response**2 * self.sample_variance + own,
            response=response * self.response,
            fixed=False,
        )

    def common(self, second: Array) -> float:
        """Mean squared correlation of two samples: the fraction of a sample's fluctuation that the batch shares.

        Args:
            second: [samples, samples], second moments.
        """
        scale = np.sqrt(np.maximum(np.diagonal(second), np.finfo(np.float64).tiny))
        return float(np.sum(self.shares * np.minimum((second / np.multiply.outer(scale, scale)) ** 2, 1.0)))


@dataclass(frozen=True)
class Gradient:
    """Moments of the backward signal g_ia = batch · ∂loss/∂h_ia.

    The scale is kept as a logarithm because gradients of deep networks can leave the range of a float64.
    """

    second: Array  # [samples, samples], mean of g_a g_b over units, divided by exp(log_scale)
    log_scale: float = 0.0  # natural logarithm of the factor of `second`
    log_variance: float = 0.0  # variance of ln g² of the batch, over networks of this width
    log_excess: float = 0.0  # mean of ln g² minus that of a log-normal g² with the mean `second`
    along: Array | None = None  # [3, 3, samples, samples], moments along two directions (`directions`), where known
    directed: float = 0.0  # fraction of `second` along one direction that is not random
    fixed: bool = False  # whether Σ g² equals that of the layer after: an isometry instead of a random sum
    response: float = 0.0  # d ln g² / d ln h², through the derivatives of the activations that g has passed

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
        """The gradient before a layer; the largest entry of `second` moves into the scale.

        Args:
            second: [samples, samples], new second moments, divided by exp(log_scale) of this gradient.
            more_variance: variance that the layer adds to ln g² of the batch.
            along: [3, 3, samples, samples], new moments along two directions.
            directed: new fraction along one direction; by default that of this gradient.
            more_excess: what the layer adds to `log_excess`.
            response: d ln g² / d ln h² before the layer.
            of_response: variance from derivatives that follow the forward signal. It does not change the mean of the
                logarithm.
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
