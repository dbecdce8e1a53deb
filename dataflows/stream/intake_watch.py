"""Keeps the tally of one partition's intake up to date in the home, for everything that reports on the run."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from ledger.store.tally_files import write_tally
from schemas.events.codec import decode_slow
from schemas.events.rides import RawBatch, Rejected, RideBatch
from schemas.events.tally import Example, IntakeTally, Totals
from schemas.regions import Region, load_region, shipped_regions
from state.counting.explain import explain
from state.counting.guess import guess
from state.counting.partials import Partial

log = logging.getLogger(__name__)

WRITE_EVERY_S = 1.0
SAMPLE_EVENTS = 16  # of a batch, to find the names of other regions
MOST_NAMES = 20  # of other regions; a producer could invent any number

Wall = Callable[[], float]


class IntakeWatch:
    """Counts what a pump has read and writes it to the home, at most once per second.

    Args:
        home: Where the tally is written; None for nowhere.
        partition: Its number.
        regions: The regions that are counted.
        skew_s: How far an event may be ahead of its log time.
        clock: Monotonic seconds.
        wall: Seconds since 1970.
    """

    def __init__(
        self,
        home: Path | None,
        partition: int,
        regions: Sequence[Region],
        skew_s: int,
        clock: Callable[[], float] = time.monotonic,
        wall: Wall = time.time,
    ) -> None:
        self._home, self._regions, self._skew_s, self._clock, self._wall = home, tuple(regions), skew_s, clock, wall
        ids = {region.id for region in regions}
        self._others = tuple(load_region(name) for name in shipped_regions() if name not in ids)
        self.tally = IntakeTally(partition, self._now_us(), self._now_us(), regions={region.id: Totals() for region in regions})
        self._changed, self._failed = True, False
        self._written_at = -WRITE_EVERY_S

    def add(self, partials: Sequence[Partial], rejected: Sequence[Rejected], raw: RawBatch | None, batch: RideBatch) -> None:
        """Count one step of a pump.

        Args:
            rejected: With their bytes; those that were recorded by an earlier run are left out.
        """
        for partial in partials:
            self.tally.regions[partial.region].add({name: int(pieces.sum()) for name, pieces in partial.totals.items()})
            self.tally.position = max(self.tally.position, partial.to_offset)
            self._changed = True
        for reason, one in {event.reason: event for event in rejected}.items():
            detail = explain(one, self._regions, self._skew_s, coarse=True)
            self.tally.examples[reason] = Example(one.offset, detail, guess(one, self._regions, self._others))
        if raw is not None:
            self._count_others(raw, batch)
        self.write()

    def _count_others(self, raw: RawBatch, batch: RideBatch) -> None:
        rows = np.flatnonzero(batch.region < 0)
        for row in rows[:: max(1, len(rows) // SAMPLE_EVENTS)].tolist():
            fields = decode_slow(raw.values[int(np.searchsorted(raw.offsets, batch.offset[row]))])
            if isinstance(fields, dict):
                name = cast(str, fields["region"])[:32]
                if name in self.tally.others or len(self.tally.others) < MOST_NAMES:
                    self.tally.others[name] = self.tally.others.get(name, 0) + 1

    def write(self, *, now: bool = False) -> None:
        """Write the tally if it has changed and the last one is old enough, or `now`."""
        at = self._clock()
        if self._home is None or not self._changed or (at - self._written_at < WRITE_EVERY_S and not now):
            return
        self.tally.at_us = self._now_us()
        try:
            write_tally(self._home, self.tally)
        except OSError as cause:  # What only reports must not end a run.
            if not self._failed:
                log.warning("partition %d: cannot write the tally of intake: %s", self.tally.partition, cause)
            self._failed = True
        self._changed, self._written_at = False, at

    def _now_us(self) -> int:
        return int(self._wall() * 1_000_000)
