"""Threads that wait for stores are few: those that hang are left behind, and the rest is refused instead of waiting."""

import asyncio
import threading
import time

import pytest

from api.problems import Problem
from api.threads import StoreThreads


def test_a_result_and_an_error_come_back() -> None:
    """What the function returns or raises is what the request gets."""
    threads = StoreThreads()

    def fail() -> None:
        raise ZeroDivisionError

    assert 7 == asyncio.run(threads.run(lambda: 7))
    with pytest.raises(ZeroDivisionError):
        asyncio.run(threads.run(fail))
    assert 0 == threads.open


@pytest.mark.alone
def test_what_hangs_is_left_behind_and_the_rest_is_refused() -> None:
    """With every thread hanging, requests are 503 in time, further ones at once, and all is well when the store is back."""
    back = threading.Event()
    threads = StoreThreads(threads=2, waiting=3, limit_s=0.3)

    async def hang() -> list[object]:
        return list(await asyncio.gather(*(threads.run(back.wait) for _ in range(10)), return_exceptions=True))

    started_s = time.monotonic()
    found = asyncio.run(hang())
    assert time.monotonic() - started_s < 1.5
    names = [problem.name for problem in found if isinstance(problem, Problem)]
    assert (5, 5) == (names.count("store-slow"), names.count("busy"))
    assert all(problem.status == 503 and "retry-after" in problem.headers for problem in found if isinstance(problem, Problem))
    assert 2 == threads.open  # The two that hang; those that only waited were given up.
    back.set()
    while threads.open:
        time.sleep(0.01)
    assert 8 == asyncio.run(threads.run(lambda: 8))


@pytest.mark.alone
def test_a_request_waits_only_while_its_stores_answer_others() -> None:
    """A slow answer is waited for as long as the stores are known to answer; when they do not, it is 503 before its limit."""
    back = threading.Event()
    for answers, longest_s in ((True, 3.2), (False, 2.0)):
        threads = StoreThreads(lambda _, answers=answers: answers, limit_s=2.5)  # type: ignore[misc]  # a default binds the value
        started_s = time.monotonic()
        with pytest.raises(Problem, match="did not answer in time"):
            asyncio.run(threads.run(back.wait))
        assert (2.4 if answers else 1.4) < time.monotonic() - started_s < longest_s
    back.set()
