"""The online store in Redis: outages, lost data, and changes under a reader."""

import numpy as np
import pytest
from redis import Redis

from ledger.views.online.protocol import StoredIssue
from ledger.views.online.redis import RedisStore
from schemas.errors import StoreUnavailable
from schemas.forecasts.chunks import NUMBERS, ForecastColumns, decode_chunk
from tests.forecast_samples import FIRST_CELL, sample_blob, sample_columns, sample_entry
from tests.services.redis import RedisServer


def issue(index: int) -> StoredIssue:
    """A stored issue of 40 cells."""
    columns = sample_columns(seed=index)
    return StoredIssue(index, sample_entry(columns), sample_blob(columns))


def test_a_redis_that_is_down_is_reported_in_one_line(redis_server: RedisServer) -> None:
    """Every request to a stopped Redis raises StoreUnavailable with its address; a restarted Redis is used again."""
    redis_server.flush()
    client = Redis.from_url(redis_server.url)
    store = RedisStore(client)
    store.put(issue(1))
    redis_server.kill()
    expected = rf"Redis at 127\.0\.0\.1:{redis_server.port}: "
    with pytest.raises(StoreUnavailable, match=expected):
        store.put(issue(2))
    with pytest.raises(StoreUnavailable, match=expected):
        store.get("nyc", "pickups")
    with pytest.raises(StoreUnavailable, match=expected):
        store.cell("nyc", "pickups", FIRST_CELL)
    with pytest.raises(StoreUnavailable, match=expected):
        store.newest("nyc", "pickups")
    with pytest.raises(StoreUnavailable, match=expected):
        store.ping()
    redis_server.start()
    store.ping()
    assert store.put(issue(3))
    assert store.get("nyc", "pickups") == issue(3)
    client.close()


def test_an_emptied_redis_is_empty_for_existing_readers(redis_url: str) -> None:
    """A reader does not answer from its cache of a deleted issue."""
    client = Redis.from_url(redis_url)
    store = RedisStore(client)
    store.put(issue(1))
    assert store.cell("nyc", "pickups", FIRST_CELL) is not None
    client.flushall()
    assert store.cell("nyc", "pickups", FIRST_CELL) is None
    assert store.put(issue(1))
    assert store.cell("nyc", "pickups", FIRST_CELL) is not None
    client.close()


def test_two_instances_share_a_redis(redis_url: str) -> None:
    """Staging does not overwrite what production serves."""
    client = Redis.from_url(redis_url)
    RedisStore(client, "production").put(issue(1))
    assert RedisStore(client, "staging").get("nyc", "pickups") is None
    client.close()


def test_a_reader_never_takes_a_chunk_by_the_contents_of_an_older_issue(redis_url: str) -> None:
    """If a newer issue has other cells per chunk, a client that cached the older one finds each cell, and no retired one."""
    client = Redis.from_url(redis_url)
    writer, reader = RedisStore(client), RedisStore(client)
    old, new = sample_columns(40, seed=1), sample_columns(80, seed=2)
    later = np.arange(24, 80)  # The first 24 cells retire, so every chunk starts at another cell.
    shifted = ForecastColumns(new.cells[later], new.horizons_min, *(getattr(new, name)[later] for name in (*NUMBERS, "fallback")))
    writer.put(StoredIssue(1, sample_entry(old), sample_blob(old)))
    assert reader.cell("nyc", "pickups", int(old.cells[20])) is not None
    writer.put(StoredIssue(2, sample_entry(shifted), sample_blob(shifted)))
    for row, cell in enumerate(new.cells.tolist()):
        held = reader.cell("nyc", "pickups", cell)
        if row < 24:
            assert held is None
        else:
            assert held is not None
            assert cell in decode_chunk(held.chunk, new.horizons_min).cells.tolist()
            assert 2 == held.log_index
    client.close()


def test_a_chunk_is_not_read_under_a_stale_index(redis_url: str) -> None:
    """The first read after a newer issue returns the newer entry and its chunk, never the old position with new bytes."""
    client = Redis.from_url(redis_url)
    writer, reader = RedisStore(client), RedisStore(client)
    writer.put(issue(1))
    assert reader.cell("nyc", "pickups", FIRST_CELL) is not None
    writer.put(issue(2))
    held = reader.cell("nyc", "pickups", FIRST_CELL)
    assert held is not None
    assert (2, sample_entry(sample_columns(seed=2))) == (held.log_index, held.entry)
    client.close()
