"""Long computations leave threads for other requests."""

import asyncio
import threading

import pytest
from starlette.concurrency import run_in_threadpool

from service.api.http.computing import Computing

THREADS = 40  # shared by all endpoints in Starlette


def test_only_a_few_computations_run_at_once_and_other_requests_find_a_thread() -> None:
    asked = 2 * THREADS
    working, most, may_end = 0, 0, threading.Event()
    counting = threading.Lock()

    def work() -> int:
        nonlocal working, most
        with counting:
            working += 1
            most = max(most, working)
        assert may_end.wait(30)
        with counting:
            working -= 1
        return threading.get_ident()

    async def all_at_once() -> list[int]:
        computing = Computing(max_threads=3)
        waiting = [asyncio.create_task(computing.run(work)) for _ in range(asked)]
        while working < 3:
            await asyncio.sleep(0.001)
        assert await asyncio.wait_for(run_in_threadpool(lambda: "at once"), 30) == "at once"
        may_end.set()
        return await asyncio.gather(*waiting)

    threads = asyncio.run(all_at_once())

    assert len(threads) == asked
    assert most == 3


def test_an_error_of_the_work_reaches_the_caller_and_frees_the_thread() -> None:
    async def twice() -> int:
        computing = Computing(max_threads=1)
        with pytest.raises(ZeroDivisionError):
            await computing.run(lambda: 1 // 0)
        return await computing.run(lambda: 7)

    assert asyncio.run(twice()) == 7
