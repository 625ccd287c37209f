"""A reading, and a failure to read, are kept for a short time."""

import pytest

from service.application.remembered import Remembered
from service.contract.errors import StoreUnavailable
from tests.support.clock import Clock


class Source:
    """Counts its readings; fails while it is away."""

    reads = 0
    away = False

    def read(self) -> int:
        self.reads += 1
        if self.away:
            raise StoreUnavailable("Redis does not answer")
        return self.reads


def test_a_value_is_read_when_it_is_first_needed_and_again_after_its_time() -> None:
    source, clock = Source(), Clock()
    remembered = Remembered(source.read, keep_s=1, clock=clock)
    expired_at_first = remembered.is_expired

    remembered.refresh()
    clock.advance(0.9)
    expired = remembered.is_expired
    assert (expired_at_first, expired) == (True, False)
    assert remembered.value == 1

    clock.advance(0.1)
    expired_again = remembered.is_expired
    assert expired_again
    assert source.reads == 1


def test_a_failure_is_kept_as_well_until_a_reading_succeeds() -> None:
    source, clock = Source(), Clock()
    source.away = True
    remembered = Remembered(source.read, keep_s=1, clock=clock)
    remembered.refresh()

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="Redis does not answer"):
            _ = remembered.value
    assert not remembered.is_expired
    assert source.reads == 1

    source.away = False
    clock.advance(1)
    remembered.refresh()
    assert remembered.value == 2
