"""The contract of every online store, run against memory and a real Redis."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from redis import Redis

from ledger.views.online.memory import MemoryStore
from ledger.views.online.protocol import HeldIssue, OnlineStore, StoredIssue
from ledger.views.online.redis import RedisStore
from schemas.errors import DamagedError
from schemas.forecasts.chunks import decode_chunk, pack_blob, unpack_blob
from schemas.records.record_codec import encode
from schemas.records.records import ModelPromoted
from tests.forecast_samples import FIRST_CELL, HORIZONS_MIN, sample_blob, sample_columns, sample_entry

Views = Callable[[], OnlineStore]


@pytest.fixture(params=["memory", "redis"])
def view(request: pytest.FixtureRequest) -> Iterator[Views]:
    """Opens views of one empty store; in memory there is only one."""
    memory = MemoryStore()
    clients: list[Any] = []

    def open_view() -> OnlineStore:
        if request.param == "memory":
            return memory
        clients.append(Redis.from_url(request.getfixturevalue("redis_url")))
        return RedisStore(clients[-1], "test")

    yield open_view
    for client in clients:
        client.close()


def issue(index: int, cells: int = 40, region: str = "nyc", measure: str = "pickups") -> StoredIssue:
    """A stored issue; its numbers depend on its index."""
    columns = sample_columns(cells, seed=index)
    return StoredIssue(index, sample_entry(columns, slot=index, region=region, measure=measure), sample_blob(columns))


def test_an_empty_store_has_no_issue(view: Views) -> None:
    """Before the first put there is no issue and no cell."""
    store = view()
    assert store.get("nyc", "pickups") is None
    assert store.cell("nyc", "pickups", FIRST_CELL) is None
    assert store.newest("nyc", "pickups") == (0, -1)


def test_an_issue_is_returned_byte_for_byte(view: Views) -> None:
    """Every reader gets the ledger's exact bytes of entry and blob."""
    assert view().put(issue(7))
    assert view().get("nyc", "pickups") == issue(7)
    assert view().newest("nyc", "pickups") == (1, 7)


@pytest.mark.parametrize("index", [6, 7])
def test_an_older_or_equal_issue_changes_nothing(view: Views, index: int) -> None:
    """For any order of writes, the newest log index stays."""
    store = view()
    assert store.put(issue(7))
    assert not store.put(issue(index))
    assert not view().put(issue(index))
    assert store.get("nyc", "pickups") == issue(7)


def test_a_continued_log_starts_again_at_lower_indexes(view: Views) -> None:
    """An issue of a log's later origin replaces one of an earlier origin whatever their indexes, and never vice versa."""
    store, again = view(), replace(issue(3), number=2)
    assert store.put(issue(7))
    assert store.put(again)
    assert not view().put(issue(9))
    assert not view().put(replace(issue(2), number=2))
    assert store.get("nyc", "pickups") == again
    assert view().newest("nyc", "pickups") == (2, 3)
    found = store.cell("nyc", "pickups", FIRST_CELL)
    assert found is not None
    assert found.log_index == 3


def test_an_issue_of_another_ledger_is_replaced(view: Views) -> None:
    """An issue that the caller names is replaced whatever its place; if another has come meanwhile, nothing is."""
    store, other = view(), view()
    assert store.held("nyc", "pickups") is None
    store.put(issue(5_042, cells=100))
    held = store.held("nyc", "pickups")
    assert held == HeldIssue(1, 5_042, issue(5_042, cells=100).entry)
    assert not store.put(issue(402))
    assert other.put(issue(5_043))
    assert not store.put(issue(402), instead_of=held)
    assert other.get("nyc", "pickups") == issue(5_043)
    assert store.put(issue(402), instead_of=store.held("nyc", "pickups"))
    assert view().get("nyc", "pickups") == issue(402)
    assert view().newest("nyc", "pickups") == (1, 402)


def test_a_newer_issue_replaces_all_of_the_older(view: Views) -> None:
    """Nothing of a larger older issue remains, even for a reader that has read it."""
    store, reader = view(), view()
    store.put(issue(1, cells=100))
    last = FIRST_CELL + 3 * 99
    assert reader.cell("nyc", "pickups", last) is not None
    assert store.put(issue(2, cells=20))
    assert reader.get("nyc", "pickups") == issue(2, cells=20)
    assert reader.cell("nyc", "pickups", last) is None


