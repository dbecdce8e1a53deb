"""Repeated running totals of counts: a smooth window of any width is four rows of a ring.

A parabola of integer weights has a third difference that is zero but at four places. So the fourth running total
of the counts gives the total of smoothed counts at a boundary with four rows, however wide the parabola is. All
numbers are integers modulo 2^32: the constants of repeated totals cancel exactly, and the order of additions does not
matter.
"""

import numpy as np

from schemas.events.rides import Int64s
from state.demand.ring import FIRST_COLUMNS, MOST_NEW_COLUMNS, Int32Rows

MOST_WIDTH = 25  # slots; a smoothed window of 12 slots stays below 2^31 up to 8,000 rides per slot
_LEVELS = 3  # running totals that only the newest boundary needs
_KEPT_SLOTS = 6  # a smoothed row that was not asked for in so long is dropped; the windows of one close move through it in the next


def parabola(width: int) -> Int64s:
    """Weights of the slots from 1 - width to width - 1: width^2 - k^2.

    >>> parabola(3)
    array([5, 8, 9, 8, 5])
    """
    k = np.arange(1 - width, width)
    return np.asarray(width * width - k * k, np.int64)


class MomentRing:
    """Fourth running totals of counts by boundary, for `smoothed`.

    >>> ring = MomentRing(rows=20)
    >>> ring.widen(1)
    >>> for slot in range(10):
    ...     ring.push(slot, np.array([0]), np.array([1]))
    >>> low, high = ring.smoothed(np.array([5, 6]), 3)[:, 0]
    >>> bool(high - low == parabola(3).sum())
    True
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.columns = 0
        self._fourth: Int32Rows = np.zeros((rows, FIRST_COLUMNS), np.int32)
        self._newest: Int32Rows = np.zeros((_LEVELS, FIRST_COLUMNS), np.int32)  # first to third totals
        self._end = 0  # the newest boundary
        self._smoothed: dict[int, _Smoothed] = {}  # by width

    def widen(self, columns: int) -> None:
        """Grow to at least this many columns; new columns are zero."""
        capacity = self._fourth.shape[1]
        self.columns = max(columns, self.columns)
        if self.columns > capacity:
            while capacity < self.columns:
                capacity += min(capacity, MOST_NEW_COLUMNS)
            added = capacity - self._fourth.shape[1]
            self._fourth, self._newest = (np.pad(rows, ((0, 0), (0, added))) for rows in (self._fourth, self._newest))
            self._smoothed = {}

    def push(self, slot: int, columns: Int64s, counts: Int64s) -> None:
        """Add the counts of the next slot; a column may occur more than once."""
        first, second, third = self._newest
        np.add.at(first, columns, counts.astype(np.int32))
        second += first
        third += second
        np.add(self._fourth[slot % self.rows], third, out=self._fourth[(slot + 1) % self.rows])
        self._end = slot + 1
        if slot % _KEPT_SLOTS == 0:
            for kept in self._smoothed.values():
                kept.drop_unused()

    def add(self, from_slot: int, until_slot: int, columns: Int64s, counts: Int64s) -> None:
        """Add counts to a slot that was pushed before; `until_slot` is the newest boundary. Each column once."""
        after = np.arange(1, until_slot - from_slot + 1)
        fourth = after * (after + 1) * (after + 2) // 6
        rows = (from_slot + after) % self.rows
        self._fourth[rows[:, None], columns] += (fourth[:, None] * counts).astype(np.int32)
        for width, kept in self._smoothed.items():
            kept.drop_from(from_slot - width + 2)
        last = until_slot - from_slot
        for total, factor in zip(self._newest, (1, last, last * (last + 1) // 2), strict=True):
            total[columns] += (factor * counts).astype(np.int32)

    def fill(self, from_slot: int, until_slot: int, slots: Int64s, columns: Int64s, counts: Int64s) -> None:
        """Start from zero at `from_slot` with the counts of `CumulativeRing.sparse`."""
        starts = np.searchsorted(slots, np.arange(from_slot, until_slot + 1))
        self._fourth[from_slot % self.rows] = 0
        self._newest[:] = 0
        self._smoothed = {}
        for i, slot in enumerate(range(from_slot, until_slot)):
            here = slice(starts[i], starts[i + 1])
            self.push(slot, columns[here], counts[here])

    @property
    def kept(self) -> int:
        """How many smoothed rows are kept."""
        return sum(len(kept.places) for kept in self._smoothed.values())

    def smoothed(self, boundaries: Int64s, width: int, columns: Int64s | None = None) -> Int32Rows:
        """Counts smoothed by `parabola(width)` of all slots before each boundary, up to a constant per column.

        Args:
            boundaries: int64[...]. The rows from `width + 2` before to `width - 1` after each must be kept.
            columns: int64[n]; all if not given, which is faster: their rows are kept for the next closes.
        Returns:
            int32[..., n], modulo 2^32.
        """
        if columns is not None or int(boundaries.max(initial=0)) + width - 1 > self._end:
            return self._computed(boundaries, width, columns)
        kept = self._smoothed.setdefault(width, _Smoothed(self._fourth.shape[1]))
        wanted = boundaries.ravel().tolist()
        missing = [boundary for boundary in dict.fromkeys(wanted) if boundary not in kept.places]
        if missing:
            kept.add(missing, self._computed(np.array(missing, np.int64), width, None))
        return kept.take(wanted, self.columns).reshape(*boundaries.shape, self.columns)

    def _computed(self, boundaries: Int64s, width: int, columns: Int64s | None) -> Int32Rows:
        above, below = self._rows(boundaries + width - 1, columns), self._rows(boundaries - width - 2, columns)
        out = np.subtract(above, below, out=above)
        out *= np.int32(2 * width - 1)
        above, below = self._rows(boundaries + width - 2, columns), self._rows(boundaries - width - 1, columns)
        inner = np.subtract(above, below, out=above)
        inner *= np.int32(2 * width + 1)
        out -= inner
        return out

    def _rows(self, boundaries: Int64s, columns: Int64s | None) -> Int32Rows:
        rows = boundaries % self.rows
        if columns is None:
            return self._fourth[rows, : self.columns]
        return self._fourth[rows[..., None], columns]


class _Smoothed:
    """Smoothed rows by boundary. They do not change until a late ride comes, and consecutive closes ask for nearly the same.

    Attributes:
        places: Row of each boundary that is kept.
    """

    def __init__(self, columns: int) -> None:
        self.places: dict[int, int] = {}
        self._used: set[int] = set()  # since rows were last dropped
        self._free: list[int] = []
        self._rows: Int32Rows = np.zeros((0, columns), np.int32)

    def add(self, boundaries: list[int], rows: Int32Rows) -> None:
        """Keep the rows of boundaries that are not kept yet."""
        have = len(self._rows)
        if len(boundaries) > len(self._free):
            added = max(len(boundaries), have // 4)
            self._rows = np.concatenate([self._rows, np.zeros((added, self._rows.shape[1]), np.int32)])
            self._free += range(have, have + added)
        for boundary, row in zip(boundaries, rows, strict=True):
            place = self.places[boundary] = self._free.pop()
            self._rows[place, : len(row)] = row

    def take(self, boundaries: list[int], columns: int) -> Int32Rows:
        """The rows of some boundaries that are kept: int32[len(boundaries), columns]. Later columns than those known then are zero."""
        self._used.update(boundaries)
        return self._rows[[self.places[boundary] for boundary in boundaries], :columns]

    def drop_unused(self) -> None:
        """Drop the rows that were not asked for since this was last called."""
        self._drop([boundary for boundary in self.places if boundary not in self._used])
        self._used.clear()

    def drop_from(self, first: int) -> None:
        """Drop the rows of a boundary and of later ones."""
        self._drop([boundary for boundary in self.places if boundary >= first])

    def _drop(self, boundaries: list[int]) -> None:
        for boundary in boundaries:
            self._free.append(self.places.pop(boundary))
