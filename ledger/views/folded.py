"""A log folded in memory: what its records make together, as up to date as the last question.

For small logs that are read whole, such as those of alerts and of jobs. The fold begins again when the log has another origin or is
shorter than what was read, because what was read may no longer be part of it.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Generic, TypeVar

from ledger.store.log import Ledger
from ledger.store.recording import Recorder
from ledger.views.append import appended
from ledger.views.follow import NOWHERE, Change, Follower, Place
from schemas.records.records import Record

T = TypeVar("T")
Fold = Callable[[T, int, Any], T]


class Folded(Generic[T]):
    """Follows one log of a ledger; not thread-safe.

    Args:
        new: Makes what an empty log says.
        fold: What the log says after one more entry, from what it said before, the entry's index and its record. It may change what it
            is given.
        kinds: Classes of the records that the fold needs; others are not fetched. Empty for all.
    """

    def __init__(self, ledger: Ledger, log: str, new: Callable[[], T], fold: Fold[T], kinds: Collection[type[Record]] = ()) -> None:
        self._ledger, self._log, self._new, self._fold = ledger, log, new, fold
        self._follower = Follower(ledger, log, NOWHERE, kinds)
        self._recorder = Recorder(ledger, log)
        self._now = new()

    @property
    def place(self) -> Place:
        """Up to where the log was folded."""
        return self._follower.place

    def latest(self) -> T:
        """What the log says now.

        Raises:
            StoreUnavailable: the ledger does not answer; the next question reads on.
        """
        for batch in self._follower.catch_up():
            if batch.change is Change.NONE:
                for stored in batch.entries:
                    self._now = self._fold(self._now, stored.index, stored.record)
                self._follower.move(batch.next)
            else:
                self._now, self._recorder = self._new(), Recorder(self._ledger, self._log)
                self._follower.move(Place(batch.next.number, 0))
        return self._now

    def append(self, decide: Callable[[T], Sequence[Record]]) -> list[Record]:
        """Append what a decision says, all or nothing; decide again when another process appended first.

        Args:
            decide: What to append to the log while it says this. Whatever it raises is raised.
        Returns:
            What was appended.
        """
        while True:
            now = self.latest()
            records = list(decide(now))
            if not records or appended(self._recorder, self.place.index, records):
                return records
