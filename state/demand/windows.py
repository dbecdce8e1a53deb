"""The windows that features are computed from: counts before the end of one slot, read once and shared.

`state.demand.features` lists the features and how each uses the windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from schemas.events.rides import Float64s, Int64s
from state.demand.calendar import Calendar
from state.demand.covariates import NONE_KNOWN, Covariates
from state.demand.history import UNIVERSE_DAYS, CountHistory
from state.demand.other_measures import OtherMeasures
from state.demand.seasons import RECENCY
from state.demand.tracked import Tracked

LAGS_MIN = (5, 15, 30, 60, 120, 240, 1440)  # rides in this many minutes before the cut
DAYS = (1, 2, 3, 4, 5, 6, 7, 14, 21, 28)  # the same local time this many days before
SHORT_MIN = 15  # the short window of a level
PAD_MIN = 15  # a smooth profile extends its window by this much on both sides
PRIOR_RIDES = 2.0  # weight of the region's shape in a cell's smooth profile; New York, April 2014
OTHER_DAY = 0.25  # weight of another day of the same kind (working day or not), relative to RECENCY^week

Integers = npt.NDArray[np.int32] | npt.NDArray[np.int64]

# Bounds of an earlier day, in order, as passed to `Seasons`.
BACK, BACK_SHORT, PAD, START, FIRST, MIDDLE, LAST, FIRST_PAD, MIDDLE_PAD, LAST_PAD = range(10)


@dataclass(frozen=True, slots=True)
class Ahead:
    """One of the three horizons that features use.

    Attributes:
        place: Index in `SlotWindows.ahead`.
        end, padded: Bounds at which the horizon ends, and at which its smooth profile ends.
    """

    name: str
    place: int
    end: int
    padded: int


AHEAD = (Ahead("first", 0, FIRST, FIRST_PAD), Ahead("middle", 1, MIDDLE, MIDDLE_PAD), Ahead("last", 2, LAST, LAST_PAD))
_ENDS = tuple(ahead.end for ahead in AHEAD)


@dataclass(frozen=True, slots=True)
class Around:
    """Rides of the up to eight neighbouring cells of each cell: float64[n] each.

    Attributes:
        short, last: In the short window and in the last horizon.
        back, ahead: A week before, in the last horizon and in the next.
    """

    short: Float64s
    last: Float64s
    back: Float64s
    ahead: Float64s


@dataclass(frozen=True, slots=True)
class Parent:
    """Rides of the parent cell of each cell: float64[n] each.

    Attributes:
        last: In the last horizon.
        back, ahead: By its profile, in the last horizon and in the next.
    """

    last: Float64s
    back: Float64s
    ahead: Float64s


def ahead_slots(horizons: tuple[int, ...]) -> tuple[int, int, int]:
    """The first, the middle and the last horizon, slots.

    >>> ahead_slots((3, 6, 12))
    (3, 6, 12)
    """
    return horizons[0], horizons[len(horizons) // 2], horizons[-1]


class Seasons:
    """Rides of earlier days, of each cell or of the region.

    Args:
        rows: int[days, bounds, n], cumulative; of the observed days alone, in the order of DAYS.
        places: Which rows of the second axis the bounds are.
        valid: Which of DAYS were observed.
    """

    def __init__(self, rows: Integers, places: Sequence[int], valid: Sequence[bool]) -> None:
        self._rows, self._places = rows, places
        self._days = dict(zip((d for d, known in enumerate(valid) if known), range(len(rows)), strict=True))

    def day(self, days: int, low: int, high: int) -> Float64s:
        """Rides between two bounds this many days before; NaN if that day was not observed."""
        d = DAYS.index(days)
        return self._rides(d, low, [high])[0] if d in self._days else np.full(self._rows.shape[2], np.nan)

    def mean(self, weights: Sequence[float], low: int, high: int) -> Float64s:
        """Weighted mean of rides between two bounds; NaN if all weights are zero."""
        return np.asarray(self.means(weights, low, (high,))[0], np.float64)

    def means(self, weights: Sequence[float], low: int, highs: Sequence[int]) -> Float64s:
        """As `mean`, for several windows that begin together: float64[len(highs), n].

        Args:
            weights: Of each of DAYS; 0 where the day was not observed.
        """
        total = np.zeros((len(highs), self._rows.shape[2]))
        for d, weight in enumerate(weights):
            if weight:
                total += weight * self._rides(d, low, highs)
        weight = sum(weights)
        return total / weight if weight else np.full_like(total, np.nan)

    def _rides(self, d: int, low: int, highs: Sequence[int]) -> Float64s:
        rows = self._rows[self._days[d]]
        return np.asarray(rows[[self._places[high] for high in highs]] - rows[self._places[low]], np.float64)


class SlotWindows:
    """Windows before the end of a closed slot.

    Args:
        slot: The last closed slot.
        columns: int64[n], columns of the history.
        covariates: Of the region.
    Attributes:
        start, start_s: The slot after it: where forecasts start; and that in seconds since 1970.
        ahead: The first, the middle and the last horizon, slots.
        day, short, last: The length of a day, of the short window and of the last horizon, slots.
        weekly, daily, same_kind, mixed: Weight of each of DAYS in a profile; 0 where a day was not observed.
        past, city_past: Earlier days of each cell, and of the region (n = 1).
        own_last: Rides of each cell in the last horizon, NaN if that was not observed: float64[n].
        month_rate: Mean rides of each cell per slot over the last 28 days: float64[n].
        since_ride: Slots since the last ride of each cell: float64[n], >= 1.
        city_short, city_last: Rides of the region, NaN if not observed: float64[1].
        city_back: Rides of the region in the last horizon by its profile: float64[1].
    """

    def __init__(self, history: CountHistory, calendar: Calendar, slot: int, columns: Int64s, covariates: Covariates = NONE_KNOWN) -> None:
        self.history, self.calendar, self.columns, self.covariates = history, calendar, columns, covariates
        self.start = start = slot + 1
        self.start_s = start * calendar.slot_min * 60
        self.day, month = calendar.day_slots, UNIVERSE_DAYS * calendar.day_slots
        self.ahead = first, middle, last = ahead_slots(calendar.horizons)
        self.last = last
        self.short, self.pad = short, pad = self.slots(SHORT_MIN), self.slots(PAD_MIN)
        self.local = calendar.local(start)

        self._earlier = [calendar.seasonal(start, days) for days in DAYS]
        self._valid = valid = [history.complete(day - last - pad, day + last + pad) for day in self._earlier]
        kinds = [calendar.local(day).weekend == self.local.weekend for day in self._earlier]
        self.weekly = [RECENCY ** (days // 7) * (days % 7 == 0) * ok for days, ok in zip(DAYS, valid, strict=True)]
        self.daily = [float(days <= 7 and ok) for days, ok in zip(DAYS, valid, strict=True)]
        self.same_kind = [float(kind and days <= 7 and ok) for days, kind, ok in zip(DAYS, kinds, valid, strict=True)]
        self.mixed = [max(w, OTHER_DAY * k) for w, k in zip(self.weekly, self.same_kind, strict=True)]
        offsets = (-last, -short, -pad, 0, first, middle, last, first + pad, middle + pad, last + pad)
        known, places = sorted(set(offsets)), [sorted(set(offsets)).index(offset) for offset in offsets]
        bounds = [day + offset for day, ok in zip(self._earlier, valid, strict=True) if ok for offset in known]

        self._own = self._rides_of_cells(month)
        self.month_rate = self._own[month] / self.seen(month)
        self.own_last = self.observed(last, self._own[last])
        self.since_ride = (start - history.last_ride_slot[columns]).astype(np.float64)
        shape = sum(valid), len(known)
        self.past = Seasons(history.cumulative(bounds, columns).reshape(*shape, len(columns)), places, valid)
        self.around, self.parent = self._around(), self._parent()

        self._city = self._rides_of_region(month)
        self._city_rate = max(float(self._city[month, 0][0]) / self.seen(month), 1e-9)
        self.city_short, self.city_last = (self.observed(slots, self._city[slots, 0]) for slots in (short, last))
        self.city_past = Seasons(history.city_cumulative(bounds).reshape(*shape, 1), places, valid)
        self.city_back = self.city_past.mean(self.mixed, BACK, START)

    # --- windows for features ------------------------------------------------------------------

    def slots(self, minutes: int) -> int:
        """Minutes as slots, at least one."""
        return max(minutes // self.calendar.slot_min, 1)

    def seen(self, slots: int) -> int:
        """How many of the last slots were observed, at least one."""
        return max(self.history.observed_slots(self.start - slots, self.start), 1)

    def observed(self, slots: int, values: Float64s) -> Float64s:
        """The values, computed from the last slots; NaN if one of these was not observed."""
        complete = self.history.complete(self.start - slots, self.start)
        return values if complete else np.full_like(values, np.nan)

    def observed_at(self, back: int, values: Float64s) -> Float64s:
        """The values, computed from the slot so many before the start; NaN if it was not observed."""
        slot = self.start - back
        return values if self.history.complete(slot, slot + 1) else np.full_like(values, np.nan)

    @cached_property
    def tracked(self) -> Tracked:
        """Levels and profiles.

        Raises:
            ContractError: the history does not track levels.
        """
        return Tracked(self)

    @cached_property
    def other_measures(self) -> OtherMeasures:
        """Levels of the region's other measures."""
        return OtherMeasures(self)

    def own(self, slots: int) -> Float64s:
        """Rides of each cell in the last slots, for the spans that features use: float64[n]."""
        return self._own[slots]

    def city(self, from_slots: int, until_slots: int = 0) -> Float64s:
        """Rides of the region from `from_slots` until `until_slots` slots before the start: float64[1]."""
        return self._city[from_slots, until_slots]

    def smooth(self, low: int, high: int, slots: int) -> Float64s:
        """Profile of each cell between two bounds that are `slots` slots apart: float64[n], rides > 0.

        It is the posterior mean of a gamma prior with PRIOR_RIDES rides at the cell's rate and the region's shape.
        """
        return np.asarray(self._smooth(low, [high], [slots], [1.0])[0], np.float64)

    def _smooth(self, low: int, highs: Sequence[int], slots: Sequence[int], scales: Sequence[float]) -> Float64s:
        """As `smooth`, for several windows that begin together, each times a scale: float64[len(highs), n]."""
        weight, lengths = sum(self.mixed), np.array(slots, np.float64)
        shapes = self.city_past.means(self.mixed, low, highs)[:, 0] / (lengths * self._city_rate) if weight else np.ones(len(highs))
        prior = np.maximum(self.month_rate * (lengths * shapes)[:, None], 1e-9)
        rides = self.past.means(self.mixed, low, highs) * weight if weight else 0.0
        return np.asarray((rides + PRIOR_RIDES) / (weight + PRIOR_RIDES / prior) * np.array(scales)[:, None], np.float64)

    @cached_property
    def log_smooth(self) -> Float64s:
        """Log of the smooth profile of each of the AHEAD horizons: float64[3, n]."""
        wide = [slots + 2 * self.pad for slots in self.ahead]
        scales = [slots / length for slots, length in zip(self.ahead, wide, strict=True)]
        return np.asarray(np.log(self._smooth(PAD, [ahead.padded for ahead in AHEAD], wide, scales)), np.float64)

    @cached_property
    def daily_ahead(self) -> Float64s:
        """Mean rides in each of the AHEAD horizons over the last 7 days: float64[3, n]."""
        return self.past.means(self.daily, START, _ENDS)

    @cached_property
    def weekly_ahead(self) -> Float64s:
        """Mean rides in each of the AHEAD horizons over the last 4 weeks: float64[3, n]."""
        return self.past.means(self.weekly, START, _ENDS)

    @cached_property
    def same_kind_ahead(self) -> Float64s:
        """Mean rides in each of the AHEAD horizons over days of the same kind: float64[3, n]."""
        return self.past.means(self.same_kind, START, _ENDS)

    # --- reading the history -------------------------------------------------------------------

    def _rides_of_cells(self, month: int) -> dict[int, Float64s]:
        lags = (self.slots(minutes) for minutes in LAGS_MIN)
        spans = sorted({*lags, self.short, self.last, self.day, 7 * self.day, month})
        rows = self.history.cumulative([self.start, *(self.start - span for span in spans)], self.columns).astype(np.float64)
        return dict(zip(spans, rows[0] - rows[1:], strict=True))

    def _rides_of_region(self, month: int) -> dict[tuple[int, int], Float64s]:
        spans = ((self.short, 0), (self.last, 0), (self.day, 0), (8 * self.day, 7 * self.day), (month, 0))
        rows = self.history.city_cumulative([self.start - slots for span in spans for slots in span]).astype(np.float64)[:, None]
        return {span: rows[2 * i + 1] - rows[2 * i] for i, span in enumerate(spans)}

    def _around(self) -> Around:
        start, week = self.start, self._earlier[DAYS.index(7)]
        bounds = (start, start - self.short, start - self.last, week - self.last, week, week + self.last)
        rows = self.history.neighbour_cumulative(bounds, self.columns).astype(np.float64)
        short, last = self.observed(self.short, rows[0] - rows[1]), self.observed(self.last, rows[0] - rows[2])
        back, ahead = rows[4] - rows[3], rows[5] - rows[4]
        if not self._valid[DAYS.index(7)]:
            back, ahead = np.full_like(back, np.nan), np.full_like(ahead, np.nan)
        return Around(short, last, back, ahead)

    def _parent(self) -> Parent:
        used = [d for d, weight in enumerate(self.mixed) if weight]
        days = (self._earlier[d] + offset for d in used for offset in (-self.last, 0, self.last))
        rows = self.history.parent_cumulative([self.start, self.start - self.last, *days], self.columns).astype(np.float64)
        last = self.observed(self.last, rows[0] - rows[1])
        back, ahead = np.zeros(len(self.columns)), np.zeros(len(self.columns))
        for i, d in enumerate(used):
            low, middle, high = rows[2 + 3 * i : 5 + 3 * i]
            back += self.mixed[d] * (middle - low)
            ahead += self.mixed[d] * (high - middle)
        weight = sum(self.mixed) or np.nan
        return Parent(last, back / weight, ahead / weight)
