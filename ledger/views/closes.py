"""The closes in a region's log: the entries of each closed slot, in order, as one object."""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger.store.log import Ledger, Stored, holds
from schemas.errors import DamagedError
from schemas.records.kinds import ClosePart, names_in
from schemas.records.records import Record, SlotClosed

BEFORE, AFTER = frozenset(names_in(ClosePart.BEFORE)), frozenset(names_in(ClosePart.AFTER))
OF_A_CLOSE = BEFORE | AFTER | set(names_in(ClosePart.SLOT))


@dataclass(frozen=True, slots=True)
class Close:
    """The entries that were appended when a slot closed.

    Attributes:
        before: Gaps and short horizons found since the previous close.
        closed: The entry with the counts; `record` is its content.
        after: Entries that result from the slot.
    """

    before: tuple[Stored[Record], ...]
    closed: Stored[SlotClosed]
    record: SlotClosed
    after: tuple[Stored[Record], ...]

    @property
    def entries(self) -> tuple[Stored[Record], ...]:
        """All entries, in order."""
        return (*self.before, self.closed, *self.after)


def closes(ledger: Ledger, log: str, start: int = 0, stop: int | None = None) -> Iterator[Close]:
    """The closes among the entries [start, stop), in order; entries of other kinds are skipped.

    Args:
        start: First entry; the rest of a close that starts before it is skipped.
    Raises:
        DamagedError: the bytes of an entry do not match its hash, or no slot precedes it.
    """
    before: list[Stored[Record]] = []
    closed: Stored[SlotClosed] | None = None
    after: list[Stored[Record]] = []
    started = start == 0
    for stored in ledger.scan(log, start, stop):
        if stored.kind not in OF_A_CLOSE:
            continue
        if closed is not None and stored.kind not in AFTER:
            yield _close(before, closed, after)
            before, closed, after = [], None, []
        if holds(stored, SlotClosed):
            closed, started = stored, True
        elif stored.kind in BEFORE:
            before.append(stored)
        elif closed is not None:
            after.append(stored)
        elif started or before:
            raise DamagedError(f"{log} entry {stored.index}: expected a {stored.kind} to follow the entry that closes its slot")
    if closed is not None:
        yield _close(before, closed, after)


def _close(before: list[Stored[Record]], closed: Stored[SlotClosed], after: list[Stored[Record]]) -> Close:
    return Close(tuple(before), closed, closed.record, tuple(after))
