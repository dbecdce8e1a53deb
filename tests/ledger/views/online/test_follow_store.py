"""A process without a publisher keeps its own online store up to date with the ledger."""

import threading
import time
from pathlib import Path

import pytest

from ledger.store.continuing import continue_log
from ledger.store.waiting import Patience
from ledger.views.online import follow_store
from ledger.views.online.follow_store import StoreFollower
from ledger.views.online.memory import MemoryStore
from schemas.errors import StoreUnavailable
from tests.api.town import Town
from tests.ledger.places import Place


def test_a_step_puts_only_what_is_newer(growing_town: Town) -> None:
    """A step puts one issue per measure when the log has grown, and none otherwise."""
    store = MemoryStore()
    follower = StoreFollower(growing_town.ledger, growing_town.blobs, store, ("nyc", "tehran"))
    assert [follower.step(), follower.step()] == [1, 0]
    growing_town.close(2)
    assert [follower.step(), follower.step()] == [1, 0]
    assert growing_town.ledger.head("region/nyc").size - 1 == store.newest("nyc", "pickups")[1]


def test_a_continued_log_is_served_again(growing_town: Town, tmp_path: Path) -> None:
    """After a log was rolled back and continued, store and view serve its new content, at lower indexes than before."""
    town, place = growing_town, Place(tmp_path)
    client, size = town.client(), town.ledger.head("region/nyc").size
    town.close(4)
    town.publish()
    before = client.get("/v1/regions/nyc/forecasts").json()
    town.ledger.close()
    place.set_back(size)
    town.ledger = place.open()
    assert continue_log(town.ledger, "region/nyc", "restored from a copy").record.number == 2
    town.slots = 3
    town.close(1)
    StoreFollower(town.ledger, town.blobs, town.store, ("nyc",)).step()
    after = client.get("/v1/regions/nyc/forecasts").json()
    assert town.store.newest("nyc", "pickups") == (2, town.ledger.head("region/nyc").size - 1)
    assert (after["index"], after["slot"]) == (town.ledger.head("region/nyc").size - 1, town.newest)
    assert after["index"] < before["index"]


def test_a_ledger_that_does_not_answer_is_waited_for(growing_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The follower survives an outage and stops when told to."""
    store, stop = MemoryStore(), threading.Event()
    follower = StoreFollower(growing_town.ledger, growing_town.blobs, store, ("nyc",))
    real, failures = follower.step, [StoreUnavailable("down")]

    def step() -> int:
        if failures:
            raise failures.pop()
        return real()

    monkeypatch.setattr(follower, "step", step)
    monkeypatch.setattr(follow_store, "PATIENCE", Patience(first_s=0.01, longest_s=15.0, spread=0.5))
    thread = threading.Thread(target=follower.run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 5
    while store.newest("nyc", "pickups") == (0, -1) and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    thread.join(5)
    assert store.newest("nyc", "pickups") > (0, -1)
    assert not thread.is_alive()
