"""The closes that a region's log holds: the entries of each slot, in their order, as one thing."""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger.store.log import Ledger, Stored
from schemas.errors import DamagedError
from schemas.records.record_codec import decode
from schemas.records.records import (
    ForecastIssued,
    HorizonShort,
    SlotClosed,
    SlotScored,
    SourceGap,
    StateDigested,
    UniverseChanged,
)

FINDINGS = (SourceGap.__name__, HorizonShort.__name__)  # stand before the slot that they belong to
AFTER = (UniverseChanged.__name__, SlotScored.__name__, ForecastIssued.__name__, StateDigested.__name__)
OF_A_CLOSE = frozenset((*FINDINGS, SlotClosed.__name__, *AFTER))


@dataclass(frozen=True, slots=True)
class Close:
    """What was appended when a slot closed.

    Attributes:
        before: Gaps and short horizons that were met since the close before.
        closed: The entry that holds the counts, and `record`, what it says.
        after: What followed from it.
    """

    before: tuple[Stored, ...]
    closed: Stored
    record: SlotClosed
    after: tuple[Stored, ...]

    @property
    def entries(self) -> tuple[Stored, ...]:
        """All of them, in order."""
        return (*self.before, self.closed, *self.after)


def closes(ledger: Ledger, log: str, start: int = 0, stop: int | None = None) -> Iterator[Close]:
    """The closes among the entries [start, stop), in order; entries of other kinds belong to none.

    Args:
        start: Where to begin; the rest of a close that began below is left out.
    Raises:
        DamagedError: an entry's bytes do not hash to what was promised, or it follows no slot.
    """
    before: list[Stored] = []
    closed: Stored | None = None
    after: list[Stored] = []
    begun = start == 0
    for stored in ledger.scan(log, start, stop):
        if stored.kind not in OF_A_CLOSE:
            continue
        if closed is not None and stored.kind not in AFTER:
            yield _close(before, closed, after)
            before, closed, after = [], None, []
        if stored.kind == SlotClosed.__name__:
            closed, begun = stored, True
        elif stored.kind in FINDINGS:
            before.append(stored)
        elif closed is not None:
            after.append(stored)
        elif begun or before:
            raise DamagedError(f"{log} entry {stored.index}: expected a {stored.kind} to follow the entry that closes its slot")
    if closed is not None:
        yield _close(before, closed, after)


def _close(before: list[Stored], closed: Stored, after: list[Stored]) -> Close:
    return Close(tuple(before), closed, decode(closed.payload), tuple(after))
