"""Follow a log: what was appended behind a place, in bounded batches, and what became of the log meanwhile.

A follower is at a place: the number of the log's origin, and the index of the next entry that it wants. It moves only
when who follows says so, after what came of the entries is kept. Where that is kept decides where the place lies:

- in memory, as every view has it: the place is the follower's, and both are gone together;
- in something that is written, as by the publisher: the place goes with the write, in one transaction (`KeptPlace`);
- in another log: the appended record cites how far the log that it acts on was read, as each `SlotClosed` cites the
  size and the root of the control log (`ledger.views.control`), so that whoever reads the record reads as far.
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

BATCH_ENTRIES = 1_000  # a close is a few entries, so this is hours of a region in one question
SHORTEST_WAIT_S = 0.05  # between two looks without a wake-up, right after news
LONGEST_WAIT_S = 1.0  # the same, when there was none for long


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a follower is: the number of the log's origin, and the index of the next entry that it wants."""

    number: int
    index: int


NOWHERE = Place(0, 0)  # of who has not looked yet: no origin has this number, so that the first look reports a change


class Change(StrEnum):
    """What became of a log since a follower's place was reached."""

    NONE = "none"  # it only grew
    CONTINUED = "continued"  # it has a newer origin; what lay behind the cut is not its past any more
    WENT_BACK = "went back"  # it is shorter than the place, or not what it was, and does not say why


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries [start, next.index) of a log, those of the kinds that are wanted; or none of them and a change.

    Attributes:
        change: What who follows has to act on before anything else is read.
        start: Where the follower is.
        next: Where it is when this has been dealt with; behind a change, the first entry that it cannot have seen.
        head: Of the log; with entries behind `next.index` there is more to come.
    """

    change: Change
    start: int
    next: Place
    head: Head
    entries: tuple[Stored[Any], ...] = ()


W_contra = TypeVar("W_contra", contravariant=True)


class KeptPlace(Protocol[W_contra]):
    """A place that lies with what is written, so that a crash leaves both as they were or both as they are to be."""

    def load(self) -> Place:
        """The place behind what was written last, in the log as it is now."""
        ...

    def save(self, written: W_contra, place: Place) -> None:
        """Write, and move the place, in one transaction."""
        ...


class Follower:
    """Follows one log; not for several threads at once.

    Args:
        ledger: Where the log is; it need not hold anything yet.
        log: Its name.
        place: Where to begin.
        kinds: Classes of the records that are wanted; others are not fetched. All, if empty.
    """

    def __init__(self, ledger: Ledger, log: str, place: Place = NOWHERE, kinds: Collection[type[Record]] = ()) -> None:
        self._ledger, self.log, self._kinds = ledger, log, tuple(kinds)
        self.place = place
        self._idle: tuple[Place, Head] | None = None  # with this place and head there is nothing to do
        self._changed = False  # a change was reported and is not dealt with yet

    def move(self, place: Place) -> None:
        """Go on from a place: what lies before it, and what became of the log, is dealt with."""
        if self._changed:
            self._idle, self._changed = None, False
        self.place = place

    def look(self) -> Batch | None:
        """What became of the log, without its entries; None when there is nothing behind the place.

        One question when the log is what it was at the last look, and that left nothing to do.
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
        """The next entries, `limit` at most, or a change; the same again until the follower is moved. None if there is nothing."""
        seen = self.look()
        if seen is None or seen.change is not Change.NONE:
            return seen
        return self._read(seen.start, seen.next, seen.head, limit)

    def catch_up(self, limit: int = BATCH_ENTRIES) -> Iterator[Batch]:
        """Steps as far as the log goes now; it may grow meanwhile. Move the follower behind each."""
        while (batch := self.step(limit)) is not None:
            yield batch
            if batch.change is Change.NONE and batch.next.index >= batch.head.size:
                return

    def step_to(self, head: Head, limit: int = BATCH_ENTRIES) -> Batch | None:
        """As `step`, up to a head that the log is known to have had, without a look at what became of it."""
        if self.place.index >= head.size:
            return None
        return self._read(self.place.index, Place(self.place.number, head.size), head, limit)

    def run(self, stop: Stop, handle: Callable[[Batch], Place]) -> None:
        """Give each batch to `handle`, which returns where to go on, until told to stop."""
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
        """Up to where the log is what it was under the origin of the place."""
        continued = self._ledger.records(self.log, LogContinued)
        return min((record.database_size for record in continued if record.number > self.place.number), default=self.place.index)


class Pace:
    """How long a loop over logs waits when it found nothing: until a wake-up, or for waits that double while nothing comes.

    Args:
        wakeup: Tells that the logs may have grown; made before the first look at them.
        shortest_s, longest_s: Bounds of a wait.
    """

    def __init__(self, wakeup: Wakeup, shortest_s: float = SHORTEST_WAIT_S, longest_s: float = LONGEST_WAIT_S) -> None:
        self._wakeup, self._shortest_s, self._longest_s = wakeup, shortest_s, max(shortest_s, longest_s)
        self._next_s = shortest_s

    def restart(self) -> None:
        """There was something: the next wait is the shortest again."""
        self._next_s = self._shortest_s

    def wait(self, stop: Stop) -> None:
        """Wait once."""
        if self._wakeup.wait(stop, self._next_s):
            self.restart()
        else:
            self._next_s = min(2 * self._next_s, self._longest_s)
