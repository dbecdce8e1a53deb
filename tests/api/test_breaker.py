"""Requests are refused at once after the stores answered nobody, and one at a time tries them."""

import asyncio
import time

import pytest

from api.breaker import TRIAL_S, Breaker
from api.problems import Problem
from api.threads import StoreThreads
from ledger.store.waiting import Patience
from schemas.errors import NotFound, StoreUnavailable


class Room:
    """A breaker without jitter at a time that the test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.answered_s = 0.0  # when the stores answered a probe
        even = Patience(first_s=0.5, longest_s=5.0, spread=0.0)
        self.breaker = Breaker(lambda: 0.0, lambda: self.now_s, lambda at_s: self.answered_s >= at_s, even)


@pytest.fixture
def room() -> Room:
    return Room()


def test_it_opens_for_longer_after_each_failure(room: Room) -> None:
    """Closed at first; refused for 0.5 s, then 1 s, 2 s and so on up to 5 s, where one request tries each time."""
    assert 0.0 == room.breaker.refused_s()
    room.breaker.failed()
    for wait_s in (0.5, 1.0, 2.0, 4.0, 5.0, 5.0):
        assert pytest.approx(wait_s) == room.breaker.refused_s()
        room.now_s += wait_s
        assert 0.0 == room.breaker.refused_s(), "one tries"
        assert pytest.approx(TRIAL_S) == room.breaker.refused_s(), "the others do not"
        room.now_s += 1.5
        room.breaker.failed()


def test_many_failures_at_once_are_one(room: Room) -> None:
    """Requests that were under way together do not lengthen the wait."""
    for _ in range(60):
        room.breaker.failed()
        room.now_s += 0.001
    assert room.breaker.refused_s() <= 0.5


def test_an_answer_closes_it(room: Room) -> None:
    """An answer to the request that tries, or to a probe, lets all through, and the next failure is the first."""
    room.breaker.failed()
    room.now_s += 0.5
    assert 0.0 == room.breaker.refused_s()
    room.breaker.succeeded()
    assert [0.0, 0.0] == [room.breaker.refused_s() for _ in range(2)]
    room.breaker.failed()
    assert 0.5 == room.breaker.refused_s()
    room.now_s += 0.1
    room.answered_s = room.now_s
    assert [0.0, 0.0] == [room.breaker.refused_s() for _ in range(2)]


def test_a_trial_that_never_comes_back_lets_another_try(room: Room) -> None:
    """Whoever tries and is lost blocks the others for a bounded time."""
    room.breaker.failed()
    room.now_s += 0.5
    assert 0.0 == room.breaker.refused_s()
    room.now_s += TRIAL_S
    assert 0.0 == room.breaker.refused_s()


@pytest.mark.alone
@pytest.mark.parametrize(("error", "refused"), [(StoreUnavailable("away"), True), (NotFound("none"), False)])
@pytest.mark.parametrize("others_answered", [False, True])
def test_only_silence_of_the_stores_opens_it(error: Exception, refused: bool, others_answered: bool) -> None:
    """A request that fails for a reason of its own, or while others are answered, costs nobody else anything."""

    def fails() -> None:
        raise error

    async def twice() -> None:
        threads = StoreThreads(lambda _: others_answered)
        with pytest.raises(type(error)):
            await threads.run(fails)
        if refused and not others_answered:
            started_s = time.monotonic()
            with pytest.raises(Problem) as caught:
                await threads.run(fails)
            assert ("store-slow", "1") == (caught.value.name, caught.value.headers["retry-after"])
            assert time.monotonic() - started_s < 0.2
        else:
            assert 7 == await threads.run(lambda: 7)

    asyncio.run(twice())
