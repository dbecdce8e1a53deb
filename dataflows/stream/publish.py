"""From recorded issues to whoever asked for forecasts: the topic or files of forecasts, and the online store.

The publisher follows a region's log and has no memory of its own: its place is the sink's cursor, so that it
may be killed and started anywhere. It publishes numbers that are recorded, never ones that are about to be.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from dataflows.connectors.sinks import ForecastSink
from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, Stored
from ledger.views.follow import Stop
from ledger.views.online.protocol import OnlineStore, StoredIssue, chunks_of
from schemas.errors import LedgerError
from schemas.events.cells import cell_text
from schemas.forecasts.messages import encode_demand_forecasts, forecast_key
from schemas.records.records import ForecastIssued, LogContinued, UniverseChanged, region_log
from schemas.regions import Region

Backlog = Literal["latest", "all"]

ISSUES_PER_STEP = 32  # of a backlog that is published whole, so that a stop is seen soon
POLL_S = 0.05
# A replay issues hundreds of times a second; who subscribes can use a few, and the rest is superseded anyway.
PAUSE_S = 0.25


class Publisher:
    """The one publisher of a region.

    Args:
        ledger, blobs: Where issues are recorded.
        sink: Where forecasts go; its cursor says how far they are.
        store: Online store to refresh, or None where nobody reads one.
        region: Whose log to follow.
        backlog: Publisher that is behind: `latest` skips what a newer issue has superseded, `all` skips nothing.
    """

    def __init__(
        self, ledger: Ledger, blobs: Blobs, sink: ForecastSink, store: OnlineStore | None, region: Region, backlog: Backlog = "latest"
    ) -> None:
        self._ledger, self._blobs, self._sink, self._store, self._region = ledger, blobs, sink, store, region
        self._backlog = backlog
        self._log = region_log(region.id)
        self._number = 0
        self._cursor = 0

    def step(self) -> int:
        """Publish what is due, if anything.

        Returns:
            How many issues were published; 0 when the sink is up to date.
        Raises:
            LedgerError: the sink holds more than this ledger ever had.
            Fenced: another publisher of this region runs.
            StoreUnavailable: the sink or the store does not answer.
        """
        number = self._ledger.number(self._log)
        if number != self._number:
            self._cursor = self._checked_cursor()
            self._number = number
        newest = self._newest()
        self._refresh_store(newest)
        if self._backlog == "all":
            due = [[issue] for issue in self._ledger.read(self._log, self._cursor, kind=ForecastIssued, limit=ISSUES_PER_STEP)]
        else:
            fresh = [issue for issue in newest if issue.index >= self._cursor]
            due = [fresh] if fresh else []
        for issues in due:
            self._publish(issues, self._cursor)
            self._cursor = issues[-1].index + 1
        return sum(map(len, due))

    def run(self, stop: Stop, poll_s: float = POLL_S, pause_s: float = PAUSE_S) -> None:
        """Publish until told to stop.

        Args:
            stop: Set by whoever wants this to end.
            poll_s: How often to look when there is nothing new.
            pause_s: Shortest time between two issues when only the latest counts.
        """
        while not stop.is_set():
            if not self.step():
                stop.wait(poll_s)
            elif self._backlog == "latest":
                stop.wait(pause_s)

    def _checked_cursor(self) -> int:
        cursor, size = self._sink.cursor(self._log), self._ledger.head(self._log).size
        for stored in self._ledger.scan(self._log, kind=LogContinued):
            continued = stored.record
            # What was published behind this point is not in the log any more, and other entries have its indexes.
            cursor = self._sink.cursor(cursor_name(self._log, continued.number)) or min(cursor, continued.database_size)
        if cursor > size:
            raise LedgerError(
                f"publishing {self._log}: forecasts of its first {cursor} entries are published, but the log has {size}: "
                "another ledger has published there; choose another RIDECAST_INSTANCE, or the ledger that belongs to it"
            )
        return cursor

    def _newest(self) -> list[Stored[ForecastIssued]]:
        """The issues of the newest slot that has any, in order of the log."""
        last = self._ledger.entry(self._log, ForecastIssued)
        if last is None:
            return []
        # A slot's issues are appended together: found by slot, none is missed that comes while we look.
        found = [self._ledger.entry(self._log, ForecastIssued, slot=last.slot, subject=name) for name in self._region.measures]
        return sorted((issue for issue in found if issue is not None), key=lambda issue: issue.index)

    def _refresh_store(self, newest: Sequence[Stored[ForecastIssued]]) -> None:
        if self._store is None:
            return
        for issue in newest:
            record = issue.record
            if self._store.newest(self._region.id, record.measure) < (self._number, issue.index):
                self._store.put(StoredIssue(issue.index, issue.payload, self._blob_of(record), self._number))

    def _publish(self, issues: Sequence[Stored[ForecastIssued]], cursor: int) -> None:
        messages: list[tuple[bytes, bytes | None]] = []
        served: set[int] = set()
        for issue in issues:
            record = issue.record
            columns = chunks_of(StoredIssue(issue.index, issue.payload, self._blob_of(record))).columns(record.horizons_min)
            served.update(columns.cells.tolist())
            further = record.measure != self._region.measures[0]
            messages += encode_demand_forecasts(columns, record, issue.index, self._region.precision, further=further)
        next_index = issues[-1].index + 1
        # A cell that retired and came back meanwhile has a forecast again: no tombstone.
        gone = sorted(self._retired(cursor, next_index) - served)
        names = ("", *self._region.measures[1:])
        messages += [
            (forecast_key(self._region.id, cell_text(cell, self._region.precision), name), None) for cell in gone for name in names
        ]
        self._sink.publish(messages, cursor_name(self._log, self._number), next_index)

    def _retired(self, start: int, stop: int) -> set[int]:
        retired: set[int] = set()
        for stored in self._ledger.read(self._log, start, stop, kind=UniverseChanged):
            record = stored.record
            retired.update(np.cumsum(np.array(record.retired, np.int64)).tolist())
        return retired

    def _blob_of(self, record: ForecastIssued) -> bytes:
        return self._blobs.get(record.blob) if record.blob else b""


def cursor_name(log: str, number: int) -> str:
    """Under which name a sink keeps the cursor of a log: a log that was continued is another one to who reads by index.

    >>> cursor_name("region/nyc", 1), cursor_name("region/nyc", 2)
    ('region/nyc', 'region/nyc@2')
    """
    return log if number == 1 else f"{log}@{number}"
