"""How sure a finding is."""

from hypothesis import given
from hypothesis import strategies as st

from service.analysis.diagnosis.gradflow.confidence import confidence


@given(st.floats(0, 20), st.floats(0, 1), st.integers(1, 10_000), st.floats(0, 5))
def test_further_beyond_longer_and_on_more_steps_is_surer(beyond: float, part: float, steps: int, more: float) -> None:
    here = confidence(beyond, part, steps)

    assert 0 <= here <= 1
    assert confidence(beyond + more, part, steps) >= here
    assert confidence(beyond, min(1, part + more), steps) >= here
    assert confidence(beyond, part, steps + 1) >= here


def test_at_the_threshold_it_is_an_even_bet_at_best() -> None:
    assert confidence(0.0, 1.0, 10**9) < 0.5 + 1e-6
