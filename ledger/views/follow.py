"""Follow a log: read what was appended after a place, in bounded batches, and report how the log changed since then.

A place is the number of the log's origin and the index of the next entry to read. A follower moves only when its caller
moves it, after the result of the entries is stored. Where the result is stored decides where the place is stored:

- in memory, as in every view: the follower holds the place, and both are lost together;
- in an external store, as by the publisher: result and place are written in one transaction (`KeptPlace`);
- in another log: the appended record cites how far the followed log was read. Each `SlotClosed` cites the size and
  the root of the control log (`ledger.views.control`), so that its readers read the control log up to the same size.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from ledger.store.log import Head, Ledger, Stored
from ledger.store.wakeups import Stop, Wakeup
from schemas.records.records import LogContinued, Record

__all__ = ["NOWHERE", "Batch", "Change", "Follower", "KeptPlace", "Pace", "Place", "Stop"]

BATCH_ENTRIES = 1_000  # a close is a few entries, so this is hours of a region in one query
SHORTEST_WAIT_S = 0.05  # between two checks without a wake-up, right after new entries
LONGEST_WAIT_S = 1.0  # the same, after a long time without new entries


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Position of a follower: the number of the log's origin, and the index of the next entry to read."""

    number: int
    index: int


NOWHERE = Place(0, 0)  # before the first check: no origin has this number, so the first check reports a change


class Change(StrEnum):
    """How a log changed since the follower reached its place."""

    NONE = "none"  # it only grew
    CONTINUED = "continued"  # it has a newer origin; entries after the cut are no longer part of it
    WENT_BACK = "went back"  # it is shorter than the place or was rewritten, and no record explains it


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries [start, next.index) of a log, of the requested kinds; or a change and no entries.

    Attributes:
        change: What the caller must handle before it reads on.
        start: Index at which the follower is.
        next: Place after this batch is processed; after a change, the first entry that the follower cannot have read.
        head: Of the log; if it has entries after `next.index`, another batch follows.
    """

    change: Change
    start: int
    next: Place
    head: Head
    entries: tuple[Stored[Any], ...] = ()


W_contra = TypeVar("W_contra", contravariant=True)


class KeptPlace(Protocol[W_contra]):
    """A place that is stored with the written data: after a crash, both are old or both are new."""

    def load(self) -> Place:
        """The place after the last write, in the log as it is now."""
        ...

    def save(self, written: W_contra, place: Place) -> None:
        """Write the data and the place in one transaction."""
        ...


class Follower:
    """Follows one log; not thread-safe.

    Args:
        ledger: Ledger with the log, which may be empty.
        log: Name of the log.
        place: Where to start.
        kinds: Classes of the records to read; others are not fetched. Empty for all.
    """

    def __init__(self, ledger: Ledger, log: str, place: Place = NOWHERE, kinds: Collection[type[Record]] = ()) -> None:
        self._ledger, self.log, self._kinds = ledger, log, tuple(kinds)
        self.place = place
        self._idle: tuple[Place, Head] | None = None  # with this place and head there is nothing to do
        self._changed = False  # a change was reported and is not handled yet

    def move(self, place: Place) -> None:
        """Continue from a place: earlier entries and any reported change are handled."""
        if self._changed:
            self._idle, self._changed = None, False
        self.place = place

    def look(self) -> Batch | None:
        """How the log changed, without its entries; None if there is nothing new after the place.

        Takes one query if the log has not changed since a check that found nothing to do.
        """
        head = self._ledger.head(self.log)
        place = self.place
        if (place, head) == self._idle:
            return None
        number = self._ledger.number(self.log)
        if number > place.number:
            self._changed = True
            return Batch(Change.CONTINUED, place.index, Place(number, min(place.index, head.size, self._cut())), head)
        rewritten = self._idle is not None and self._idle[0] == place and self._idle[1].size == head.size
        if number < place.number or head.size < place.index or rewritten:
            self._changed = True
            return Batch(Change.WENT_BACK, place.index, Place(number, min(place.index, head.size)), head)
        behind = Place(number, head.size)
        self._idle = behind, head
        return Batch(Change.NONE, place.index, behind, head) if head.size > place.index else None

    def step(self, limit: int = BATCH_ENTRIES) -> Batch | None:
        """The next entries, at most `limit`, or a change; None if there is nothing new. Repeats its answer until `move`."""
        seen = self.look()
        if seen is None or seen.change is not Change.NONE:
            return seen
        return self._read(seen.start, seen.next, seen.head, limit)

    def catch_up(self, limit: int = BATCH_ENTRIES) -> Iterator[Batch]:
        """Steps up to the end of the log, which may grow meanwhile. Move the follower after each batch."""
        while (batch := self.step(limit)) is not None:
            yield batch
            if batch.change is Change.NONE and batch.next.index >= batch.head.size:
                return

    def step_to(self, head: Head, limit: int = BATCH_ENTRIES) -> Batch | None:
        """As `step`, up to a head that the log is known to have had, without a check for changes."""
        if self.place.index >= head.size:
            return None
        return self._read(self.place.index, Place(self.place.number, head.size), head, limit)

    def run(self, stop: Stop, handle: Callable[[Batch], Place]) -> None:
        """Pass each batch to `handle`, which returns the next place, until `stop` is set."""
        with closing(self._ledger.wakeup(self.log)) as wakeup:
            pace = Pace(wakeup)
            while not stop.is_set():
                batch = self.step()
                if batch is not None:
                    self.move(handle(batch))
                    pace.restart()
                else:
                    pace.wait(stop)

    def _read(self, start: int, end: Place, head: Head, limit: int) -> Batch:
        entries = tuple(self._ledger.read_kinds(self.log, start, end.index, self._kinds, limit))
        if len(entries) >= limit:
            end = Place(end.number, entries[-1].index + 1)
        return Batch(Change.NONE, start, end, head, entries)

    def _cut(self) -> int:
        """Size up to which the log is unchanged since the origin of the place."""
        continued = self._ledger.records(self.log, LogContinued)
        return min((record.database_size for record in continued if record.number > self.place.number), default=self.place.index)


class Pace:
    """How long a loop over logs waits when it found nothing: until a wake-up, or with exponential backoff.

    Args:
        wakeup: Reports that the logs may have grown; created before they are first read.
        shortest_s, longest_s: Bounds of a wait.
    """

    def __init__(self, wakeup: Wakeup, shortest_s: float = SHORTEST_WAIT_S, longest_s: float = LONGEST_WAIT_S) -> None:
        self._wakeup, self._shortest_s, self._longest_s = wakeup, shortest_s, max(shortest_s, longest_s)
        self._next_s = shortest_s

    def restart(self) -> None:
        """Reset the backoff: the next wait is the shortest again."""
        self._next_s = self._shortest_s

    def wait(self, stop: Stop) -> None:
        """Wait once."""
        if self._wakeup.wait(stop, self._next_s):
            self.restart()
        else:
            self._next_s = min(2 * self._next_s, self._longest_s)
