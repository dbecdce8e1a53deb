"""Environments in which an entry of a region's log may have been written: interpreter, wheels, CPU, time zones.

The region's log records an environment only where it made a difference (`EnvironmentChanged`); the `runs` log records
each run and its environment. Where the two do not decide, an entry has several possible environments.
"""

from dataclasses import dataclass

from ledger.store.log import Ledger
from schemas.records.records import RUNS_LOG, EnvironmentChanged, RunStarted, SnapshotTaken, region_log


@dataclass(frozen=True, slots=True)
class Writer:
    """One run of a region.

    Attributes:
        started: Its start record.
        least: Lower bound of the size of the region's log before its first append.
        most: Upper bound of the size of the region's log after its last append, -1 for none.
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
        # A run appends the change before its start record.
        taken_over = [i for i in range(first, len(writers)) if writers[i].started.environment == change.environment]
        if taken_over:
            first = taken_over[0]
            writers[:first] = [
                Writer(w.started, w.least, stored.index if w.most < 0 else min(w.most, stored.index)) for w in writers[:first]
            ]
            writers[first:] = [Writer(w.started, max(w.least, stored.index), w.most) for w in writers[first:]]
    return tuple(writers)


def may_have_written(writers: tuple[Writer, ...], index: int) -> tuple[Writer, ...]:
    """The writers that may have written the entry at an index.

    >>> run = RunStarted(run="a", command="run nyc", started_at_us=0, host="host", environment=b"one", packages="", source="", processes=1)
    >>> [w.least for w in may_have_written((Writer(run, 0, 10), Writer(run, 10)), 12)]
    [10]
    """
    return tuple(writer for writer in writers if writer.least <= index and (writer.most < 0 or index < writer.most))


def environments_at(writers: tuple[Writer, ...], index: int) -> frozenset[bytes]:
    """Digests of the environments in which the entry at an index may have been written; empty if no run is recorded."""
    return frozenset(writer.started.environment for writer in may_have_written(writers, index))
