"""Recently seen event ids, for deduplication: two generations of a hash table.

A table maps a 64-bit hash of an event id to the last offset of a valid event with that id. One
generation covers `horizon` offsets; a lookup checks the current generation and the one before, so an
id is kept for at least `horizon` offsets and expires without deleting any key.
"""

import numpy as np

from schemas.events.rides import Bools, Int64s, UInt64s

_EMPTY = np.uint64(0)
_FIRST_CAPACITY = 1 << 12
_FULL = 0.5  # Linear probing slows down steeply above half full.
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Knuth, TAOCP 3, 6.4


class _Generation:
    """One open-addressing table: keys uint64[capacity], last offsets int64[capacity]."""

    def __init__(self, capacity: int = _FIRST_CAPACITY) -> None:
        self.used = 0
        self.keys = np.zeros(capacity, np.uint64)
        self.last = np.zeros(capacity, np.int64)

    def find(self, keys: UInt64s) -> Int64s:
        """Last offset of each key, -1 where it is unknown."""
        found = np.full(len(keys), -1, np.int64)
        if not self.used:
            return found
        mask = np.uint64(len(self.keys) - 1)
        at = (keys * _MIX >> np.uint64(20)) & mask
        left = np.arange(len(keys))
        while len(left):
            stored = self.keys[at]
            hit = stored == keys[left]
            found[left[hit]] = self.last[at[hit]]
            unresolved = ~hit & (stored != _EMPTY)
            left, at = left[unresolved], (at[unresolved] + np.uint64(1)) & mask
        return found

    def put(self, keys: UInt64s, offsets: Int64s) -> None:
        """Store distinct keys with their last offsets."""
        while (self.used + len(keys)) > _FULL * len(self.keys):
            self._grow()
        mask = np.uint64(len(self.keys) - 1)
        at = (keys * _MIX >> np.uint64(20)) & mask
        left = np.arange(len(keys))
        while len(left):
            empty = self.keys[at] == _EMPTY
            # Several keys may claim one empty slot of the table: the last write wins, the others probe further.
            self.keys[at[empty]] = keys[left[empty]]
            mine = self.keys[at] == keys[left]
            self.last[at[mine]] = offsets[left[mine]]
            self.used += int(np.count_nonzero(mine & empty))
            left, at = left[~mine], (at[~mine] + np.uint64(1)) & mask

    def _grow(self) -> None:
        occupied = self.keys != _EMPTY
        keys, last = self.keys[occupied], self.last[occupied]
        capacity = 4 * len(self.keys)
        self.used = 0
        self.keys, self.last = np.zeros(capacity, np.uint64), np.zeros(capacity, np.int64)
        self.put(keys, last)


class Seen:
    """Ids of valid events within the last `horizon` offsets of one partition.

    >>> seen = Seen(horizon=100)
    >>> seen.mark(np.array([7, 8, 7], np.uint64), np.array([0, 1, 2]))
    array([False, False,  True])
    >>> seen.mark(np.array([8], np.uint64), np.array([102]))  # 8 was last seen 101 offsets before
    array([False])
    """

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self._number = 0
        self._present = _Generation()
        self._before = _Generation()

    def mark(self, ids: UInt64s, offsets: Int64s) -> Bools:
        """Mark events that repeat an id seen within the horizon, and store all ids.

        Args:
            ids: uint64[n], hashes of event ids of valid events.
            offsets: int64[n], ascending, above all offsets of earlier calls.
        Returns:
            bool[n], True for a duplicate.
        """
        duplicate = np.zeros(len(ids), np.bool_)
        ids = np.where(ids == _EMPTY, np.uint64(1), ids)
        numbers = offsets // self.horizon
        start = 0
        while start < len(ids):
            stop = int(np.searchsorted(numbers, numbers[start], side="right"))
            self._turn(int(numbers[start]))
            duplicate[start:stop] = self._mark(ids[start:stop], offsets[start:stop])
            start = stop
        return duplicate

    def _turn(self, number: int) -> None:
        if number == self._number:
            return
        self._before = self._present if number == self._number + 1 else _Generation()
        self._present = _Generation()
        self._number = number

    def _mark(self, ids: UInt64s, offsets: Int64s) -> Bools:
        order = np.argsort(ids, kind="stable")
        sorted_ids, sorted_offsets = ids[order], offsets[order]
        first = np.ones(len(ids), np.bool_)
        first[1:] = sorted_ids[1:] != sorted_ids[:-1]
        previous = np.empty(len(ids), np.int64)
        previous[1:] = sorted_offsets[:-1]
        heads = sorted_ids[first]
        known = self._present.find(heads)
        if self._before.used:
            missing = known < 0
            known[missing] = self._before.find(heads[missing])
        previous[first] = known
        duplicate = np.empty(len(ids), np.bool_)
        duplicate[order] = (previous >= 0) & (sorted_offsets - previous <= self.horizon)
        last = np.ones(len(ids), np.bool_)
        last[:-1] = first[1:]
        self._present.put(sorted_ids[last], sorted_offsets[last])
        return duplicate
