"""Follow a log: what is there from a place on, then what is appended, until told to stop."""

from collections.abc import Iterator
from typing import Protocol

from ledger.store.log import Ledger, Stored
from schemas.records.records import Record

BATCH_ENTRIES = 1_000  # a close is a few entries, so this is hours of a region in one question


class Stop(Protocol):
    """What `threading.Event` promises, so that a wait ends when somebody wants to stop."""

    def is_set(self) -> bool:
        """Whether to stop."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until told to stop, at most so many seconds; whether it was told."""
        ...


def follow(ledger: Ledger, log: str, start: int, stop: Stop, poll_s: float) -> Iterator[list[Stored[Record]]]:
    """Entries of a log in order, without gaps, in batches that are never empty; ends only when told to stop.

    Args:
        ledger: Where the log is; it need not hold anything yet.
        log: Its name.
        start: Index of the first entry wanted.
        stop: Set by whoever wants this to end; seen between batches.
        poll_s: How often to look when there is nothing new.
    """
    while not stop.is_set():
        batch = list(ledger.read(log, start, limit=BATCH_ENTRIES))
        if batch:
            start = batch[-1].index + 1
            yield batch
        else:
            stop.wait(poll_s)
