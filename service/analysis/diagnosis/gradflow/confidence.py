"""How sure a finding is."""


def confidence(beyond: float, part: float, steps: int) -> float:
    """From 0 to 1: by how far, how long, and on how much it rests.

    Args:
        beyond: decades by which the observed value is beyond the threshold; at the threshold itself it is an even bet,
            one decade beyond 19 to 1.
        part: of the judged steps at which it holds.
        steps: judged in all; what holds at one step alone is believed by half.
    """
    return float((1 - 0.5 * 10 ** -max(beyond, 0.0)) * part * steps / (steps + 1))
