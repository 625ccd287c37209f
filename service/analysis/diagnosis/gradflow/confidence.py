"""Confidence of a finding."""


def confidence(beyond: float, fraction: float, steps: int) -> float:
    """Confidence between 0 and 1: how far beyond its threshold, how long, and at how many steps.

    Args:
        beyond: decades by which the observed value is beyond the threshold. At the threshold the odds are even; one
            decade beyond it they are 19 to 1.
        fraction: fraction of the evaluated steps at which the finding holds.
        steps: number of evaluated steps; a single step halves the confidence.
    """
    return float((1 - 0.5 * 10 ** -max(beyond, 0.0)) * fraction * steps / (steps + 1))
