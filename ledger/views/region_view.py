"""Read view of a region's log: totals, scores, recent counts and issues, folded entry by entry.

Everything here comes from the log. Only the last week is kept; `api.history` reads older counts from the log.
"""

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, Stored, holds
from ledger.views.follow import Change, Follower, Place
from schemas.events.rides import Int64s, UInt64s
from schemas.records.count_table import from_table, tables_of
from schemas.records.record_codec import decode
from schemas.records.records import (
    CountTable,
    ForecastIssued,
    PartitionCut,
    Record,
    RegionBootstrapped,
    ScoreRow,
    SlotClosed,
    SlotCounts,
    SlotScored,
    SlotStatus,
    region_log,
)
from schemas.regions import US_PER_S, Region

KEPT_DAYS = 7
PAGE_ENTRIES = 2_000
SCORE_SUMS = (
    "truth",
    "abs_error_milli",
    "square_error_micro",
    "baseline_abs_error_milli",
    "baseline_square_error_micro",
    "covered",
    "cells",
)

Columns = tuple[UInt64s, Int64s]  # cells ascending, counts
Tables = tuple[tuple[CountTable, ...], tuple[CountTable, ...]]  # counts, corrections


@dataclass(slots=True)
class SlotFacts:
    """One closed slot: its status, the index of its entry, counts per measure, and late rides."""

    slot: int
    index: int
    status: SlotStatus
    counts: dict[str, Columns]
    late: dict[tuple[str, int], int] = field(default_factory=dict)  # (measure, cell) -> rides
    rides: int = 0

    def count(self, measure: str, cell: int) -> int:
        """Rides of a cell, including late rides so far."""
        found = 0
        if measure in self.counts:
            cells, counts = self.counts[measure]
            at = int(np.searchsorted(cells, np.uint64(cell)))
            if at < len(cells) and int(cells[at]) == cell:
                found = int(counts[at])
        return found + self.late.get((measure, cell), 0)


