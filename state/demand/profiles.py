"""Smooth profiles: the rides that earlier days at the same local time let expect, of cells, parent cells and the region.

A profile is the posterior mean of a gamma prior (the cell's rate over 28 days in the shape of the region's day), given
the counts of earlier weeks and days, smoothed over time by a parabola. A day counts only if all slots under its
parabola were observed. Where a history remembers older weeks than its counts, these count too, slot by slot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from schemas.events.rides import Float64s, Int64s
from state.demand.calendar import Calendar
from state.demand.moments import MOST_WIDTH, MomentRing, parabola
from state.demand.older_weeks import NEWEST, OTHER_KIND, WEEK

if TYPE_CHECKING:
    from state.demand.history import CountHistory

UNIVERSE_DAYS = 28
WEEKS = (1, 2, 3, 4)
DAYS = (1, 2, 3, 4, 5, 6)
# Weights relative to the last week; New York, April 2014. OTHER_KIND is that of a week whose day is of another kind: a
# working day against a weekend or holiday.
OTHER_DAY = 0.004  # of one of the last days, if it is of another kind
DAY_DECAY = 0.9
PRIOR_SLOTS = 0.2  # weight of the prior in observed slots
LEAST_RATE = 1e-9  # rides per slot of a region; keeps ratios finite
FEW_SHARE = 0.25  # of the columns: picking so many costs less than taking whole rows

Windows = tuple[tuple[int, int], ...]  # [low, high) each, slots relative to a start


@dataclass(frozen=True, slots=True)
class Smoothing:
    """How a profile weighs earlier counts.

    Attributes:
        reach_min: How far the parabola reaches before and after a slot.
        week: Weight of a week relative to the one after it.
        day: Weight of yesterday, if of the same kind, relative to the last week.
    """

    reach_min: int
    week: float = 0.9
    day: float = 0.25

    @property
    def older(self) -> float:
        """Weight of the weeks before those of the counts, relative to the last week; 0.0 if weeks decay faster than they do."""
        return float(self.week ** (NEWEST - 1)) if self.week >= WEEK else 0.0

    def width(self, slot_min: int) -> int:
        """Argument of `parabola`.

        >>> Smoothing(40).width(5), Smoothing(40).width(60)
        (9, 1)
        """
        return min(self.reach_min // slot_min + 1, MOST_WIDTH)


OWN, PARENT, CITY = Smoothing(40), Smoothing(20), Smoothing(10, day=0.15)


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier day: the slot at the same local time, and whether the day is of the same kind."""

    days: int
    slot: int
    same_kind: bool

    def weight(self, smoothing: Smoothing) -> float:
        """Its weight in a profile."""
        if self.days % 7 == 0:
            return float(smoothing.week ** (self.days // 7 - 1)) * (1.0 if self.same_kind else OTHER_KIND)
        return smoothing.day * DAY_DECAY ** (self.days - 1) if self.same_kind else OTHER_DAY


def earlier_days(calendar: Calendar, start: int) -> tuple[Earlier, ...]:
    """The days that profiles use, most recent first among weeks and among days."""
    weekend = calendar.local(start).weekend
    days = (*(7 * week for week in WEEKS), *DAYS)
    slots = [calendar.seasonal(start, day) for day in days]
    return tuple(Earlier(day, slot, calendar.local(slot).weekend == weekend) for day, slot in zip(days, slots, strict=True))


def usable(earlier: Sequence[Earlier], start: int, windows: Windows, width: int, history: "CountHistory") -> list[Earlier]:
    """The days whose slots under the parabola were all observed, and ended before the start."""
    low, high = min(window[0] for window in windows) - width - 2, max(window[1] for window in windows) + width - 1
    return [day for day in earlier if day.slot + high <= start and history.complete(day.slot + low, day.slot + high)]


def day_sums(ring: MomentRing, days: Sequence[Earlier], windows: Windows, width: int, columns: Int64s | None = None) -> Float64s:
    """Smoothed rides per slot of each day and window, times the peak of the parabola: float64[days, windows, n].

    Args:
        columns: int64[n]; all of the ring if not given.
    """
    n = ring.columns if columns is None else len(columns)
    out = np.empty((len(days), len(windows), n))
    if days:
        bounds = sorted({bound for window in windows for bound in window})
        slots = np.array([day.slot for day in days], np.int64)
        totals = ring.smoothed(slots[:, None] + np.array(bounds, np.int64), width, columns)
        for i, (low, high) in enumerate(windows):
            rides = totals[:, bounds.index(high)] - totals[:, bounds.index(low)]  # exact modulo 2^32, and small
            out[:, i] = rides
            if high - low > 1:
                out[:, i] /= high - low
    return out


def posterior(
    sums: Float64s,
    days: Sequence[Earlier],
    smoothing: Smoothing,
    width: int,
    prior: Float64s,
    older: tuple[Float64s, Float64s] | None = None,
) -> Float64s:
    """Rides per slot of each window: float64[windows, columns].

    Args:
        sums: From `day_sums`.
        prior: Expected without any earlier day, rides per slot: float64[windows, columns].
        older: Rides and weight of older weeks: float64[windows, columns] and float64[windows], times the parabola.
    """
    peak = float(width * width)
    known = float(parabola(width).sum()) / peak
    total = PRIOR_SLOTS * prior
    weight = PRIOR_SLOTS
    weighed = np.empty_like(total)  # one for all days: large temporaries cost more than the arithmetic
    for day, rides in zip(days, sums, strict=True):
        share = day.weight(smoothing)
        np.multiply(rides, share / peak, out=weighed)
        total += weighed
        weight += share * known
    if older is None:
        total /= weight
        return total
    rides, seen = older
    share = smoothing.older / peak
    np.multiply(rides, share, out=weighed)
    total += weighed
    total /= (weight + share * seen)[:, None]
    return total


class Profiles:
    """Profiles of some windows after a start, of all columns of a history that tracks levels.

    Args:
        start: Windows are relative to it; no slot from it on is used.
        windows: [low, high) each, slots.
    Attributes:
        city: Rides of the region per slot in each window: float64[windows].
        shape: The same, relative to the region's rate over 28 days.
    """

    def __init__(self, history: "CountHistory", calendar: Calendar, start: int, windows: Windows) -> None:
        self._history, self._start, self._windows = history, start, windows
        self._slot_min = calendar.slot_min
        self._earlier = earlier_days(calendar, start)
        older = history.levels.older
        self._older = older if older is not None and not older.empty else None
        self._month = start - UNIVERSE_DAYS * calendar.day_slots
        self._seen = max(history.observed_slots(self._month, start), 1)
        before, after = history.city_cumulative((self._month, start)).tolist()
        rate = max((after - before) / self._seen, LEAST_RATE)
        self.city = self._of_city(rate)
        self.shape = np.maximum(self.city, LEAST_RATE) / rate
        self._rate = history.window(self._month, start) / self._seen

    def own(self, *smoothings: Smoothing, windows: int | None = None, columns: Int64s | None = None) -> list[Float64s]:
        """Rides per slot by smoothings that reach equally far: float64[windows, n] each.

        Args:
            windows: How many, from the first; all if not given.
            columns: int64[n] of the history; all if not given.
        """
        n = len(self._rate)
        few = columns if columns is not None and len(columns) < FEW_SHARE * n else None
        rate = self._rate if few is None else self._rate[few]
        older = self._older_sums(smoothings[0], windows)
        if older is not None and few is not None:
            older = older[0][:, few], older[1]
        found = self._posteriors(self._history.levels.moments, smoothings, rate, windows, few, older)
        return found if columns is None or few is not None else [profile[:, columns] for profile in found]

    def parent(self, smoothing: Smoothing = PARENT) -> Float64s:
        """Rides per slot of each parent cell: float64[windows, parents]."""
        rate = self._history.parent_window(self._month, self._start) / self._seen
        older = self._older_sums(smoothing, None)
        if older is not None:
            rows = [np.bincount(self._history.parent_of, row, minlength=len(rate)) for row in older[0]]
            older = np.stack(rows), older[1]
        return self._posteriors(self._history.levels.parent_moments, (smoothing,), rate, None, None, older)[0]

    def _older_sums(self, smoothing: Smoothing, windows: int | None) -> tuple[Float64s, Float64s] | None:
        """Rides and weight of older weeks by the reach of a smoothing: float64[windows, columns] and float64[windows]."""
        if self._older is None:
            return None
        return self._older.sums(self._start, self._windows[:windows], smoothing.width(self._slot_min))

    def _posteriors(
        self,
        ring: MomentRing,
        smoothings: Sequence[Smoothing],
        rate: Float64s,
        windows: int | None,
        columns: Int64s | None,
        older: tuple[Float64s, Float64s] | None,
    ) -> list[Float64s]:
        width = smoothings[0].width(self._slot_min)
        days = usable(self._earlier, self._start, self._windows, width, self._history)
        sums = day_sums(ring, days, self._windows[:windows], width, columns)
        prior = self.shape[:windows, None] * rate
        return [posterior(sums, days, smoothing, width, prior, older if smoothing.older else None) for smoothing in smoothings]

    def _of_city(self, rate: float) -> Float64s:
        width = CITY.width(self._slot_min)
        days = usable(self._earlier, self._start, self._windows, width, self._history)
        bounds = sorted({bound for window in self._windows for bound in window})
        around = [day.slot + bound + k for day in days for bound in bounds for k in range(1 - width, width)]
        totals = self._history.city_cumulative(around).reshape(len(days), len(bounds), 2 * width - 1) @ parabola(width)
        sums = np.empty((len(days), len(self._windows), 1))
        for i, (low, high) in enumerate(self._windows):
            sums[:, i, 0] = (totals[:, bounds.index(high)] - totals[:, bounds.index(low)]) / (high - low)
        older = None
        if self._older is not None:
            rides, known = self._older.city(self._start, self._windows, width)
            older = rides[:, None], known
        return posterior(sums, days, CITY, width, np.full((len(self._windows), 1), rate), older)[:, 0]
