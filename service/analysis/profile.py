"""The profile of a network's gradients over its depth, and how fast it falls."""

import numpy as np
import numpy.typing as npt


def log10_profile(norms: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """log10 of gradient norms [layers]; where a norm is 0 or not finite, NaN."""
    values = np.asarray(norms, np.float64)
    usable = np.isfinite(values) & (values > 0)
    return np.log10(values, out=np.full(values.shape, np.nan), where=usable)


def slope(norms: npt.ArrayLike) -> float | None:
    """Decades lost a layer towards the input, from the norms of all kernels, input to output.

    Least squares of the profile over the hidden kernels W_2 … W_{L−1}; positive when the gradient shrinks towards the
    input. None where fewer than two of them have a usable norm.
    """
    profile = log10_profile(norms)[1:-1]
    depth = np.arange(len(profile))
    usable = np.isfinite(profile)
    if usable.sum() < 2:
        return None
    return float(np.polyfit(depth[usable], profile[usable], 1)[0])


def decades_lost(norms: npt.ArrayLike) -> float | None:
    """log10 of the last hidden kernel's norm over the first's; None where either is 0 or not finite."""
    profile = log10_profile(norms)[:-1]
    lost = float(profile[-1] - profile[0]) if len(profile) else np.nan
    return lost if np.isfinite(lost) else None
