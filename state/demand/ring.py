"""A ring buffer of cumulative rows: stores many slots of many cells so that a window is one subtraction."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Int32Rows = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

FIRST_COLUMNS = 64
MOST_NEW_COLUMNS = 1024  # widening copies the ring, so it must be rare; but memory must not double for one cell


class CumulativeRing:
    """Rows of running totals; the row of boundary b holds the counts of all slots before b.

    The last column is always free and holds zeros, so that index -1 stands for "no such cell". Totals
    wrap around at 2^31; their differences are still correct.

    >>> ring = CumulativeRing(rows=4)
    >>> ring.widen(2)
    >>> ring.push(0, np.array([1]), np.array([5]))
    >>> ring.between(0, 1, np.array([0, 1]))
    array([0, 5])
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.columns = 0
        self._totals: Int32Rows = np.zeros((rows, FIRST_COLUMNS), np.int32)

    def widen(self, columns: int) -> None:
        """Grow to at least this many columns; new columns are zero."""
        capacity = self._totals.shape[1]
        self.columns = max(columns, self.columns)
        if self.columns >= capacity:
            while capacity <= self.columns:
                capacity += min(capacity, MOST_NEW_COLUMNS)
            wider = np.zeros((self.rows, capacity), np.int32)
            wider[:, : self._totals.shape[1]] = self._totals
            self._totals = wider

    def push(self, slot: int, columns: Int64s, counts: Int64s) -> None:
        """Set the row of slot + 1 to the row of slot plus the counts; a column may occur more than once."""
        new = self._totals[(slot + 1) % self.rows]
        new[:] = self._totals[slot % self.rows]
        np.add.at(new, columns, counts.astype(np.int32))

    def add(self, from_slot: int, until_slot: int, columns: Int64s, counts: Int64s) -> None:
        """Add counts to every boundary in (from_slot, until_slot]; each column once."""
        rows = np.arange(from_slot + 1, until_slot + 1) % self.rows
        self._totals[rows[:, None], columns] += counts.astype(np.int32)

    def between(self, from_slot: int, until_slot: int, columns: Int64s | None = None) -> Int64s:
        """Counts of slots [from, until) per column, or of the given columns: int64[n]."""
        high, low = self._totals[until_slot % self.rows], self._totals[from_slot % self.rows]
        if columns is None:
            high, low = high[: self.columns], low[: self.columns]
        else:
            high, low = high[columns], low[columns]
        return np.asarray(high - low, np.int64)

    def totals(self, slots: Sequence[int], columns: Int64s) -> Int32Rows:
        """The given columns of the rows of some boundaries: int32[len(slots), *columns.shape]."""
        out = np.empty((len(slots), *columns.shape), np.int32)
        for i, slot in enumerate(slots):
            np.take(self._totals[slot % self.rows], columns, out=out[i], mode="wrap")  # index -1: the free column
        return out

    def keep(self, columns: Int64s) -> None:
        """Drop all columns but these, in this order."""
        kept = np.zeros((self.rows, max(FIRST_COLUMNS, len(columns) + 1)), np.int32)
        kept[:, : len(columns)] = self._totals[:, columns]
        self._totals = kept
        self.columns = len(columns)

    def sparse(self, from_slot: int, until_slot: int) -> tuple[Int64s, Int64s, Int64s]:
        """Nonzero counts as (slot, column, count), sorted."""
        parts = []
        step = 256  # slots at once, to bound memory
        for start in range(from_slot, until_slot, step):
            stop = min(start + step, until_slot)
            rows = np.arange(start, stop + 1) % self.rows
            counts = np.diff(self._totals[rows, : self.columns], axis=0)
            slot, column = np.nonzero(counts)
            parts.append((slot + start, column, counts[slot, column].astype(np.int64)))
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
        slots, columns, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        return slots, columns, values

    def fill(self, from_slot: int, until_slot: int, slots: Int64s, columns: Int64s, counts: Int64s) -> None:
        """The inverse of `sparse`: start from zero at `from_slot`."""
        starts = np.searchsorted(slots, np.arange(from_slot, until_slot + 1))
        self._totals[from_slot % self.rows] = 0
        for i, slot in enumerate(range(from_slot, until_slot)):
            here = slice(starts[i], starts[i + 1])
            self.push(slot, columns[here], counts[here])


def count_hash(slots: Int64s, cells: UInt64s, counts: Int64s) -> UInt64s:
    """Sum of count x hash(slot, cell) modulo 2^64, twice with different seeds: uint64[2].

    Additive, so that it does not depend on how rides were batched. Not cryptographic: the counts
    themselves are in the ledger.

    Source:
        G. Steele, D. Lea and C. Flood (2014), Fast splittable pseudorandom number generators (the finaliser).
    """
    sums = np.zeros(2, np.uint64)
    for i, seed in enumerate((0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)):
        x = slots.astype(np.uint64) * np.uint64(seed) ^ cells.astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        sums[i] = ((x ^ x >> np.uint64(31)) * counts.astype(np.uint64)).sum(dtype=np.uint64)
    return sums
