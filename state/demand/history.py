"""Counts of rides per cell and slot over the last 29 days.

One history serves one region and measure. It returns the rides in any window of slots: in a cell, in its
parent cell, in its neighbours and in the whole region. Other modules choose the windows and build features.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from schemas.errors import ContractError, DamagedError
from schemas.events.cells import neighbours, parents
from schemas.events.rides import Bools, Float64s, Int64s, UInt64s
from schemas.regions import DAY_MIN, Region
from state.demand.around import Around
from state.demand.levels import Levels
from state.demand.ring import CumulativeRing, Int32Rows, count_hash

HISTORY_DAYS = 29  # four weeks of seasonal lags, and a day for wider windows and changes of daylight saving time
UNIVERSE_DAYS = 28
NEVER = -(1 << 62)  # last ride of a cell that has none

Arrays = dict[str, npt.NDArray[np.generic]]

_NO_INTS = np.empty(0, np.int64)
_NO_CELLS = np.empty(0, np.uint64)


class CountHistory:
    """Counts of one region and measure.

    Args:
        tracked: Track levels of demand too, which newer feature tables need.
        older: Their profiles remember older weeks than the counts.

    Columns are cells in the order in which they were first seen (within one call, ascending).
    `beside` holds the histories of the region's other measures, which have the same slots; see `state.demand.other_measures`.
    `generation` changes when columns move: callers that keep column indices must look them up again.

    >>> from schemas.regions import load_region
    >>> history = CountHistory(load_region("nyc"))
    >>> history.close(100, np.array([7, 9], np.uint64), np.array([2, 1]), observed=True)
    >>> history.close(101, np.array([9], np.uint64), np.array([4]), observed=True)
    >>> history.window(100, 102)
    array([2, 5])
    """

    def __init__(self, region: Region, *, tracked: bool = False, older: bool = False) -> None:
        self._region = region
        self._levels: Levels | None = None
        self._neighbourhood = Around(region)
        self.beside: Mapping[str, CountHistory] = {}
        self.cell_bits = region.cell_bits
        self.day_slots = DAY_MIN // region.slot_min
        self.ring_slots = HISTORY_DAYS * self.day_slots
        self.rows = self.ring_slots + 1
        self.generation = 0
        self.next_slot = -1  # no slot is closed yet
        self.first_slot = -1
        self._observed = np.zeros(self.rows, np.int64)  # cumulative, like the counts
        self._whole = np.zeros(self.rows, np.int64)
        self._city = np.zeros(self.rows, np.int64)
        self._mixed = np.zeros(2, np.uint64)
        self._cells = _NO_CELLS
        self._last = self._parent_of = self._around = _NO_INTS
        self._places: dict[int, int] = {}
        self._parent_places: dict[int, int] = {}
        self._set_columns(_NO_CELLS, _NO_INTS)
        if tracked:
            self.track(older=older)

    # --- what there is -------------------------------------------------------------------------

    @property
    def cells(self) -> UInt64s:
        """Cell code of each column: uint64[n]."""
        return self._cells[: len(self._places)]

    @property
    def last_ride_slot(self) -> Int64s:
        """Latest slot with a ride of each column: int64[n]."""
        return self._last[: len(self._places)]

    @property
    def oldest_slot(self) -> int:
        """First slot that is still kept."""
        return max(self.first_slot, self.next_slot - self.ring_slots)

    @property
    def parent_of(self) -> Int64s:
        """Index of the parent cell of each column, for grouping: int64[n]."""
        return self._parent_of[: len(self._places)]

    @property
    def tracked(self) -> bool:
        """Whether levels are tracked."""
        return self._levels is not None

    @property
    def levels(self) -> Levels:
        """The levels of demand.

        Raises:
            ContractError: they are not tracked.
        """
        if self._levels is None:
            raise ContractError("history: expected one that tracks levels, got one without; call `track` first")
        return self._levels

    def columns_of(self, cells: UInt64s) -> Int64s:
        """Column of each cell, -1 where it is not known: int64[n]."""
        places = self._places
        return np.fromiter((places.get(cell, -1) for cell in cells.tolist()), np.int64, len(cells))

    def parents_of(self, cells: UInt64s) -> Int64s:
        """Index of the parent of each cell, -1 where it is not known: int64[n]. The cells themselves may be unknown."""
        places = self._parent_places
        return np.fromiter((places.get(parent, -1) for parent in parents(cells).tolist()), np.int64, len(cells))

    def universe(self, slot: int) -> Int64s:
        """Columns of the cells with a ride in the 28 days up to and including a slot, in order of cell code."""
        columns = np.flatnonzero(self.last_ride_slot > slot - UNIVERSE_DAYS * self.day_slots)
        return columns[np.argsort(self._cells[columns], kind="stable")]

    # --- windows -------------------------------------------------------------------------------

    def _known(self, slot: int) -> int:
        return min(max(slot, self.oldest_slot), self.next_slot)

    def observed_slots(self, from_slot: int, until_slot: int) -> int:
        """How many slots of [from, until) are closed, still kept, and were observed."""
        return int(self._observed[self._known(until_slot) % self.rows] - self._observed[self._known(from_slot) % self.rows])

    def complete(self, from_slot: int, until_slot: int) -> bool:
        """Whether every slot of [from, until) was observed: then the window's count is demand, or a little less."""
        return self.observed_slots(from_slot, until_slot) == until_slot - from_slot

    def whole(self, from_slot: int, until_slot: int) -> bool:
        """Whether every slot of [from, until) was counted whole: then the window's count can score a forecast."""
        whole_slots = int(self._whole[self._known(until_slot) % self.rows] - self._whole[self._known(from_slot) % self.rows])
        return whole_slots == until_slot - from_slot

    def window(self, from_slot: int, until_slot: int, columns: Int64s | None = None) -> Int64s:
        """Rides in [from, until) of each column, or of the given columns: int64[n]. Slots that are not kept count as zero."""
        return self._counts.between(self._known(from_slot), self._known(until_slot), columns)

    def cumulative(self, slots: Sequence[int], columns: Int64s) -> Int32Rows:
        """Rides before each slot, up to a constant per column: int32[len(slots), len(columns)]."""
        return self._counts.totals([self._known(slot) for slot in slots], columns)

    def parent_window(self, from_slot: int, until_slot: int) -> Int64s:
        """Rides in [from, until) of each parent cell, by the indices of `parent_of`: int64[n_parents]."""
        return self._parent_counts.between(self._known(from_slot), self._known(until_slot))

    def parent_cumulative(self, slots: Sequence[int], columns: Int64s) -> Int32Rows:
        """As `cumulative`, for the parent cell of each column."""
        return self._parent_counts.totals([self._known(slot) for slot in slots], self._parent_of[columns])

    def neighbour_cumulative(self, slots: Sequence[int], columns: Int64s) -> Int32Rows:
        """As `cumulative`, summed over the up to eight neighbouring cells of each column."""
        around = self._counts.totals([self._known(slot) for slot in slots], self._around[columns])
        return np.asarray(around.sum(axis=2, dtype=np.int32), np.int32)

    def around(self, kernel: int, columns: Int64s, values: Float64s) -> Float64s:
        """Sums over the cells around some columns by one of KERNELS_KM: float64[len(columns), k], of values float64[n, k]."""
        return self._neighbourhood.sums(kernel, self.cells, columns, values)

    def city_cumulative(self, slots: Sequence[int]) -> Int64s:
        """Rides of the whole region before each slot, up to a constant: int64[len(slots)]."""
        return self._city[np.clip(np.asarray(slots, np.int64), self.oldest_slot, self.next_slot) % self.rows]

    # --- taking in -----------------------------------------------------------------------------

    def close(self, slot: int, cells: UInt64s, counts: Int64s, *, observed: bool, whole: bool | None = None) -> None:
        """Add the next slot.

        Args:
            cells: uint64[n], each once, in any order.
            counts: int64[n], rides, >= 1.
            observed: False for an outage: the slot is not used as a lag either.
            whole: False if rides are known to be missing; equal to `observed` if not given.
        Raises:
            ContractError: it is not the next slot.
        """
        if self.first_slot < 0:
            self.first_slot = self.next_slot = slot
        if slot != self.next_slot:
            raise ContractError(f"history: expected slot {self.next_slot}, got {slot}")
        if slot % self.day_slots == 0:
            self._forget_dead_columns()
        leaving = slot - self.ring_slots
        if leaving >= self.first_slot:
            left = self._counts.between(leaving, leaving + 1)
            columns = np.flatnonzero(left)
            self._mixed -= count_hash(np.full(len(columns), leaving), self._cells[columns], left[columns])
            if self._levels is not None and self._levels.older is not None:
                self._levels.older.push(leaving, self.cells, left, observed=self.complete(leaving, leaving + 1))
        columns = self._columns_for(cells)
        self._counts.push(slot, columns, counts)
        self._parent_counts.push(slot, self._parent_of[columns], counts)
        old, new = slot % self.rows, (slot + 1) % self.rows
        self._city[new] = self._city[old] + int(counts.sum())
        self._observed[new] = self._observed[old] + int(observed)
        self._whole[new] = self._whole[old] + int(observed if whole is None else whole)
        self._last[columns] = slot
        self._mixed += count_hash(np.full(len(cells), slot), cells, counts)
        self.next_slot = slot + 1
        if self._levels is not None:
            self._levels.push(slot, columns, self._parent_of[columns], counts)
            self._levels.close(self, slot, columns, self._parent_of[columns], counts, observed=observed)

    def track(self, *, older: bool = False) -> None:
        """Track levels from now on, after adding the slots that are kept; with `older`, profiles remember those that leave."""
        if self._levels is not None:
            self._levels.remember(older=older)
            return
        levels = self._levels = Levels(self._region, self.rows, older=older)
        levels.widen(len(self._places), len(self._parent_places))
        if self.next_slot < 0:
            return
        slots, columns, counts = self._sparse(np.ones(len(self._places), np.bool_))
        levels.fill(self.oldest_slot, self.next_slot, slots, columns, self._parent_of[columns], counts)
        starts = np.searchsorted(slots, np.arange(self.oldest_slot, self.next_slot + 1))
        for i, slot in enumerate(range(self.oldest_slot, self.next_slot)):
            here = slice(starts[i], starts[i + 1])
            parents = self._parent_of[columns[here]]
            levels.close(self, slot, columns[here], parents, counts[here], observed=self.complete(slot, slot + 1))

    def untrack(self) -> None:
        """Forget the levels."""
        self._levels = None

    def correct(self, slots: Int64s, cells: UInt64s, counts: Int64s) -> None:
        """Add late rides to closed slots; rides of slots that are no longer kept are ignored.

        Raises:
            ContractError: a slot is not closed yet.
        """
        if len(slots) and int(slots.max()) >= self.next_slot:
            raise ContractError(f"history: expected corrections of slots before {self.next_slot}, got {int(slots.max())}")
        known = slots >= self.oldest_slot
        slots, cells, counts = slots[known], cells[known], counts[known]
        self._columns_for(np.unique(cells))
        for slot in np.unique(slots).tolist():
            here = slots == slot
            late, place = np.unique(self.columns_of(cells[here]), return_inverse=True)
            added = np.zeros(len(late), np.int64)
            np.add.at(added, place, counts[here])
            self._counts.add(slot, self.next_slot, late, added)
            above, place = np.unique(self._parent_of[late], return_inverse=True)
            added_above = np.zeros(len(above), np.int64)
            np.add.at(added_above, place, added)
            self._parent_counts.add(slot, self.next_slot, above, added_above)
            self._city[np.arange(slot + 1, self.next_slot + 1) % self.rows] += int(added.sum())
            self._last[late] = np.maximum(self._last[late], slot)
            if self._levels is not None:
                self._levels.correct(slot, self.next_slot, late, added, above, added_above, observed=self.complete(slot, slot + 1))
        self._mixed += count_hash(slots, cells, counts)

    # --- columns -------------------------------------------------------------------------------

    def _columns_for(self, cells: UInt64s) -> Int64s:
        columns = self.columns_of(cells)
        if len(cells) and int(columns.min()) < 0:
            for cell in np.sort(cells[columns < 0]).tolist():
                self._add_column(cell)
            self._widen()
            columns = self.columns_of(cells)
        return columns

    def _add_column(self, cell: int) -> None:
        column = len(self._places)
        if column == len(self._cells):
            self._cells = np.concatenate([self._cells, np.zeros_like(self._cells)])
            self._last = np.concatenate([self._last, np.full_like(self._last, NEVER)])
            self._parent_of = np.concatenate([self._parent_of, np.zeros_like(self._parent_of)])
            self._around = np.concatenate([self._around, np.full_like(self._around, -1)])
        self._places[cell] = column
        self._cells[column] = cell
        code = np.array([cell], np.uint64)
        self._parent_of[column] = self._parent_places.setdefault(int(parents(code)[0]), len(self._parent_places))
        for other in sorted(set(neighbours(code, self.cell_bits)[0].tolist()) - {cell}):
            place = self._places.get(other)
            if place is not None:
                for one, two in ((column, place), (place, column)):
                    self._around[one, int(np.argmin(self._around[one]))] = two

    def _set_columns(self, cells: UInt64s, last: Int64s) -> None:
        capacity = 64
        self._cells = np.zeros(capacity, np.uint64)
        self._last = np.full(capacity, NEVER, np.int64)
        self._parent_of = np.zeros(capacity, np.int64)
        self._around = np.full((capacity, 8), -1, np.int64)
        self._places, self._parent_places = {}, {}
        self._counts = CumulativeRing(self.rows)
        self._parent_counts = CumulativeRing(self.rows)
        for cell in cells.tolist():
            self._add_column(cell)
        self._last[: len(last)] = last
        if self._levels is not None:
            self._levels.clear_moments()
        self._widen()

    def _widen(self) -> None:
        self._counts.widen(len(self._places))
        self._parent_counts.widen(len(self._parent_places))
        if self._levels is not None:
            self._levels.widen(len(self._places), len(self._parent_places))

    def _forget_dead_columns(self) -> None:
        """Once a day: drop cells without a ride in the kept slots, if there are many."""
        alive = self.last_ride_slot >= self.next_slot - self.ring_slots
        if 4 * int((~alive).sum()) > len(alive):
            if self._levels is not None:
                first = np.unique(self.parent_of[alive], return_index=True)[1]
                kept = self.parent_of[alive][np.sort(first)]  # the new indices are in order of first use
                self._levels.keep(alive, kept, self.cells[alive])
            self._restore(self.cells[alive], self.last_ride_slot[alive], *self._sparse(alive))
            self.generation += 1

    def _sparse(self, alive: Bools) -> tuple[Int64s, Int64s, Int64s]:
        slots, columns, counts = self._counts.sparse(self.oldest_slot, self.next_slot)
        return slots, (np.cumsum(alive) - 1)[columns], counts

    def _restore(self, cells: UInt64s, last: Int64s, slots: Int64s, columns: Int64s, counts: Int64s) -> None:
        self._set_columns(cells.copy(), last.copy())
        self._counts.fill(self.oldest_slot, self.next_slot, slots, columns, counts)
        parents = self._parent_of[columns]
        self._parent_counts.fill(self.oldest_slot, self.next_slot, slots, parents, counts)
        if self._levels is not None:
            self._levels.fill(self.oldest_slot, self.next_slot, slots, columns, parents, counts)

    # --- keeping -------------------------------------------------------------------------------

    def to_arrays(self) -> Arrays:
        """The whole state as arrays, with sparse counts; `from_arrays` restores it exactly."""
        arrays: Arrays = {}
        if self._levels is not None:
            arrays = {f"level_{name}": array for name, array in self._levels.to_arrays().items()}
        if self.next_slot < 0:
            return arrays | {"slots": np.array([-1, -1, 0], np.int64)}
        slots, columns, counts = self._sparse(np.ones(len(self._places), np.bool_))
        bounds = np.arange(self.oldest_slot, self.next_slot + 1) % self.rows
        return arrays | {
            "slots": np.array([self.first_slot, self.next_slot, self.generation], np.int64),
            "cells": self.cells.copy(),
            "last_ride_slot": self.last_ride_slot.copy(),
            "observed": np.diff(self._observed[bounds]).astype(np.uint8),
            "whole": np.diff(self._whole[bounds]).astype(np.uint8),
            "count_slot": (slots - self.oldest_slot).astype(np.int32),
            "count_column": columns.astype(np.int32),
            "count": counts.astype(np.int32),
            "mixed": self._mixed.copy(),
        }

    def from_arrays(self, arrays: Arrays) -> None:
        """Restore the state that `to_arrays` returned.

        Raises:
            DamagedError: the counts do not match their hash.
        """
        self.first_slot, self.next_slot, self.generation = (int(value) for value in arrays["slots"])
        levels = {name.removeprefix("level_"): array for name, array in arrays.items() if name.startswith("level_")}
        self._levels = Levels(self._region, self.rows, older="older_empty" in levels) if levels else None
        if self.next_slot < 0:
            return
        oldest = self.oldest_slot
        slots = arrays["count_slot"].astype(np.int64) + oldest
        columns, counts = arrays["count_column"].astype(np.int64), arrays["count"].astype(np.int64)
        cells = arrays["cells"].astype(np.uint64)
        self._restore(cells, arrays["last_ride_slot"].astype(np.int64), slots, columns, counts)
        bounds = np.arange(oldest, self.next_slot + 1) % self.rows
        by_slot = np.bincount(slots - oldest, counts, minlength=len(bounds) - 1).astype(np.int64)
        self._city[bounds] = np.concatenate([[0], np.cumsum(by_slot)])
        self._observed[bounds] = np.concatenate([[0], np.cumsum(arrays["observed"].astype(np.int64))])
        whole = arrays.get("whole", arrays["observed"])  # A snapshot of the first version of the fold has no such column.
        self._whole[bounds] = np.concatenate([[0], np.cumsum(whole.astype(np.int64))])
        self._mixed = count_hash(slots, cells[columns], counts)
        if not np.array_equal(self._mixed, arrays["mixed"]):
            raise DamagedError(f"history: expected counts with hash {arrays['mixed']}, got {self._mixed}")
        if self._levels is not None:
            self._levels.from_arrays(levels, cells)

    def digest(self) -> bytes:
        """SHA-256 over the integer state; the counts are included as a sum of hashes that is updated slot by slot."""
        bounds = np.arange(self.oldest_slot, self.next_slot + 1) % self.rows
        observed = np.diff(self._observed[bounds]).astype(np.uint8)
        whole = np.diff(self._whole[bounds]).astype(np.uint8)
        head = np.array([self.first_slot, self.next_slot, len(self._places)], np.int64)
        # Version 1 of the fold did not distinguish the two, and its digests must not change.
        undercounts = b"" if np.array_equal(whole, observed) else whole.tobytes()
        parts = (head, self.cells, self.last_ride_slot, observed, self._mixed)
        return hashlib.sha256(b"".join(part.tobytes() for part in parts) + undercounts).digest()

    def levels_digest(self) -> bytes:
        """SHA-256 over the levels, or nothing if they are not tracked."""
        return self._levels.digest() if self._levels is not None else b""
