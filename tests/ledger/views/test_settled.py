"""Settled issues read from a ledger: the forecasts as issued, and the rides of each window with what came late."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ledger.views.settled
from ledger.views.append import append_shared
from ledger.views.settled import settled_issues
from schemas.forecasts.chunks import NUMBERS, ForecastColumns, unpack_blob
from schemas.records.records import RUNS_LOG, BlobsExpired
from tests.api.town import MEASURE, START_SLOT, Town, build_town, status_of

SLOTS, LONGEST, SETTLE = 60, 12, 12


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """A town with five hours of closed slots."""
    return build_town(tmp_path_factory.mktemp("town"), slots=SLOTS)


def test_the_truth_is_what_is_known_after_settling(town: Town) -> None:
    """Every settled issue has its forecasts and the rides of each window, late ones included, as a plain sum finds them."""
    found = list(settled_issues(town.ledger, town.blobs, town.region, MEASURE, START_SLOT, START_SLOT + SLOTS))
    assert list(range(START_SLOT, START_SLOT + SLOTS - LONGEST - SETTLE)) == [issue.slot for issue in found]
    for issue in found:
        expected = town.columns(issue.slot)
        assert [expected.mean.tolist(), expected.fallback.tolist()] == [issue.columns.mean.tolist(), issue.columns.fallback.tolist()]
        assert town.cells.tolist() == issue.cells.tolist()
        for i, h in enumerate(town.region.horizons):
            window = range(issue.slot + 1, issue.slot + 1 + h)
            truth = [sum(town.rides(slot, number) for slot in window) for number in range(len(town.cells))]
            assert truth == issue.truth[:, i].tolist()
            assert all(status_of(slot) == "observed" for slot in window) == issue.whole[i]
    assert {True, False} == {bool(issue.whole[0]) for issue in found}


@pytest.mark.parametrize("page", [1, 7, 1_000])
def test_pages_and_bounds_do_not_change_an_issue(town: Town, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """A later start, a step and small pages give the same issues, only fewer."""
    every = {issue.slot: issue for issue in settled_issues(town.ledger, town.blobs, town.region, MEASURE, 0, 2**40)}
    monkeypatch.setattr(ledger.views.settled, "PAGE_ENTRIES", page)
    first = START_SLOT + 5
    some = list(settled_issues(town.ledger, town.blobs, town.region, MEASURE, first, first + 20, step=3))
    assert list(range(first, first + 20, 3)) == [issue.slot for issue in some]
    assert all(np.array_equal(issue.truth, every[issue.slot].truth) for issue in some)
    assert all(np.array_equal(issue.whole, every[issue.slot].whole) for issue in some)


def test_a_cell_with_rides_and_no_forecast_is_among_the_cells(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rides in a cell that was not forecast are counted beside the forecast ones."""
    [issue] = settled_issues(town.ledger, town.blobs, town.region, MEASURE, START_SLOT, START_SLOT + 1)
    busiest = int(np.argmax(issue.truth[:, -1]))

    class Fewer:
        def __init__(self, data: bytes) -> None:
            self._blob = unpack_blob(data)

        def columns(self, horizons_min: tuple[int, ...]) -> ForecastColumns:
            full = self._blob.columns(horizons_min)
            keep = np.arange(len(full)) != busiest
            numbers = {name: getattr(full, name)[keep] for name in NUMBERS}
            return replace(full, cells=full.cells[keep], fallback=full.fallback[keep], **numbers)

    monkeypatch.setattr(ledger.views.settled, "unpack_blob", Fewer)
    [fewer] = settled_issues(town.ledger, town.blobs, town.region, MEASURE, START_SLOT, START_SLOT + 1)
    assert len(issue.columns) - 1 == len(fewer.columns)
    assert (issue.cells.tolist(), issue.truth.tolist()) == (fewer.cells.tolist(), fewer.truth.tolist())


def test_nothing_is_settled_yet_or_any_more(tmp_path: Path) -> None:
    """A young log, a period after its end, another measure and expired chunks give no issues."""
    town = build_town(tmp_path, slots=LONGEST + SETTLE)
    assert [] == list(settled_issues(town.ledger, town.blobs, town.region, MEASURE, START_SLOT, START_SLOT + 99))
    town.close(3)
    assert 3 == len(list(settled_issues(town.ledger, town.blobs, town.region, MEASURE, START_SLOT, START_SLOT + 99)))
    assert [] == list(settled_issues(town.ledger, town.blobs, town.region, "requests", START_SLOT, START_SLOT + 99))
    assert [] == list(settled_issues(town.ledger, town.blobs, town.region, MEASURE, START_SLOT + 99, START_SLOT + 199))
    gone = BlobsExpired(region="nyc", retention="forecast", from_slot=START_SLOT, until_slot=START_SLOT + 2, count=2, digests=bytes(32))
    append_shared(town.ledger, RUNS_LOG, gone)
    kept = settled_issues(town.ledger, town.blobs, town.region, MEASURE, START_SLOT, START_SLOT + 99)
    assert [START_SLOT + 2] == [issue.slot for issue in kept]
