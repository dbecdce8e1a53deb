"""In which environment an entry of a region's log may have been written: interpreter, wheels, CPU, time zones.

The region's log says only where the environment made a difference (`EnvironmentChanged`); `runs` says which runs there
were, and in which environment each began. Where both leave it open, an entry has several possible environments.
"""

from dataclasses import dataclass

from ledger.store.log import Ledger
from schemas.records.records import RUNS_LOG, EnvironmentChanged, RunStarted, SnapshotTaken, region_log


@dataclass(frozen=True, slots=True)
class Writer:
    """One run of a region.

    Attributes:
        started: What it said when it began.
        least: Size of the region's log that was there before it wrote anything; it may have been larger.
        most: Size that it cannot have written past, -1 for no bound.
    """

    started: RunStarted
    least: int
    most: int = -1


def writers_of(ledger: Ledger, region: str) -> tuple[Writer, ...]:
    """The runs that wrote a region's log, in order."""
    found: list[tuple[RunStarted, int]] = []
    size = 0
    for stored in ledger.scan(RUNS_LOG):
        record = stored.record
        if isinstance(record, SnapshotTaken) and record.region == region:
            size = max(size, record.size)
        elif isinstance(record, RunStarted) and record.command == f"run {region}":
            found.append((record, size))
    writers = [Writer(started, least) for started, least in found]
    first = 0
    for stored in ledger.scan(region_log(region), kind=EnvironmentChanged):
        change = stored.record
        # A run appends the change before it says that it has started.
        taken_over = [i for i in range(first, len(writers)) if writers[i].started.environment == change.environment]
        if taken_over:
            first = taken_over[0]
            writers[:first] = [
                Writer(w.started, w.least, stored.index if w.most < 0 else min(w.most, stored.index)) for w in writers[:first]
            ]
            writers[first:] = [Writer(w.started, max(w.least, stored.index), w.most) for w in writers[first:]]
    return tuple(writers)


def may_have_written(writers: tuple[Writer, ...], index: int) -> tuple[Writer, ...]:
    """Which of them may have written the entry at an index.

    >>> run = RunStarted(run="a", command="run nyc", started_at_us=0, host="host", environment=b"one", packages="", source="", processes=1)
    >>> [w.least for w in may_have_written((Writer(run, 0, 10), Writer(run, 10)), 12)]
    [10]
    """
    return tuple(writer for writer in writers if writer.least <= index and (writer.most < 0 or index < writer.most))


def environments_at(writers: tuple[Writer, ...], index: int) -> frozenset[bytes]:
    """Digests of the environments in which the entry at an index may have been written; empty when no run is on record."""
    return frozenset(writer.started.environment for writer in may_have_written(writers, index))
