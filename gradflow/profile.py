"""Profile of gradient norms over depth, as the command line and the demo show it.

The server has its own in `service.analysis.profile`, vectorized over runs, since neither package may import the
other; tests/unit/gradflow/test_profile.py holds the two equal.
"""

import numpy as np
import numpy.typing as npt


def log10_profile(norms: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Base-10 logarithm of each gradient norm.

    Args:
        norms: gradient norms [kernels], ordered from input to output.

    Returns:
        float64 [kernels]; NaN where a norm is zero, negative or not finite.
    """
    values = np.asarray(norms, np.float64)
    usable = np.isfinite(values) & (values > 0)
    return np.log10(values, out=np.full(values.shape, np.nan), where=usable)


def slope(norms: npt.ArrayLike) -> float | None:
    """Decades of gradient norm lost per layer towards the input.

    The least-squares slope of the profile over the hidden kernels W_2 … W_{L-1}; positive when the gradient shrinks
    towards the input.

    Args:
        norms: gradient norms [kernels], ordered from input to output.

    Returns:
        The slope, or None if fewer than two hidden kernels have a usable norm.
    """
    hidden = log10_profile(norms)[1:-1]
    usable = np.isfinite(hidden)
    if usable.sum() < 2:
        return None
    return float(np.polyfit(np.arange(len(hidden))[usable], hidden[usable], 1)[0])


def decades_lost(norms: npt.ArrayLike) -> float | None:
    """Decades between the gradient norm of the last hidden kernel and that of the first kernel.

    Args:
        norms: gradient norms [kernels], ordered from input to output.

    Returns:
        The base-10 logarithm of their ratio, or None if either norm is zero or not finite.
    """
    profile = log10_profile(norms)[:-1]
    lost = float(profile[-1] - profile[0]) if len(profile) else np.nan
    return lost if np.isfinite(lost) else None
