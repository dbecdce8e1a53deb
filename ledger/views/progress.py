"""Progress of a run, read only from the ledger: the same for one process or many, embedded or not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.store.log import Ledger
from ledger.views.follow import Follower, Place
from ledger.views.source_news import NEWS, SourceNews, sentence
from schemas.records.records import ForecastIssued, SlotClosed, SlotScored, SourceGap, region_log

PAGE_ENTRIES = 5_000


@dataclass(slots=True)
class RegionProgress:
    """Totals of one region since the watch started.

    Attributes:
        slot: Last closed slot, -1 for none yet.
        events: Events received in the slots closed since the start.
        rides, corrections: Counted rides; rides that came after the cut of their slot.
        cells: Cells in the newest forecast.
        square_micro, baseline_square_micro: Pooled squared errors of the shortest horizon, 1/1,000,000.
        scored: Forecasts that they are pooled over.
        offsets: partition -> offset up to which slots are closed.
        lost: Offsets that the source deleted before they were read.
        news: What happened to the source, in sentences; whoever shows them empties the list.
    """

    region: str
    slot: int = -1
    slots: int = 0
    events: int = 0
    rides: int = 0
    corrections: int = 0
    rejected: int = 0
    cells: int = 0
    square_micro: int = 0
    baseline_square_micro: int = 0
    scored: int = 0
    offsets: dict[int, int] = field(default_factory=dict)
    lost: int = 0
    news: list[str] = field(default_factory=list)

    def share(self, ahead: Mapping[int, tuple[int, int]]) -> float:
        """Share of some offsets that is in closed slots, 0 to 1.

        Args:
            ahead: partition -> (first offset, end).
        """
        done = sum(min(end, max(first, self.offsets.get(partition, first))) - first for partition, (first, end) in ahead.items())
        return done / total if (total := sum(end - first for first, end in ahead.values())) > 0 else 1.0

    @property
    def rmse(self) -> float | None:
        """RMSE of the mean at the shortest horizon, or None before the first score.

        Busy cells decide it. A WAPE over all cells would be one of the quiet ones, near 1 whatever the forecasts are.
        """
        return float((self.square_micro / 1_000_000 / self.scored) ** 0.5) if self.scored else None

    @property
    def baseline_rmse(self) -> float | None:
        """The same for the baseline."""
        return float((self.baseline_square_micro / 1_000_000 / self.scored) ** 0.5) if self.scored else None


class ProgressWatch:
    """Follows the logs of some regions from their current size.

    Args:
        ledger: Open ledger.
        regions: Names of the regions.
    """

    def __init__(self, ledger: Ledger, regions: Sequence[str]) -> None:
        self._ledger = ledger
        self.regions: list[RegionProgress] = []
        self._followers: list[Follower] = []
        for region in regions:
            self.add(region)

    def add(self, region: str) -> None:
        """Follow one more region's log from its current size."""
        self._followers.append(_follower(self._ledger, region_log(region)))
        self.regions.append(RegionProgress(region))

    def look(self) -> list[RegionProgress]:
        """Fold the entries appended since the last call; from the cut if a log was rolled back or continued."""
        for progress, follower in zip(self.regions, self._followers, strict=True):
            for batch in follower.catch_up(PAGE_ENTRIES):
                for stored in batch.entries:
                    _FOLDS[stored.kind](progress, stored.record)
                follower.move(batch.next)
        return self.regions


def _follower(ledger: Ledger, log: str) -> Follower:
    return Follower(ledger, log, Place(ledger.number(log), ledger.head(log).size), kinds=(SlotClosed, SlotScored, ForecastIssued, *NEWS))


def _closed(progress: RegionProgress, record: SlotClosed) -> None:
    progress.slot = record.slot
    progress.slots += 1
    for cut in record.partitions:
        progress.events += cut.received
        progress.rides += cut.counted
        progress.rejected += sum(cut.rejected.values())
        progress.offsets[cut.partition] = cut.cut
    progress.corrections += sum(sum(table.counts) for table in record.corrections)


def _scored(progress: RegionProgress, record: SlotScored) -> None:
    if record.settled or not record.rows:
        return
    row = min(record.rows, key=lambda r: r.horizon_min)
    progress.scored += row.cells
    progress.square_micro += row.square_error_micro
    progress.baseline_square_micro += row.baseline_square_error_micro


def _issued(progress: RegionProgress, record: ForecastIssued) -> None:
    progress.cells = record.cells


def _changed(progress: RegionProgress, record: SourceNews) -> None:
    progress.news.append(sentence(record))
    if isinstance(record, SourceGap):
        progress.lost += record.to_offset - record.from_offset


_FOLDS: dict[str, Callable[[RegionProgress, Any], None]] = {
    SlotClosed.__name__: _closed,
    SlotScored.__name__: _scored,
    ForecastIssued.__name__: _issued,
    **{kind.__name__: _changed for kind in NEWS},
}
