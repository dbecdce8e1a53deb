"""What a partition passes to a region: partial counts over a range of offsets, in columns.

A partial covers offsets [from_offset, to_offset) without a hole. If the partition's own log cuts
slots within that range, the partial has several pieces: piece j ends before offset `cuts[j]`, and
`first_uncut[j]` is the first slot that the partition had not yet cut during piece j.
"""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from schemas.events.rides import Int64s, UInt8s, UInt64s

Int32s = npt.NDArray[np.int32]


class Standing(StrEnum):
    """State of a partition's input at the end of a partial."""

    FLOWING = "flowing"
    IDLE = "idle"  # has been at a freshly read end offset for idle_after_s
    ENDED = "ended"  # has reached the end offset that a bounded run pinned at its start


@dataclass(frozen=True, slots=True)
class Rows:
    """Counted rides: parallel columns sorted by (piece, slot, measure, cell).

    Attributes:
        piece: int32[n].
        slot: int64[n].
        measure: uint8[n], index into the region's measures.
        cell: uint64[n].
        count: int64[n], rides, >= 1.
    """

    piece: Int32s
    slot: Int64s
    measure: UInt8s
    cell: UInt64s
    count: Int64s

    def __len__(self) -> int:
        return len(self.slot)


NO_INTS = np.empty(0, np.int64)
NO_ROWS = Rows(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint64), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class Partial:
    """Partial counts of one region from one partition.

    Attributes:
        cuts: int64[m], ascending offsets at which the partition's log cut slots.
        first_uncut: int64[m + 1], per piece.
        largest_us: int64[m + 1], evidenced time at the end of each piece, -1 for none.
        rows: counts, see `Rows`.
        lowest: (piece int32[k], slot int64[k], offset int64[k]): lowest offset of a ride per piece and slot.
        totals: name -> int64[m + 1]: received, accepted, duplicate, counted, rejected.<reason>, uncounted.<reason>.
        gap_until: the source no longer has offsets [from_offset, gap_until); -1 for no gap.
        short_from, wanted_from: deduplication was warmed from `short_from` instead of `wanted_from`; -1 if fully warmed.
        needed_from: int64[m + 1], lowest offset on which the evidenced time may still depend at the end of each piece, or
            the end itself; empty if it depends on none.
        recent_us: times of the last accepted events that exceed the evidenced time, -1 for the others, oldest first.
    """

    region: str
    partition: int
    from_offset: int
    to_offset: int
    cuts: Int64s
    first_uncut: Int64s
    largest_us: Int64s
    rows: Rows
    lowest: tuple[Int32s, Int64s, Int64s]
    totals: dict[str, Int64s]
    standing: Standing = Standing.FLOWING
    gap_until: int = -1
    short_from: int = -1
    wanted_from: int = -1
    needed_from: Int64s = field(default_factory=lambda: NO_INTS)
    recent_us: Int64s = field(default_factory=lambda: NO_INTS)

    @property
    def pieces(self) -> int:
        """Number of pieces."""
        return len(self.first_uncut)


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where one region resumes in one partition.

    Attributes:
        open_from: First offset to read; -1 to start at the source's lowest.
        counted_until: Rides below this offset are already counted unless their slot is later than `closed_through`.
        closed_through: Last closed slot.
        largest_us: Evidenced time below `counted_until`, -1 for none.
        start_slot: First slot counted live; earlier slots are in the bootstrap.
        too_far: (offset, slot) pairs of `state.counting.evidence.held_marks`.
    """

    open_from: int
    counted_until: int
    closed_through: int
    largest_us: int
    start_slot: int
    too_far: tuple[tuple[int, int], ...] = ()
