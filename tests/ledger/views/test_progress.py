"""Progress of a run, from the ledger alone: totals equal the records', for any number of reads."""

from pathlib import Path

import pytest

from dataflows.stream.stores import Stores
from ledger.views.progress import ProgressWatch, RegionProgress
from schemas.records.record_codec import decode
from schemas.records.records import ForecastIssued, SlotClosed, SlotScored
from tests.api.town import Town, build_town
from tests.simulation.fixtures import Settled
from tests.simulation.runs import LOG, copied, run_here


def plain(stores: Stores, first: int) -> RegionProgress:
    """The totals over the entries from one on, straight from the records."""
    out = RegionProgress("small")
    for stored in stores.ledger.read(LOG, first):
        match decode(stored.payload):
            case SlotClosed() as closed:
                out.slot, out.slots = closed.slot, out.slots + 1
                out.events += sum(cut.received for cut in closed.partitions)
                out.rides += sum(cut.counted for cut in closed.partitions)
                out.rejected += sum(n for cut in closed.partitions for n in cut.rejected.values())
                out.corrections += sum(n for table in closed.corrections for n in table.counts)
                out.offsets = {cut.partition: cut.cut for cut in closed.partitions}
            case SlotScored(settled=False) as scored:
                row = scored.rows[0]
                assert 15 == row.horizon_min
                out.scored += row.cells
                out.square_micro += row.square_error_micro
                out.baseline_square_micro += row.baseline_square_error_micro
            case ForecastIssued() as issued:
                out.cells = issued.cells
            case _:
                pass
    return out


@pytest.mark.parametrize("page", [1, 5_000])
def test_totals_are_those_of_the_records(settled: Settled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """A watch from the start of a log counts everything that a run appended, in pages of any size."""
    monkeypatch.setattr("ledger.views.progress.PAGE_ENTRIES", page)
    place = copied(settled.place, tmp_path / "home")
    stores = place.open()
    watch = ProgressWatch(stores.ledger, ["small"])
    first = stores.ledger.head(LOG).size
    [before] = watch.look()
    assert (-1, 0, None, None) == (before.slot, before.slots, before.rmse, before.baseline_rmse)
    looks: list[int] = []
    run_here(place, lambda report: looks.append(watch.look()[0].slot) if len(looks) < 5 else None)
    [now] = watch.look()
    assert plain(stores, first) == now
    assert looks == sorted(looks)
    assert now.events > now.rides > now.corrections > 0
    assert now.rejected > 0
    stores.close()


def test_a_watch_starts_at_the_end_of_the_log(growing: Town) -> None:
    """Entries from before the watch are not counted."""
    assert growing.ledger.head("region/nyc").size > 5  # slots were closed before
    assert [RegionProgress("nyc")] == ProgressWatch(growing.ledger, ["nyc"]).look()


def test_errors_are_pooled_over_the_shortest_horizon(growing: Town) -> None:
    """RMSE is the root of the mean of all squares; settled scores do not count twice."""
    watch = ProgressWatch(growing.ledger, ["nyc", "tehran"])
    growing.close(4)
    nyc, tehran = watch.look()
    assert 4 * 30 == nyc.scored
    assert pytest.approx((3**0.5, 2.0)) == (nyc.rmse, nyc.baseline_rmse)
    assert (-1, None) == (tehran.slot, tehran.rmse)
    assert growing.newest == nyc.slot


def test_a_share_counts_from_where_a_run_resumes() -> None:
    """The share is 0 before the first close, 1 at the ends, and 1 for a run without new rides."""
    ahead = {0: (100, 200), 1: (50, 150)}
    progress = RegionProgress("nyc")
    assert 0.0 == progress.share(ahead)
    progress.offsets = {0: 150, 1: 50}
    assert 0.25 == progress.share(ahead)
    progress.offsets = {0: 200, 1: 150}
    assert 1.0 == progress.share(ahead)
    assert 1.0 == progress.share({0: (7, 7)})


@pytest.fixture
def growing(tmp_path: Path) -> Town:
    """A recorded town with three closed slots."""
    return build_town(tmp_path / "town", slots=3)
