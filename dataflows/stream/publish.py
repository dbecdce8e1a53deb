"""Publish recorded issues to consumers: the topic or files of forecasts.

The publisher follows a region's log and keeps no state of its own: its place is the cursor in the sink, so it
may be killed and restarted anywhere. It publishes only numbers that are already recorded.
"""

import logging
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Literal

import numpy as np

from dataflows.connectors.sinks import Cursors, ForecastSink
from ledger.store.blobs import Blobs
from ledger.store.holding import taking_turns
from ledger.store.log import Ledger, Stored
from ledger.views.control import ControlView
from ledger.views.experiments import experiment_of
from ledger.views.follow import LONGEST_WAIT_S, NOWHERE, SHORTEST_WAIT_S, Change, Follower, Pace, Place, Stop
from ledger.views.identity import has_root
from ledger.views.online.protocol import StoredIssue, chunks_of
from ledger.views.online.refresh import blob_of, newest_issues
from schemas.errors import LedgerError
from schemas.events.cells import cell_text
from schemas.forecasts.messages import encode_demand_forecasts, forecast_key
from schemas.records.records import CONTROL_LOG, ForecastIssued, LogContinued, UniverseChanged, region_log
from schemas.regions import Region
from state.decide.parameter_table import publishing_off
from state.forecast.arms import challenged_rows

log = logging.getLogger(__name__)

Backlog = Literal["latest", "all"]
Messages = Sequence[tuple[bytes, bytes | None]]

ISSUES_PER_STEP = 32  # with `backlog=all`, so that a stop takes effect soon
# A replay issues hundreds of times a second; subscribers can use only a few, and the others are superseded anyway.
PAUSE_S = 0.25
TURN_S = 60.0  # a repair takes seconds


