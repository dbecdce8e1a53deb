"""Filling a store from a ledger: what another ledger left there is replaced, what a faster publisher put there stays."""

import logging

import pytest

from ledger.store.limits import Limits
from ledger.views.online.connect import open_redis
from ledger.views.online.follow_store import StoreFollower
from ledger.views.online.memory import MemoryStore
from ledger.views.online.protocol import StoredIssue
from ledger.views.online.redis import RedisStore
from ledger.views.online.refresh import newest_issues, refresh, state_of
from schemas.regions import load_region
from tests.api.town import Town
from tests.forecast_samples import sample_blob, sample_columns, sample_entry
from tests.services.redis import RedisServer

LOG = "region/nyc"


def foreign(index: int, number: int = 1) -> StoredIssue:
    """An issue of another ledger."""
    columns = sample_columns(30, seed=index)
    return StoredIssue(index, sample_entry(columns, slot=index, region="nyc", measure="pickups"), sample_blob(columns), number)


@pytest.mark.parametrize("lead", [4_640, 0])
def test_what_another_ledger_left_is_replaced(growing_town: Town, redis_url: str, caplog: pytest.LogCaptureFixture, lead: int) -> None:
    """A new home on a Redis that an older one filled answers with its own issue, at an index that its log has, and says so once."""
    town = growing_town
    size = town.ledger.head(LOG).size
    client = open_redis(redis_url, Limits(2.0, 2.0))
    store = RedisStore(client, "local")
    store.put(foreign(size - 1 + lead))
    follower = StoreFollower(town.ledger, town.blobs, store, ("nyc",))
    with caplog.at_level(logging.WARNING):
        assert [follower.step(), follower.step()] == [1, 0]
    held = store.get("nyc", "pickups")
    assert held is not None
    assert (held.index, held.entry) == (size - 1, town.ledger.read(LOG, size - 1)[0].payload)
    expected = f"online store: nyc pickups: it held entry {size - 1 + lead} of another ledger; replaced by entry {size - 1}"
    assert [expected] == [record.getMessage() for record in caplog.records]
    client.close()


def test_what_a_faster_publisher_put_stays(growing_town: Town) -> None:
    """A publisher that read the log before it grew does not replace an issue that the log has."""
    town, store = growing_town, MemoryStore()
    before = newest_issues(town.ledger, load_region("nyc"))
    town.close(1)
    assert refresh(town.ledger, store, town.blobs, newest_issues(town.ledger, load_region("nyc")), 1) == 1
    assert refresh(town.ledger, store, town.blobs, before, 1) == 0
    assert store.newest("nyc", "pickups")[1] > before[-1].index


def test_an_older_issue_of_another_ledger_is_replaced_without_a_word(growing_town: Town, caplog: pytest.LogCaptureFixture) -> None:
    """A lower index of another ledger needs no warning: the newer issue replaces it as always."""
    store = MemoryStore()
    store.put(foreign(1))
    with caplog.at_level(logging.WARNING):
        assert StoreFollower(growing_town.ledger, growing_town.blobs, store, ("nyc",)).step() == 1
    assert [] == caplog.records


def test_the_state_of_a_store_is_said_in_words(growing_town: Town, redis_server: RedisServer) -> None:
    """Empty, of another ledger, up to date, behind, away: each is told apart."""
    town, region = growing_town, load_region("nyc")
    redis_server.flush()
    client = open_redis(redis_server.url, Limits(2.0, 2.0))
    store = RedisStore(client, "local")
    assert state_of(town.ledger, store, region) == "empty"
    store.put(foreign(5_042))
    assert state_of(town.ledger, store, region) == "holds entry 5042 of another ledger"
    follower = StoreFollower(town.ledger, town.blobs, store, ("nyc",))
    follower.step()
    assert state_of(town.ledger, store, region) == "up to date"
    before = town.ledger.head(LOG).size - 1
    town.close(1)
    newest = newest_issues(town.ledger, region)[-1].index
    assert state_of(town.ledger, store, region) == f"behind: holds entry {before}, the newest is {newest}"
    redis_server.kill()
    assert state_of(town.ledger, store, region).startswith(f"does not answer: Redis at {redis_server.address}: ")
    client.close()


def test_an_emptied_store_is_filled_again(growing_town: Town) -> None:
    """A store that lost its content has the newest issue after one step, although the log did not grow."""
    stores = [MemoryStore(), MemoryStore()]
    follower = StoreFollower(growing_town.ledger, growing_town.blobs, stores[0], ("nyc",))
    assert follower.step() == 1
    follower._store = stores[1]
    assert follower.step() == 1
    assert stores[0].get("nyc", "pickups") == stores[1].get("nyc", "pickups") is not None
