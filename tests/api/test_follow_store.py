"""A process without a publisher keeps its own online store as new as the ledger."""

import threading
import time

import pytest

from api import follow_store
from api.follow_store import StoreFollower
from schemas.errors import StoreUnavailable
from state.store.memory import MemoryStore
from tests.api.town import Town


def test_a_step_puts_only_what_is_newer(growing_town: Town) -> None:
    """One issue per measure and growth of the log; none when nothing was appended."""
    store = MemoryStore()
    follower = StoreFollower(growing_town.ledger, growing_town.blobs, store, ("nyc", "tehran"))
    assert [follower.step(), follower.step()] == [1, 0]
    growing_town.close(2)
    assert [follower.step(), follower.step()] == [1, 0]
    assert growing_town.ledger.head("region/nyc").size - 1 == store.index("nyc", "pickups")


def test_a_ledger_that_does_not_answer_is_waited_for(growing_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The follower outlives an outage and ends when told to."""
    store, stop = MemoryStore(), threading.Event()
    follower = StoreFollower(growing_town.ledger, growing_town.blobs, store, ("nyc",))
    real, failures = follower.step, [StoreUnavailable("down")]

    def step() -> int:
        if failures:
            raise failures.pop()
        return real()

    monkeypatch.setattr(follower, "step", step)
    monkeypatch.setattr(follow_store, "RETRY_S", 0.01)
    thread = threading.Thread(target=follower.run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 5
    while store.index("nyc", "pickups") < 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    thread.join(5)
    assert store.index("nyc", "pickups") >= 0
    assert not thread.is_alive()
