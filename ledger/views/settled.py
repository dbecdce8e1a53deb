"""Issued forecasts with what came true: the settled issues of a region, in order and in constant memory."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, holds
from ledger.views.issues import expired_until
from schemas.events.rides import Int64s, UInt64s
from schemas.forecasts.chunks import pack_blob, unpack_blob
from schemas.forecasts.settled import SettledIssue
from schemas.records.count_table import from_table, tables_of
from schemas.records.records import CountTable, ForecastIssued, SlotClosed, SlotStatus, region_log
from schemas.regions import US_PER_S, Region

PAGE_ENTRIES = 1_000


def settled_issues(
    ledger: Ledger, blobs: Blobs, region: Region, measure: str, first: int, until: int, *, step: int = 1
) -> Iterator[SettledIssue]:
    """Every step-th issue of the slots [first, until) whose windows have settled, and whose chunks have not expired.

    Args:
        first, until: Slots at whose cut the forecasts were issued.
        step: In slots, counted from `first`.
    """
    log = region_log(region.id)
    first_kept = max(first, expired_until(ledger, region.id))
    newest = ledger.find(log, SlotClosed)
    start = ledger.entry(log, SlotClosed, first) or ledger.entry(log, SlotClosed, last=False)
    if newest is None or start is None or newest.slot < first:
        return
    longest, settle = region.horizons[-1], -(-region.settle_lateness_s * US_PER_S // region.slot_us)
    rides, waiting, at = _Rides(measure), deque[ForecastIssued](), start.index
    while page := ledger.read_kinds(log, at, None, (SlotClosed, ForecastIssued), PAGE_ENTRIES):
        for stored in page:
            slot = stored.slot or 0
            if holds(stored, SlotClosed):
                rides.close(stored.record, blobs)
                while waiting and waiting[0].slot + longest + settle <= slot:
                    yield _settled(region, waiting.popleft(), rides, blobs)
                rides.forget_before(waiting[0].slot if waiting else slot - longest - settle)
                if slot >= until + longest + settle:
                    return
            elif first_kept <= slot < until and stored.subject == measure and (slot - first) % step == 0:
                waiting.append(stored.record)
        at = page[-1].index + 1


@dataclass(slots=True)
class _Rides:
    """Rides and status of the slots that waiting issues need."""

    measure: str
    counts: dict[int, list[tuple[UInt64s, Int64s]]] = field(default_factory=dict)
    observed: dict[int, bool] = field(default_factory=dict)

    def close(self, record: SlotClosed, blobs: Blobs) -> None:
        own, late = tables_of(record, blobs.get)
        self.observed[record.slot] = record.status == SlotStatus.OBSERVED
        self.counts[record.slot] = []
        for table in (*own, *late):
            self._add(table)

    def _add(self, table: CountTable) -> None:
        if table.measure != self.measure:
            return
        slots, cells, counts = from_table(table)
        for slot in np.unique(slots).tolist():
            if slot in self.counts:
                self.counts[slot].append((cells[slots == slot], counts[slots == slot]))

    def forget_before(self, slot: int) -> None:
        for old in [kept for kept in self.counts if kept < slot]:
            del self.counts[old], self.observed[old]


def _settled(region: Region, issued: ForecastIssued, rides: _Rides, blobs: Blobs) -> SettledIssue:
    columns = unpack_blob(blobs.get(issued.blob) if issued.blob else pack_blob([])).columns(issued.horizons_min)
    ahead = [h // region.slot_min for h in issued.horizons_min]
    parts = [(step, *part) for step in range(1, ahead[-1] + 1) for part in rides.counts.get(issued.slot + step, ())]
    steps = np.concatenate([np.empty(0, np.int64), *(np.full(len(cells), step) for step, cells, _ in parts)])
    found = np.concatenate([np.empty(0, np.uint64), *(cells for _, cells, _ in parts)])
    counts = np.concatenate([np.empty(0, np.int64), *(part for _, _, part in parts)])
    cells = np.union1d(columns.cells, found)
    place = np.searchsorted(cells, found)
    truth = np.zeros((len(cells), len(ahead)), np.int64)
    for i, h in enumerate(ahead):
        np.add.at(truth[:, i], place[steps <= h], counts[steps <= h])
    whole = np.array([all(rides.observed.get(issued.slot + step, False) for step in range(1, h + 1)) for h in ahead])
    return SettledIssue(issued.slot, columns, issued.spread, cells, truth, whole)
