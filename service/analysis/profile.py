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
    return slope_of(log10_profile(norms))


def slope_of(profile: npt.NDArray[np.float64]) -> float | None:
    """The same from log10 of the norms [kernels], which may be smaller than any norm that a double holds."""
    hidden = profile[1:-1]
    usable = np.isfinite(hidden)
    if usable.sum() < 2:
        return None
    return float(np.polyfit(np.arange(len(hidden))[usable], hidden[usable], 1)[0])


def slopes(norms: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """`slope` of each row of norms [runs, kernels] at once; NaN for None."""
    profiles, usable, depth = _hidden(norms)
    count = np.maximum(usable.sum(axis=1), 1)[:, None]
    depths = np.where(usable, depth, 0.0)
    centered = np.where(usable, depth - depths.sum(axis=1, keepdims=True) / count, 0.0)
    with np.errstate(invalid="ignore"):
        found: npt.NDArray[np.float64] = (centered * profiles).sum(axis=1) / np.square(centered).sum(axis=1)
    return np.where(usable.sum(axis=1) < 2, np.nan, found)


def levels(norms: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mean of the profile over the same kernels, of each row of norms [runs, kernels]; NaN where there is none."""
    profiles, usable, _ = _hidden(norms)
    with np.errstate(invalid="ignore"):
        return np.where(usable.any(axis=1), profiles.sum(axis=1) / usable.sum(axis=1), np.nan)


def _hidden(norms: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Profiles [runs, hidden kernels] with 0 where there is no value, where there is one, and the depths."""
    profiles = log10_profile(norms)[:, 1:-1]
    usable = np.isfinite(profiles)
    return np.where(usable, profiles, 0.0), usable, np.arange(profiles.shape[1], dtype=np.float64)
