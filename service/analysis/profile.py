"""Profile of gradient norms over depth: its slope and its level.

The command line has its own copy in `gradflow.profile`, since neither package may import the other;
tests/unit/gradflow/test_profile.py holds the two equal.
"""

import numpy as np
import numpy.typing as npt

Float64s = npt.NDArray[np.float64]


def log10_profile(norms: npt.ArrayLike) -> Float64s:
    """Base-10 logarithm of each gradient norm.

    Args:
        norms: gradient norms of any shape.

    Returns:
        float64 of the same shape; NaN where a norm is zero, negative or not finite.
    """
    values = np.asarray(norms, np.float64)
    usable = np.isfinite(values) & (values > 0)
    return np.log10(values, out=np.full(values.shape, np.nan), where=usable)


def line_slope(values: Float64s) -> float | None:
    """Slope of the least-squares line through values at equally spaced depths.

    Args:
        values: float64 [depths]; nonfinite values are left out.

    Returns:
        Change per depth, or None if fewer than two values are finite.
    """
    usable = np.isfinite(values)
    if usable.sum() < 2:
        return None
    return float(np.polyfit(np.flatnonzero(usable), values[usable], 1)[0])


def slope(norms: npt.ArrayLike) -> float | None:
    """Decades of gradient norm lost per layer towards the input.

    The least-squares slope of the profile over the hidden kernels W_2 … W_{L-1}; positive when the gradient shrinks
    towards the input.

    Args:
        norms: gradient norms [kernels], ordered from input to output.

    Returns:
        The slope, or None if fewer than two hidden kernels have a usable norm.
    """
    return slope_of(log10_profile(norms))


def slope_of(profile: Float64s) -> float | None:
    """`slope` of a profile that is already logarithmic, and so may lie outside the range of a float64.

    Args:
        profile: log10 of the gradient norms [kernels], ordered from input to output.
    """
    return line_slope(profile[1:-1])


def slopes(norms: npt.ArrayLike) -> Float64s:
    """`slope` of many runs of one network.

    Args:
        norms: gradient norms [runs, kernels], ordered from input to output.

    Returns:
        float64 [runs]; NaN where `slope` is None.
    """
    profiles = log10_profile(norms)[:, 1:-1]
    usable = np.isfinite(profiles)
    found = np.full(len(profiles), np.nan)
    if profiles.shape[1] < 2:
        return found
    for pattern in np.unique(usable, axis=0):  # one fit for all runs whose usable kernels are the same
        if pattern.sum() >= 2:
            runs = np.flatnonzero((usable == pattern).all(axis=1))
            found[runs] = np.polyfit(np.flatnonzero(pattern), profiles[np.ix_(runs, pattern)].T, 1)[0]
    return found


def levels(norms: npt.ArrayLike) -> Float64s:
    """Mean of the profile over the hidden kernels W_2 … W_{L-1}.

    Args:
        norms: gradient norms [runs, kernels], ordered from input to output.

    Returns:
        float64 [runs], in decades; NaN where no hidden kernel has a usable norm.
    """
    profiles = log10_profile(norms)[:, 1:-1]
    usable = np.isfinite(profiles)
    with np.errstate(invalid="ignore"):
        means = np.where(usable, profiles, 0.0).sum(axis=1) / usable.sum(axis=1)
    return np.where(usable.any(axis=1), means, np.nan)