def test_one_cell_is_returned_with_its_chunk(view: Views) -> None:
    """A cell's answer has the entry, its index and the cell's chunk, as proofs need them."""
    stored = issue(3, cells=50)
    view().put(stored)
    reader = view()
    chunks = unpack_blob(stored.blob).chunks
    for place in (0, 15, 16, 31, 32, 49):
        found = reader.cell("nyc", "pickups", FIRST_CELL + 3 * place)
        assert found == (stored.entry, 3, chunks[place // 16])
        assert found is not None
        assert FIRST_CELL + 3 * place in decode_chunk(found.chunk, HORIZONS_MIN).cells.tolist()


@pytest.mark.parametrize("cell", [0, FIRST_CELL - 1, FIRST_CELL + 1, FIRST_CELL + 46, FIRST_CELL + 3 * 50, 2**60])
def test_a_cell_that_is_not_forecast_has_no_answer(view: Views, cell: int) -> None:
    """A cell below, between or above the cells of an issue has no answer."""
    view().put(issue(3, cells=50))
    assert view().cell("nyc", "pickups", cell) is None


def test_regions_and_measures_do_not_mix(view: Views) -> None:
    """Each region and measure has its own newest issue."""
    store = view()
    store.put(issue(9))
    store.put(issue(2, measure="requests"))
    store.put(issue(4, region="tehran"))
    assert store.get("nyc", "pickups") == issue(9)
    assert store.get("nyc", "requests") == issue(2, measure="requests")
    assert store.get("tehran", "pickups") == issue(4, region="tehran")
    assert store.get("tehran", "requests") is None


@pytest.mark.parametrize("blob", [b"", pack_blob([])])
def test_an_issue_without_cells_is_an_issue(view: Views, blob: bytes) -> None:
    """A region without rides has an issue, and no cell in it."""
    empty = StoredIssue(1, sample_entry(sample_columns(0)), blob)
    assert view().put(empty)
    assert view().get("nyc", "pickups") == empty
    assert view().cell("nyc", "pickups", FIRST_CELL) is None


def test_other_records_are_refused(view: Views) -> None:
    """Another kind of record, or a blob without chunks, is not stored."""
    store = view()
    with pytest.raises(DamagedError, match="expected a ForecastIssued, got ModelPromoted"):
        store.put(
            StoredIssue(1, encode(ModelPromoted(region="nyc", measure="pickups", model=b"", alias="champion", reason="")), pack_blob([]))
        )
    with pytest.raises(DamagedError, match="blob: expected"):
        store.put(StoredIssue(1, issue(1).entry, b"no blob"))
    assert store.newest("nyc", "pickups") == (0, -1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(indexes=st.lists(st.integers(0, 12), min_size=1, max_size=12), cells=st.integers(1, 40))
def test_the_newest_stays_in_any_order(view: Views, indexes: list[int], cells: int) -> None:
    """For any order of writes, put returns True exactly for a new maximum, and reads return the maximum."""
    store, region = view(), f"r{abs(hash((tuple(indexes), cells)))}"
    if store.newest(region, "pickups") > (0, -1):
        return
    newest = -1
    for index in indexes:
        assert store.put(issue(index, cells, region)) == (index > newest)
        newest = max(newest, index)
        assert store.get(region, "pickups") == issue(newest, cells, region)


def test_readers_never_see_two_issues_at_once(view: Views) -> None:
    """While a writer replaces issues, every cell that is read comes from one issue, and indexes never decrease."""
    issues = [issue(index, cells=60) for index in range(40)]
    writer, reader = view(), view()
    writer.put(issues[0])
    done = threading.Event()

    def write() -> None:
        for each in issues[1:]:
            writer.put(each)
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    newest = 0
    while not done.is_set() or newest < 39:
        found = reader.cell("nyc", "pickups", FIRST_CELL + 3 * 40)
        assert found is not None
        assert found.log_index >= newest
        newest = found.log_index
        assert found == (issues[newest].entry, newest, unpack_blob(issues[newest].blob).chunks[2])
    thread.join()
