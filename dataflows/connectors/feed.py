"""Replays a finished ride log into a growing one at a given speed.

Offsets and partitions are preserved, so the end of the copy is the progress of the feed: an interrupted
feed resumes there.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataflows.connectors.files.ridelog import RideLogReader, partitions
from dataflows.connectors.files.writer import RideLogWriter
from ledger.views.follow import Stop
from schemas.events.rides import RawBatch

READ_EVENTS = 2_000
STEP_US = 15_000_000  # a tenth of a second at the demonstration's pace


@dataclass(slots=True)
class _Lane:
    reader: RideLogReader
    position: int
    batch: RawBatch | None = None  # read, and partly released
    used: int = 0

    def take_until(self, until_us: int) -> RawBatch | None:
        """Events logged before that time, at most one batch; None when there is none."""
        if self.batch is None or self.used == len(self.batch):
            self.batch, self.used = self.reader.read(self.position, READ_EVENTS), 0
        if self.batch is None:
            return None
        stop = self.used + int(np.searchsorted(self.batch.logged_at_us[self.used :], until_us))
        if stop == self.used:
            return None
        taken = self.batch.part(slice(self.used, stop))
        self.used = stop
        self.position = int(taken.offsets[-1]) + 1
        return taken


class Feed:
    """Copies entries from one log to another as their log time is reached.

    Args:
        past: The finished log.
        live: The growing log; created if missing.
    """

    def __init__(self, past: Path, live: Path) -> None:
        numbers = partitions(past)
        self._writer = RideLogWriter(live, len(numbers))
        self._lanes = [_Lane(RideLogReader(past, p), end) for p, end in zip(numbers, self._writer.ends(), strict=True)]
        self._ends = [lane.reader.end() for lane in self._lanes]

    @property
    def done(self) -> bool:
        """Whether everything has been released."""
        return all(lane.position >= end for lane, end in zip(self._lanes, self._ends, strict=True))

    def next_us(self) -> int | None:
        """Log time of the earliest entry not yet released, or None at the end."""
        times = []
        for lane in self._lanes:
            ahead = lane.reader.read(lane.position, 1)
            if ahead is not None:
                times.append(int(ahead.logged_at_us[0]))
        return min(times, default=None)

    def release(self, until_us: int) -> int:
        """Release everything logged before that time; returns the number of released events."""
        released = 0
        for partition, lane in enumerate(self._lanes):
            while (batch := lane.take_until(until_us)) is not None:
                # Keys only choose the partition, which is known here: the copy has empty keys.
                self._writer.append(partition, batch.logged_at_us, [b""] * len(batch), batch.values)
                released += len(batch)
        self._writer.flush()
        return released

    def run(self, speedup: float, step_us: int, stop: Stop) -> None:
        """Release in steps of log time, `speedup` times faster than real time."""
        now_us = self.next_us()
        started_s, base_us = time.monotonic(), now_us
        while now_us is not None and base_us is not None and not self.done and not stop.is_set():
            now_us += step_us
            self.release(now_us)
            while not stop.is_set() and (ahead_s := (now_us - base_us) / 1e6 / speedup - (time.monotonic() - started_s)) > 0:
                stop.wait(ahead_s)

    def close(self) -> None:
        """Make the released entries durable, and close the copy."""
        self._writer.close()


def run_feed(past: str, live: str, speedup: float, stop: Stop) -> None:
    """Feed until told to stop; at the end of the log it waits, so that its supervisor does not restart it."""
    feed = Feed(Path(past), Path(live))
    try:
        feed.run(speedup, STEP_US, stop)
        stop.wait()
    finally:
        feed.close()
