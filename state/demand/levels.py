"""Levels of demand: decayed counts and decayed profiles of each cell, parent cell and the region, by half-life.

One multiply-add per half-life and close. The ratio of the two says how much busier a place is than its profile, over the
last minutes up to the last weeks. Also kept: the same by the time of day, decayed from day to day.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from schemas.events.rides import Bools, Float64s, Int64s, UInt64s
from schemas.regions import Region
from state.demand.calendar import Calendar
from state.demand.moments import MomentRing
from state.demand.older_weeks import OlderWeeks
from state.demand.profiles import OWN, Profiles

if TYPE_CHECKING:
    from state.demand.history import CountHistory

HALF_LIVES_MIN = (7.5, 20.0, 60.0, 180.0, 720.0, 2880.0, 10080.0)
LEAST_HALF_LIFE = 0.5  # slots
TIME_MIN = 30  # length of a part of the day
DAY_WEIGHT = 0.85  # of a day relative to the next, by time of day

Arrays = dict[str, npt.NDArray[np.generic]]

COUNTS, PROFILE = 0, 1  # first index of the arrays


class Levels:
    """Levels of one history, which calls it for each slot and correction.

    Attributes:
        moments, parent_moments: For profiles.
        own: float64[2, half-lives, columns]: counts, then profile.
        parent: float64[2, half-lives, parents].
        city: float64[2, half-lives].
        times: By the part of the day: float64[2, parts, columns].
        older: For profiles over all weeks; None where they use those of the counts only.
    """

    def __init__(self, region: Region, rows: int, *, older: bool) -> None:
        self.calendar = Calendar(region)
        slots = np.maximum(np.array(HALF_LIVES_MIN) / region.slot_min, LEAST_HALF_LIFE)
        self._factors = 0.5 ** (1.0 / slots)
        self.part_slots = max(TIME_MIN // region.slot_min, 1)
        self._parts = -(-self.calendar.day_slots // self.part_slots)
        self._rows = rows
        n = len(HALF_LIVES_MIN)
        self._own, self._parent = np.zeros((2, n, 0)), np.zeros((2, n, 0))
        self._times = np.zeros((2, self._parts, 0))
        self.city = np.zeros((2, n))
        self.columns = self.parents = 0
        self.older = OlderWeeks(self.calendar) if older else None
        self.clear_moments()

    @property
    def own(self) -> Float64s:
        """Of each column."""
        return self._own[:, :, : self.columns]

    @property
    def parent(self) -> Float64s:
        """Of each parent cell."""
        return self._parent[:, :, : self.parents]

    def times(self, slot: int) -> Float64s:
        """Of each column, at the part of the day of a slot, the one before and the one after: float64[2, columns]."""
        part = self._part(slot)
        near = [(part + step) % self._parts for step in (-1, 0, 1)]
        return np.asarray(self._times[:, near, : self.columns].sum(axis=1), np.float64)

    def _part(self, slot: int) -> int:
        return self.calendar.local(slot).slot_of_day // self.part_slots

    # --- columns -------------------------------------------------------------------------------

    def widen(self, columns: int, parents: int) -> None:
        """Grow to so many columns and parents; new ones are zero."""
        self.moments.widen(columns)
        self.parent_moments.widen(parents)
        self._own, self._times = (_wider(array, columns) for array in (self._own, self._times))
        self._parent = _wider(self._parent, parents)
        self.columns, self.parents = max(columns, self.columns), max(parents, self.parents)
        if self.older is not None:
            self.older.widen(columns)

    def remember(self, *, older: bool) -> None:
        """Remember older weeks than those of the counts from now on, or forget them."""
        if not older:
            self.older = None
        elif self.older is None:
            self.older = OlderWeeks(self.calendar)
            self.older.widen(self.columns)

    def clear_moments(self) -> None:
        """Start the moments from nothing; `fill` follows."""
        self.moments, self.parent_moments = MomentRing(self._rows), MomentRing(self._rows)

    def keep(self, columns: Bools, parents: Int64s, cells: UInt64s) -> None:
        """Drop columns.

        Args:
            columns: Which to keep, in their order.
            parents: Index of the kept parents, in their new order.
            cells: Those that are left.
        """
        if self.older is not None:
            self.older.keep(columns, cells)
        self._own, self._times = self.own[:, :, columns], self._times[:, :, : self.columns][:, :, columns]
        self._parent = self.parent[:, :, parents]
        self.columns, self.parents = self._own.shape[2], self._parent.shape[2]

    def fill(self, from_slot: int, until_slot: int, slots: Int64s, columns: Int64s, parents: Int64s, counts: Int64s) -> None:
        """Fill the moments with the sparse counts of a history."""
        self.moments.fill(from_slot, until_slot, slots, columns, counts)
        self.parent_moments.fill(from_slot, until_slot, slots, parents, counts)

    # --- taking in -----------------------------------------------------------------------------

    def push(self, slot: int, columns: Int64s, parents: Int64s, counts: Int64s) -> None:
        """Add the counts of the next slot to the moments."""
        self.moments.push(slot, columns, counts)
        self.parent_moments.push(slot, parents, counts)

    def close(self, history: "CountHistory", slot: int, columns: Int64s, parents: Int64s, counts: Int64s, *, observed: bool) -> None:
        """Add a slot of the history to the levels; one that was not observed only decays them."""
        for array in (self.own, self.parent, self.city[:, :, None]):
            array *= self._factors[:, None]
        local = self.calendar.local(slot).slot_of_day
        part = local // self.part_slots
        if local % self.part_slots == 0:
            self._times[:, part] *= DAY_WEIGHT
        if not observed:
            return
        profiles = Profiles(history, self.calendar, slot, ((0, 1),))
        profile = profiles.own(OWN)[0][0]
        self.own[COUNTS][:, columns] += counts
        self.own[PROFILE] += profile
        self.parent[COUNTS] += np.bincount(parents, counts, minlength=self.parents)
        self.parent[PROFILE] += profiles.parent()[0]
        self.city[COUNTS] += int(counts.sum())
        self.city[PROFILE] += profiles.city[0]
        self._times[COUNTS, part, columns] += counts
        self._times[PROFILE, part, : self.columns] += profile

    def correct(
        self, slot: int, next_slot: int, columns: Int64s, counts: Int64s, parents: Int64s, parent_counts: Int64s, *, observed: bool
    ) -> None:
        """Add late rides of a closed slot, decayed to the levels if it was observed; each column and parent once."""
        self.moments.add(slot, next_slot, columns, counts)
        self.parent_moments.add(slot, next_slot, parents, parent_counts)
        if not observed:
            return
        back = next_slot - 1 - slot
        decayed = self._factors**back
        self.own[COUNTS][:, columns] += decayed[:, None] * counts
        self.parent[COUNTS][:, parents] += decayed[:, None] * parent_counts
        self.city[COUNTS] += decayed * int(counts.sum())
        self._times[COUNTS, self._part(slot), columns] += DAY_WEIGHT ** (back // self.calendar.day_slots) * counts

    # --- keeping -------------------------------------------------------------------------------

    def to_arrays(self) -> Arrays:
        """The levels; moments follow from the counts."""
        older = self.older.to_arrays() if self.older is not None else {}
        return {
            "own": self.own.copy(),
            "parent": self.parent.copy(),
            "city": self.city.copy(),
            "times": self._times[:, :, : self.columns].copy(),
        } | {f"older_{name}": array for name, array in older.items()}

    def from_arrays(self, arrays: Arrays, cells: UInt64s) -> None:
        """Restore what `to_arrays` returned, after the columns and moments; uint64[columns], the history's cells."""
        if self.older is not None:
            older = {name.removeprefix("older_"): array for name, array in arrays.items() if name.startswith("older_")}
            self.older.from_arrays(older, cells)
        self._own, self._parent, self._times = (arrays[name].astype(np.float64) for name in ("own", "parent", "times"))
        self.city = arrays["city"].astype(np.float64)
        self.columns, self.parents = self._own.shape[2], self._parent.shape[2]

    def digest(self) -> bytes:
        """SHA-256 over the levels."""
        parts = (self.own, self.parent, self.city, self._times[:, :, : self.columns])
        older = self.older.digest() if self.older is not None else b""
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts) + older).digest()


def _wider(array: Float64s, columns: int) -> Float64s:
    have = array.shape[2]
    return array if columns <= have else np.pad(array, ((0, 0), (0, 0), (0, max(columns - have, min(have, 1024)))))
