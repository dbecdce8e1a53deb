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

    def widen(self, columns: int) -> None:
        """Grow to at least this many columns; new columns are zero."""
        capacity = self._fourth.shape[1]
        self.columns = max(columns, self.columns)
        if self.columns > capacity:
            while capacity < self.columns:
                capacity += min(capacity, MOST_NEW_COLUMNS)
            added = capacity - self._fourth.shape[1]
            self._fourth, self._newest = (np.pad(rows, ((0, 0), (0, added))) for rows in (self._fourth, self._newest))

    def push(self, slot: int, columns: Int64s, counts: Int64s) -> None:
        """Add the counts of the next slot; a column may occur more than once."""
        first, second, third = self._newest
        np.add.at(first, columns, counts.astype(np.int32))
        second += first
        third += second
        np.add(self._fourth[slot % self.rows], third, out=self._fourth[(slot + 1) % self.rows])

    def add(self, from_slot: int, until_slot: int, columns: Int64s, counts: Int64s) -> None:
        """Add counts to a slot that was pushed before; `until_slot` is the newest boundary. Each column once."""
        after = np.arange(1, until_slot - from_slot + 1)
        fourth = after * (after + 1) * (after + 2) // 6
        rows = (from_slot + after) % self.rows
        self._fourth[rows[:, None], columns] += (fourth[:, None] * counts).astype(np.int32)
        last = until_slot - from_slot
        for total, factor in zip(self._newest, (1, last, last * (last + 1) // 2), strict=True):
            total[columns] += (factor * counts).astype(np.int32)

    def fill(self, from_slot: int, until_slot: int, slots: Int64s, columns: Int64s, counts: Int64s) -> None:
        """Start from zero at `from_slot` with the counts of `CumulativeRing.sparse`."""
        starts = np.searchsorted(slots, np.arange(from_slot, until_slot + 1))
        self._fourth[from_slot % self.rows] = 0
        self._newest[:] = 0
        for i, slot in enumerate(range(from_slot, until_slot)):
            here = slice(starts[i], starts[i + 1])
            self.push(slot, columns[here], counts[here])

    def smoothed(self, boundaries: Int64s, width: int, columns: Int64s | None = None) -> Int32Rows:
        """Counts smoothed by `parabola(width)` of all slots before each boundary, up to a constant per column.

        Args:
            boundaries: int64[...]. The rows from `width + 2` before to `width - 1` after each must be kept.
            columns: int64[n]; all if not given, which is faster than most of them.
        Returns:
            int32[..., n], modulo 2^32.
        """
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
