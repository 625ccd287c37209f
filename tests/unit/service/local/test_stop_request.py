"""A signal is an event that the main thread waits for."""

import os
import signal

from service.local.stop_request import StopRequest


def test_a_signal_makes_the_request_and_is_remembered() -> None:
    stop = StopRequest()
    before = signal.getsignal(signal.SIGTERM)

    with stop.on_signals():
        assert not stop.wait(0.0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait()
        assert stop.wait(0.0)

    assert signal.getsignal(signal.SIGTERM) == before


def test_a_request_may_be_repeated_without_end() -> None:
    stop = StopRequest()

    for _ in range(100_000):  # more than a pipe holds
        stop.set()

    assert stop.wait()
