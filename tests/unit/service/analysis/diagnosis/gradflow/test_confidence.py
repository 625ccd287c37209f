"""Confidence of a finding."""

from hypothesis import given
from hypothesis import strategies as st

from service.analysis.diagnosis.gradflow.confidence import confidence


@given(st.floats(0, 20), st.floats(0, 1), st.integers(1, 10_000), st.floats(0, 5))
def test_confidence_grows_with_distance_duration_and_number_of_steps(
    beyond: float, fraction: float, steps: int, more: float
) -> None:
    here = confidence(beyond, fraction, steps)

    assert 0 <= here <= 1
    assert confidence(beyond + more, fraction, steps) >= here
    assert confidence(beyond, min(1, fraction + more), steps) >= here
    assert confidence(beyond, fraction, steps + 1) >= here


def test_confidence_at_the_threshold_is_at_most_one_half() -> None:
    assert confidence(0.0, 1.0, 10**9) < 0.5 + 1e-6