@dataclass(slots=True)
class PartitionTotals:
    """What happened to the events of one partition since the region's start."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    counted: int = 0
    cut: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    uncounted: Counter[str] = field(default_factory=Counter)

    def add(self, cut: PartitionCut) -> None:
        """Add the totals of one slot."""
        self.received += cut.received
        self.accepted += cut.accepted
        self.duplicate += cut.duplicate
        self.counted += cut.counted
        self.cut = cut.cut
        self.rejected.update(cut.rejected)
        self.uncounted.update(cut.uncounted)


class RegionView:
    """Folds a region's log up to its end; every method may be called from any thread.

    Args:
        ledger, blobs: Open stores.
        region: Its definition.
        boot: Its first record.
    """

    def __init__(self, ledger: Ledger, blobs: Blobs, region: Region, boot: RegionBootstrapped) -> None:
        self.region, self.boot = region, boot
        self.log = region_log(region.id)
        self._follower = Follower(ledger, self.log, Place(ledger.number(self.log), 0), kinds=(ForecastIssued, SlotClosed, SlotScored))
        self.kept_slots = int(KEPT_DAYS * 24 * 60 / region.slot_min)
        self.partitions: dict[int, PartitionTotals] = {}
        self.score_sums: dict[tuple[str, int, bool], Counter[str]] = {}  # (measure, horizon, settled)
        self.slots_of_status: Counter[str] = Counter()
        self.corrections = 0
        self._ledger, self._blobs = ledger, blobs
        self._slots: deque[SlotFacts] = deque(maxlen=self.kept_slots)
        self._scores: deque[SlotScored] = deque(maxlen=self.kept_slots * len(region.measures))
        self._issues: dict[tuple[str, int], Stored[ForecastIssued]] = {}
        self._history: dict[str, tuple[Int64s, UInt64s, Int64s]] | None = None
        self.lock = threading.RLock()  # hold it to read several totals and sums consistently; held only for moments
        self._reading = threading.Lock()  # held while a store is read, which may hang

    # --- following the log ---

    def refresh(self) -> bool:
        """Fold the entries appended since the last call.

        Returns:
            False if the log was rolled back or continued under another origin: this view no longer matches the log.
        """
        with self._reading:  # Taken before the check: else another thread may fold further, and the log would seem rolled back.
            for batch in self._follower.catch_up(PAGE_ENTRIES):
                if batch.change is not Change.NONE:
                    return False
                # Blobs are read before the lock is taken, so that readers never wait for a store.
                closed = {stored.index: self._read_close(stored.record) for stored in batch.entries if holds(stored, SlotClosed)}
                with self.lock:
                    for stored in batch.entries:
                        self._take(stored, closed)
                    self._follower.move(batch.next)
        return True

    @property
    def size(self) -> int:
        """How many entries of the log are folded here."""
        return self._follower.place.index

    def _read_close(self, record: SlotClosed) -> tuple[SlotClosed, Tables]:
        return record, tables_of(record, self._blobs.get)

    def _take(self, stored: Stored[Record], closed: dict[int, tuple[SlotClosed, Tables]]) -> None:
        if holds(stored, ForecastIssued) and stored.slot is not None:
            self._issues[stored.subject, stored.slot] = stored
            self._issues.pop((stored.subject, stored.slot - self.kept_slots), None)
        elif stored.index in closed:
            self._close(stored.index, *closed[stored.index])
        elif holds(stored, SlotScored):
            self._score(stored.record)

    def _close(self, index: int, record: SlotClosed, tables: Tables) -> None:
        counts, corrections = tables
        facts = SlotFacts(record.slot, index, SlotStatus(record.status), {table.measure: from_table(table)[1:] for table in counts})
        facts.rides = sum(int(column.sum()) for _, column in facts.counts.values())
        self._slots.append(facts)
        self.slots_of_status[facts.status] += 1
        for cut in record.partitions:
            self.partitions.setdefault(cut.partition, PartitionTotals()).add(cut)
        for table in corrections:
            slots, cells, late = (column.tolist() for column in from_table(table))
            self.corrections += sum(late)
            for slot, cell, rides in zip(slots, cells, late, strict=True):
                place = self._place(slot)
                if place is not None:
                    key = (table.measure, cell)
                    place.late[key] = place.late.get(key, 0) + rides
                    place.rides += rides

    def _score(self, record: SlotScored) -> None:
        if not record.settled:
            self._scores.append(record)
        for row in record.rows:
            sums = self.score_sums.setdefault((record.measure, row.horizon_min, record.settled), Counter())
            sums.update(sums_of(row))

    def _place(self, slot: int) -> SlotFacts | None:
        """Facts of a kept slot; slots close in order and without holes."""
        if not self._slots:
            return None
        at = slot - self._slots[0].slot
        return self._slots[at] if 0 <= at < len(self._slots) else None

    # --- reading ---

    @property
    def newest(self) -> SlotFacts | None:
        """The slot that closed last, None before the first."""
        return self._slots[-1] if self._slots else None

    @property
    def first_kept_slot(self) -> int:
        """First slot whose counts are kept."""
        return self._slots[0].slot if self._slots else self.boot.start_slot

    def facts(self, slot: int) -> SlotFacts | None:
        """A kept slot, or None."""
        with self.lock:
            return self._place(slot)

    def issue(self, measure: str, slot: int) -> Stored[ForecastIssued] | None:
        """The entry of the forecasts that a slot issued."""
        if slot >= self.first_kept_slot:
            return self._issues.get((measure, slot))
        return self._ledger.entry(self.log, ForecastIssued, slot, measure)

    def newest_issue(self, measure: str) -> Stored[ForecastIssued] | None:
        """The entry of the newest forecasts."""
        newest = self.newest
        return self.issue(measure, newest.slot) if newest else None

    def recent_scores(self, measure: str, slots: int) -> list[SlotScored]:
        """Scores of the last slots, oldest first."""
        newest = self.newest
        with self.lock:
            held = list(islice(reversed(self._scores), slots * len(self.region.measures)))
        return [s for s in reversed(held) if s.measure == measure and newest is not None and s.slot > newest.slot - slots]

    def bootstrapped_rides(self, measure: str, cell: int, start: int, stop: int) -> list[tuple[int, int]]:
        """(slot, rides) of a cell in slots [start, stop) of the bootstrapped history, where there were any."""
        with self._reading:
            if self._history is None:  # Read once, on first use: a month of a city takes 20 MB.
                self._history = self._read_history()
        if measure not in self._history:
            return []
        slots, cells, counts = self._history[measure]
        low, high = np.searchsorted(slots, [start, stop])
        at = low + np.flatnonzero(cells[low:high] == np.uint64(cell))
        return list(zip(slots[at].tolist(), counts[at].tolist(), strict=True))

    def _read_history(self) -> dict[str, tuple[Int64s, UInt64s, Int64s]]:
        if not self.boot.counts_blob:
            return {}
        body = decode(self._blobs.get(self.boot.counts_blob), SlotCounts)
        return {table.measure: from_table(table) for table in body.counts}

    def visible_us(self, slot: int) -> int:
        """Event time from which the forecasts of a slot are known."""
        return (slot + 1) * self.region.slot_us + self.region.issue_lateness_s * US_PER_S


def sums_of(row: ScoreRow) -> dict[str, int]:
    """The columns of a score that add up over slots."""
    return {name: getattr(row, name) for name in SCORE_SUMS}
