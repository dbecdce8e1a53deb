"""Watched slots read from a ledger: what arrived, what was counted, and the forecast that was made for each slot."""

from pathlib import Path

import numpy as np
import pytest

import ledger.views.watched
from ledger.views.watched import watched_slots
from schemas.forecasts.watched import WatchedSlot
from schemas.records.records import SlotClosed, region_log
from tests.api.town import MEASURE, START_SLOT, Town, build_town, status_of

SLOTS = 40


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """A town with some closed slots."""
    return build_town(tmp_path_factory.mktemp("town"), slots=SLOTS)


def seen(town: Town, first: int = 0, until: int = 2**40) -> list[WatchedSlot]:
    """The slots of a period."""
    return list(watched_slots(town.ledger, town.blobs, town.region, MEASURE, first, until))


def test_every_slot_is_as_recorded(town: Town) -> None:
    """Each slot has the counts at its cut, the totals of its partitions, and the forecast of the slot before."""
    found = seen(town)
    records = {record.slot: record for record in town.ledger.records(region_log("nyc"), SlotClosed)}
    assert list(range(START_SLOT, START_SLOT + SLOTS)) == [watched.slot for watched in found]
    assert [False] + [True] * (SLOTS - 1) == [watched.forecast for watched in found]
    for watched in found:
        record = records[watched.slot]
        assert sum(cut.received for cut in record.partitions) == watched.arrived.received
        assert [cut.partition for cut in record.partitions] == list(watched.partitions)
        assert (status_of(watched.slot) == "observed") == watched.observed
        rides = dict(zip(watched.cells.tolist(), watched.counts.tolist(), strict=True))
        assert sum(sum(table.counts) for table in record.counts if table.measure == MEASURE) == sum(rides.values()) or record.counts_blob
        if watched.forecast:
            columns = town.columns(watched.slot - 1)
            slots = town.region.horizons[0]
            means = dict(zip(watched.cells.tolist(), watched.means.tolist(), strict=True))
            for cell, mean in zip(columns.cells.tolist(), columns.mean[:, 0].tolist(), strict=True):
                assert means[cell] == mean / 1000 / slots


@pytest.mark.parametrize("page", [1, 7, 1_000])
def test_pages_and_bounds_do_not_change_a_slot(town: Town, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """A later start, an earlier end and small pages give the same slots, only fewer; another measure has no rides."""
    every = seen(town)
    monkeypatch.setattr(ledger.views.watched, "PAGE_ENTRIES", page)
    some = seen(town, START_SLOT + 5, START_SLOT + 15)
    assert list(range(START_SLOT + 5, START_SLOT + 15)) == [watched.slot for watched in some]
    for watched, same in zip(some[1:], every[6:15], strict=True):
        assert (watched.partitions, watched.index, watched.late) == (same.partitions, same.index, same.late)
        assert all(np.array_equal(getattr(watched, name), getattr(same, name)) for name in ("cells", "counts", "means", "dispersion"))
    assert some[0].forecast


def test_a_log_without_slots_has_none(tmp_path: Path) -> None:
    """A region that has closed no slot gives nothing to watch."""
    town = build_town(tmp_path, slots=1)
    assert [] == seen(town, START_SLOT + 1)
    assert 1 == len(seen(town))
