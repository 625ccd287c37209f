"""What flows through a network of many units: moments over the units of a layer, for all pairs of a batch's rows."""

from dataclasses import dataclass, replace

import numpy as np

from service.analysis.theory.activations import Array


@dataclass(frozen=True)
class Signal:
    """Forward: h_i,a of unit i and row a."""

    mean: Array  # [rows], over units
    second: Array  # [rows, rows], mean of h_a h_b over units

    @property
    def covariance(self) -> Array:
        """Over units [rows, rows]."""
        return self.second - np.multiply.outer(self.mean, self.mean)


@dataclass(frozen=True)
class Gradient:
    """Backward: g_i,a = batch · ∂loss/∂h_i,a. Its scale is apart, for it may lie beyond what a float holds."""

    second: Array  # [rows, rows], mean of g_a g_b over units
    log_scale: float = 0.0  # natural logarithm of what `second` is to be multiplied with

    def scaled(self, second: Array) -> "Gradient":
        """Another matrix on the same scale, its largest entry taken out."""
        largest = float(np.max(np.abs(second)))
        if not 0.0 < largest < np.inf:
            return replace(self, second=second)
        return Gradient(second / largest, self.log_scale + float(np.log(largest)))