class Publisher:
    """The one publisher of a region.

    Args:
        ledger, blobs: Source of the issues.
        sink: Destination of the forecasts; its cursor is the index up to which they are published.
        region: Region whose log to follow.
        backlog: After a delay, `latest` skips issues that a newer one has superseded, `all` publishes every issue.
        turn: Held while it writes, so that a repair of what is published does not write at the same time; see `publishing_turn`.
    """

    def __init__(
        self,
        ledger: Ledger,
        blobs: Blobs,
        sink: ForecastSink,
        region: Region,
        backlog: Backlog = "latest",
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._ledger, self._blobs, self._region, self._turn = ledger, blobs, region, turn
        self._control, self._paused = ControlView(ledger), False
        self.backlog = backlog
        self.log = region_log(region.id)
        self._kept = SinkPlace(ledger, sink, self.log)
        self._published = NOWHERE  # as in the sink; the follower may be further, after entries that are not published
        self._follower = Follower(ledger, self.log)
        self._newest: list[Stored[ForecastIssued]] | None = None

    def step(self) -> int:
        """Publish the issues that are due, if any.

        Returns:
            How many issues were published; 0 if the sink is up to date.
        Raises:
            LedgerError: another ledger has published into the sink.
            Fenced: another publisher of this region is running.
            StoreUnavailable: the sink does not respond.
        """
        if self._pauses():
            return 0
        if self._kept.went_back():
            self._start_again()
            log.warning("publishing %s: what was published is gone; publishing from entry %d on", self.log, self._published.index)
        seen = self._follower.look()
        while seen is not None and seen.change is not Change.NONE:
            self._start_again()
            seen = self._follower.look()
        if seen is not None or self._newest is None:
            self._newest = newest_issues(self._ledger, self._region)
        if seen is None:
            return 0
        due = self._due(self._newest)
        for issues in due:
            if not self._publish(issues):
                return 0  # what was published is gone: the next step starts again
        if self.backlog == "latest" or len(due) < ISSUES_PER_STEP:
            self._follower.move(seen.next)
        return sum(map(len, due))

    def _pauses(self) -> bool:
        """Whether a parameter says that nothing of the region is published now; the place in the sink stays as it is."""
        paused = publishing_off(self._control.latest().parameters, self._region.id)
        if paused != self._paused:
            self._paused = paused
            log.warning("publishing %s: %s by the parameter `publishing`", self.log, "paused" if paused else "goes on, allowed again")
        return paused

    def _start_again(self) -> None:
        """Go on from the place that the sink has."""
        self._published = self._kept.load()
        self._follower.move(self._published)
        self._newest = None

    def run(self, stop: Stop, poll_s: float = SHORTEST_WAIT_S, pause_s: float = PAUSE_S) -> None:
        """Publish until `stop` is set.

        Args:
            stop: Set by the caller to end the loop.
            poll_s: First wait without new entries, if no wake-up comes; it grows while nothing new comes.
            pause_s: Shortest time between two issues with `backlog=latest`.
        """
        run_publishers(self._ledger, [self], stop, poll_s=poll_s, pause_s=pause_s)

    def _due(self, newest: Sequence[Stored[ForecastIssued]]) -> list[list[Stored[ForecastIssued]]]:
        """The issues to publish next, one list per transaction."""
        if self.backlog == "all":
            start = self._published.index
            return [[issue] for issue in self._ledger.read(self.log, start, kind=ForecastIssued, limit=ISSUES_PER_STEP)]
        fresh = [issue for issue in newest if issue.index >= self._published.index]
        return [fresh] if fresh else []

    def _publish(self, issues: Sequence[Stored[ForecastIssued]]) -> bool:
        """Publish some issues at once; False if nothing was written, because what was published before is gone."""
        messages: list[tuple[bytes, bytes | None]] = []
        served: set[int] = set()
        for issue in issues:
            of_issue, cells = messages_of(self._ledger, self._blobs, self._region, issue)
            messages += of_issue
            served.update(cells)
        behind = Place(self._published.number, issues[-1].index + 1)
        # A cell that retired and returned since then has a forecast again: no tombstone.
        gone = sorted(self._retired(self._published.index, behind.index) - served)
        names = ("", *self._region.measures[1:])
        messages += [
            (forecast_key(self._region.id, cell_text(cell, self._region.precision), name), None) for cell in gone for name in names
        ]
        with self._turn():
            self._kept.save(messages, behind)
        if self._kept.went_back():
            return False
        self._published = behind
        return True

    def _retired(self, start: int, stop: int) -> set[int]:
        retired: set[int] = set()
        for stored in self._ledger.read(self.log, start, stop, kind=UniverseChanged):
            record = stored.record
            retired.update(np.cumsum(np.array(record.retired, np.int64)).tolist())
        return retired


def messages_of(ledger: Ledger, blobs: Blobs, region: Region, issue: Stored[ForecastIssued]) -> tuple[list[tuple[bytes, bytes]], list[int]]:
    """What is published of an issue: key and value of each cell, and the cells."""
    record = issue.record
    columns = chunks_of(StoredIssue(issue.index, issue.payload, blob_of(blobs, record))).columns(record.horizons_min)
    started = experiment_of(ledger, record)
    other = challenged_rows(started, columns, record.slot) if started is not None else None
    further = record.measure != region.measures[0]
    return encode_demand_forecasts(
        columns, record, issue.index, region.precision, further=further, challenged=other
    ), columns.cells.tolist()


def publishing_turn(ledger: Ledger, log: str) -> AbstractContextManager[None]:
    """Be the only process that writes what is published of a log, for one transaction; see `ledger.store.holding.taking_turns`."""
    return taking_turns(ledger.opened(log)[0], f"{log}@published", f"{platform.node()} process {os.getpid()}", TURN_S)


class SinkPlace:
    """A publisher's place, stored as the cursor that a sink writes in the transaction of the forecasts; see `KeptPlace`."""

    def __init__(self, ledger: Ledger, sink: ForecastSink, log: str) -> None:
        self._ledger, self._sink, self._log = ledger, sink, log
        self._known: tuple[str, int] | None = None  # name of the cursor, and where it was

    def load(self) -> Place:
        """See `published_place`."""
        place = published_place(self._ledger, self._sink, self._log)
        name = cursor_name(self._log, place.number)
        self._known = name, self._sink.cursor(name)
        return place

    def went_back(self) -> bool:
        """Whether the sink no longer has what was published: its cursor is before the place that was loaded or saved last."""
        return self._known is not None and self._sink.cursor(self._known[0]) < self._known[1]

    def save(self, written: Messages, place: Place) -> None:
        """Publish, and move the cursor."""
        root = self._ledger.root_at(self._log, place.index)
        name = cursor_name(self._log, place.number)
        self._sink.publish(written, name, place.index, root)
        self._known = name, place.index


def published_place(ledger: Ledger, sink: Cursors, log: str) -> Place:
    """The place up to which a log is published under its current origin.

    Raises:
        LedgerError: another ledger has published into the sink.
    """
    number, size = 1, ledger.head(log).size
    cursor, root = sink.cursor(log), sink.root(log)
    for continued in ledger.records(log, LogContinued):
        number = continued.number
        name = cursor_name(log, number)
        if later := sink.cursor(name):
            cursor, root = later, sink.root(name)
        elif cursor > continued.database_size:
            # Entries published after this point are no longer in the log, and other entries have their indexes.
            cursor, root = continued.database_size, b""
    if cursor > size:
        raise _foreign(sink, log, cursor, f"but the log has {size}")
    # Cursors of earlier releases name no root.
    if root and not has_root(ledger, log, cursor, root):
        raise _foreign(sink, log, cursor, "but the log has other entries there")
    return Place(number, cursor)


def _foreign(sink: Cursors, log: str, cursor: int, found: str) -> LedgerError:
    return LedgerError(
        f"publishing {log}: forecasts of its first {cursor} entries are published in {sink.place}, {found}: another ledger has "
        "published there",
        remedy=f"run the home that published there, or start a new home with another RIDECAST_INSTANCE, or delete {sink.place}",
    )


def run_publishers(
    ledger: Ledger,
    publishers: Sequence[Publisher],
    stop: Stop,
    *,
    drain: bool = False,
    poll_s: float = SHORTEST_WAIT_S,
    pause_s: float = PAUSE_S,
    beside: Callable[[], int] = lambda: 0,
) -> None:
    """Publish until `stop` is set, or with `drain` until everything recorded so far is published; see `Publisher.run`.

    Args:
        beside: Other work of this process, called once per round; returns how many items it processed.
    """
    with closing(ledger.wakeup(CONTROL_LOG, *(publisher.log for publisher in publishers))) as wakeup:
        pace = Pace(wakeup, poll_s, max(poll_s, LONGEST_WAIT_S))
        while not stop.is_set():
            published = [publisher for publisher in publishers if publisher.step()]
            done_beside = beside()
            if published or done_beside:
                pace.restart()
                if published and not drain and all(publisher.backlog == "latest" for publisher in published):
                    stop.wait(pause_s)
            elif drain:
                return
            else:
                pace.wait(stop)


def cursor_name(log: str, number: int) -> str:
    """Name of a log's cursor in a sink: a continued log gets a new name, because its indexes start again at the cut.

    >>> cursor_name("region/nyc", 1), cursor_name("region/nyc", 2)
    ('region/nyc', 'region/nyc@2')
    """
    return log if number == 1 else f"{log}@{number}"
