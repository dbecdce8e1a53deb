"""What the model sees: the declared features, one vectorised build for stream, backfill and training.

Every feature is made of windows of counts that were known when a slot closed, and of the calendar. Each
value is computed for its own cell alone, element by element, so that it does not depend on which other
cells are built with it: the stream and a training replay give the same bits.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.events.rides import Float32s, Float64s, Int64s
from state.demand.calendar import Calendar
from state.demand.history import UNIVERSE_DAYS, CountHistory
from state.demand.seasons import RECENCY


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the matrix: its name and what it means. NaN stands for a window that was not observed."""

    name: str
    meaning: str


LAGS_MIN = (5, 15, 30, 60, 120, 240, 1440)  # rides in so many minutes before the cut
DAYS = (1, 2, 3, 4, 5, 6, 7, 14, 21, 28)  # the same local time so many days before
AHEAD = ("first", "middle", "last")  # the first, the middle and the last horizon of the region
PAD_MIN = 15  # a smooth profile looks this much further on both sides
PRIOR_RIDES = 2.0  # weight of the region's shape in a cell's smooth profile; New York, April 2014
OTHER_DAY = 0.25  # weight of another day of the same kind (working day or not) against RECENCY^week
SMALL = 0.5  # rides added to both sides of a ratio, so that silence is not infinitely far from little

FEATURES: tuple[Feature, ...] = (
    *(Feature(f"lag_{m}", f"rides of the cell in the last {m} min") for m in LAGS_MIN),
    Feature("rate_week", "mean rides per hour over the last 7 days"),
    Feature("rate_month", "mean rides per hour over the last 28 days"),
    Feature("log_since_ride", "log of slots since the cell's last ride"),
    *(Feature(f"day_{a}", f"rides of the {a} horizon one day before") for a in AHEAD),
    *(Feature(f"week_{a}", f"rides of the {a} horizon one week before") for a in AHEAD),
    *(Feature(f"days_{a}", f"mean rides of the {a} horizon over the last 7 days") for a in AHEAD),
    *(Feature(f"weeks_{a}", f"mean rides of the {a} horizon over the last 4 weeks, recency weighted") for a in AHEAD),
    *(Feature(f"kind_{a}", f"mean rides of the {a} horizon over days of the same kind") for a in AHEAD),
    *(Feature(f"log_smooth_{a}", f"log of the smooth profile of the {a} horizon") for a in AHEAD),
    Feature("level_short", "log ratio of the cell's last 15 min to its smooth profile"),
    Feature("level_long", "log ratio of the cell's last horizon to its smooth profile"),
    Feature("level_day", "log ratio of the cell's last day to its last week"),
    Feature("around_short", "rides of the neighbouring cells in the last 15 min"),
    Feature("around_long", "rides of the neighbouring cells in the last horizon"),
    Feature("around_level", "log ratio of the neighbours' last horizon to a week before"),
    Feature("around_trend", "log ratio, a week before, of the neighbours' next horizon to their last"),
    Feature("parent_long", "rides of the parent cell in the last horizon"),
    Feature("parent_level", "log ratio of the parent's last horizon to its profile"),
    Feature("parent_trend", "log ratio of the parent's profile of the next horizon to the last"),
    Feature("city_short", "rides of the region in the last 15 min"),
    Feature("city_long", "rides of the region in the last horizon"),
    Feature("city_level_short", "log ratio of the region's last 15 min to its profile"),
    Feature("city_level_long", "log ratio of the region's last horizon to its profile"),
    Feature("city_level_day", "log ratio of the region's last day to the same day a week before"),
    Feature("city_trend_first", "log ratio of the region's profile of the first horizon to the last hour's, per slot"),
    Feature("city_trend_last", "log ratio of the region's profile of the last horizon to the last hour's, per slot"),
    Feature("share_hour", "share of the cell in the region's rides of the last horizon"),
    Feature("slot_of_day", "slots since local midnight"),
    Feature("weekday", "0 = Monday"),
    Feature("weekend", "Saturday, Sunday or holiday"),
    Feature("holiday", "the local date is a holiday"),
    Feature("holiday_eve", "the next local date is a holiday"),
    Feature("weeks_known", "weeks in the weekly profile"),
)
NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
_PLACE = {name: i for i, name in enumerate(NAMES)}


def build(history: CountHistory, calendar: Calendar, slot: int, columns: Int64s) -> Float32s:
    """The feature matrix of some cells after a closed slot.

    Args:
        slot: The last closed slot.
        columns: int64[n], columns of the history.
    Returns:
        float32[n, len(FEATURES)], columns in FEATURES order.
    """
    return _Builder(history, calendar, slot, columns).matrix()


def smooth_profile(features: Float32s, ahead: int) -> Float64s:
    """The smooth profile of one of the AHEAD horizons, from a built matrix: float64[n], rides."""
    return np.exp(features[:, _PLACE[f"log_smooth_{AHEAD[ahead]}"]].astype(np.float64))


def ahead_slots(horizons: tuple[int, ...]) -> tuple[int, int, int]:
    """The first, the middle and the last horizon, slots.

    >>> ahead_slots((3, 6, 12))
    (3, 6, 12)
    """
    return horizons[0], horizons[len(horizons) // 2], horizons[-1]


def matrix_digest(features: Float32s) -> bytes:
    """SHA-256 of a matrix: its shape, then its values, little-endian."""
    head = np.array(features.shape, "<i8").tobytes()
    return hashlib.sha256(head + np.ascontiguousarray(features, "<f4").tobytes()).digest()


class _Seasons:
    """Sums over earlier days of one kind of count: the cell's, its parent's, or the region's."""

    def __init__(self, builder: "_Builder", rows: Float64s) -> None:
        self.rows = rows  # float64[len(DAYS), bounds, n], cumulative
        self._builder = builder

    def day(self, days: int, low: int, high: int) -> Float64s:
        """Rides between two bounds that many days before; NaN if that day was not observed."""
        d = DAYS.index(days)
        rides = self.rows[d, high] - self.rows[d, low]
        return rides if self._builder.valid[d] else np.full_like(rides, np.nan)

    def mean(self, weights: Sequence[float], low: int, high: int) -> Float64s:
        """Weighted mean of rides between two bounds; NaN without any day."""
        total = np.zeros(self.rows.shape[2:])
        for d, weight in enumerate(weights):
            if weight:
                total += weight * (self.rows[d, high] - self.rows[d, low])
        weight = sum(weights)
        return total / weight if weight else np.full_like(total, np.nan)


class _Builder:
    """One build: the rows that features need are read once, then each feature is a few additions."""

    # Bounds of an earlier day, in order: what `_Seasons` is asked for.
    BACK, BACK_SHORT, PAD, START, FIRST, MIDDLE, LAST, FIRST_PAD, MIDDLE_PAD, LAST_PAD = range(10)

    def __init__(self, history: CountHistory, calendar: Calendar, slot: int, columns: Int64s) -> None:
        self.history, self.calendar, self.slot, self.columns = history, calendar, slot, columns
        self.start = start = slot + 1
        self.day = calendar.day_slots
        self.first, self.middle, self.last = ahead_slots(calendar.horizons)
        self.short = self._slots(15)
        pad = self._slots(PAD_MIN)
        self.earlier = [calendar.seasonal(start, days) for days in DAYS]
        self.valid = [history.complete(day - self.last - pad, day + self.last + pad) for day in self.earlier]
        self.local = calendar.local(start)
        offsets = (-self.last, -self.short, -pad, 0, self.first, self.middle, self.last)
        self.offsets = (*offsets, self.first + pad, self.middle + pad, self.last + pad)
        self.pad = pad
        kinds = [calendar.local(day).weekend == self.local.weekend for day in self.earlier]
        week = [RECENCY ** (days // 7) * (days % 7 == 0) * ok for days, ok in zip(DAYS, self.valid, strict=True)]
        self.weekly = week
        self.daily = [float(days <= 7 and ok) for days, ok in zip(DAYS, self.valid, strict=True)]
        self.same_kind = [float(kind and days <= 7 and ok) for days, kind, ok in zip(DAYS, kinds, self.valid, strict=True)]
        self.mixed = [max(w, OTHER_DAY * k) for w, k in zip(week, self.same_kind, strict=True)]
        self.out = np.empty((len(columns), len(FEATURES)), np.float32)

    def _slots(self, minutes: int) -> int:
        return max(minutes // self.calendar.slot_min, 1)

    def matrix(self) -> Float32s:
        """Fill every column, and check that each was filled once."""
        self._own()
        self._around()
        self._parent_and_city()
        self._time()
        return self.out

    def _put(self, name: str, values: Float64s | float) -> None:
        self.out[:, _PLACE[name]] = values

    def _observed(self, slots: int, values: Float64s) -> Float64s:
        complete = self.history.complete(self.start - slots, self.start)
        return values if complete else np.full_like(values, np.nan)

    def _own(self) -> None:
        history, start, day = self.history, self.start, self.day
        lags = [self._slots(m) for m in LAGS_MIN]
        spans = (0, *lags, self.short, self.last, 7 * day, UNIVERSE_DAYS * day)
        rows = history.cumulative([start - span for span in spans], self.columns).astype(np.float64)
        since = rows[0] - rows[1:]
        for i, (minutes, lag) in enumerate(zip(LAGS_MIN, lags, strict=True)):
            self._put(f"lag_{minutes}", self._observed(lag, since[i]))
        short, last, week, month = since[-4:]
        hour = self._slots(60)
        week_seen, month_seen = (max(history.observed_slots(start - span, start), 1) for span in spans[-2:])
        self._put("rate_week", week * (hour / week_seen))
        month_rate = month / month_seen
        self._put("rate_month", month_rate * hour)
        self._put("log_since_ride", np.log((start - history.last_ride_slot[self.columns]).astype(np.float64)))
        day_seen = max(history.observed_slots(start - day, start), 1)
        self._put("level_day", _log_ratio(since[len(lags) - 1], week * (day_seen / week_seen)))

        bounds = [earlier + offset for earlier in self.earlier for offset in self.offsets]
        own = history.cumulative(bounds, self.columns).reshape(len(DAYS), len(self.offsets), -1).astype(np.float64)
        city = history.city_cumulative(bounds).reshape(len(DAYS), len(self.offsets), 1).astype(np.float64)
        self.own_past, self.city_past = _Seasons(self, own), _Seasons(self, city)
        month_city = history.city_cumulative((start, start - UNIVERSE_DAYS * day)).tolist()
        city_rate = max((month_city[0] - month_city[1]) / month_seen, 1e-9)

        def smooth(low: int, high: int, slots: int, scale: float) -> Float64s:
            # Posterior mean of a gamma prior with PRIOR_RIDES rides at the cell's rate and the region's shape.
            weight = sum(self.mixed)
            shape = float(self.city_past.mean(self.mixed, low, high)[0]) / (slots * city_rate) if weight else 1.0
            prior = np.maximum(month_rate * (slots * shape), 1e-9)
            rides = self.own_past.mean(self.mixed, low, high) * weight if weight else 0.0
            return np.asarray((rides + PRIOR_RIDES) / (weight + PRIOR_RIDES / prior) * scale, np.float64)

        for name, end, high, slots in (
            ("first", self.FIRST, self.FIRST_PAD, self.first),
            ("middle", self.MIDDLE, self.MIDDLE_PAD, self.middle),
            ("last", self.LAST, self.LAST_PAD, self.last),
        ):
            self._put(f"day_{name}", self.own_past.day(1, self.START, end))
            self._put(f"week_{name}", self.own_past.day(7, self.START, end))
            self._put(f"days_{name}", self.own_past.mean(self.daily, self.START, end))
            self._put(f"weeks_{name}", self.own_past.mean(self.weekly, self.START, end))
            self._put(f"kind_{name}", self.own_past.mean(self.same_kind, self.START, end))
            wide = slots + 2 * self.pad
            self._put(f"log_smooth_{name}", np.log(smooth(self.PAD, high, wide, slots / wide)))
        self._put("level_long", _log_ratio(self._observed(self.last, last), smooth(self.BACK, self.START, self.last, 1.0)))
        wide = self.short + self.pad + self.short
        self._put("level_short", _log_ratio(self._observed(self.short, short), smooth(self.BACK_SHORT, self.START, self.short, 1.0)))
        self.last_hour = self._observed(self.last, last)

    def _around(self) -> None:
        history, start = self.history, self.start
        week = self.earlier[DAYS.index(7)]
        bounds = (start, start - self.short, start - self.last, week - self.last, week, week + self.last)
        rows = history.neighbour_cumulative(bounds, self.columns).astype(np.float64)
        short, last = self._observed(self.short, rows[0] - rows[1]), self._observed(self.last, rows[0] - rows[2])
        back, ahead = rows[4] - rows[3], rows[5] - rows[4]
        if not self.valid[DAYS.index(7)]:
            back, ahead = np.full_like(back, np.nan), np.full_like(ahead, np.nan)
        self._put("around_short", short)
        self._put("around_long", last)
        self._put("around_level", _log_ratio(last, back))
        self._put("around_trend", _log_ratio(ahead, back))

    def _parent_and_city(self) -> None:
        history, start, day = self.history, self.start, self.day
        used = [d for d, weight in enumerate(self.mixed) if weight]
        bounds = [start, start - self.last, *(self.earlier[d] + o for d in used for o in (-self.last, 0, self.last))]
        rows = history.parent_cumulative(bounds, self.columns).astype(np.float64)
        last = self._observed(self.last, rows[0] - rows[1])
        back, ahead = np.zeros(len(self.columns)), np.zeros(len(self.columns))
        for i, d in enumerate(used):
            low, middle, high = rows[2 + 3 * i : 5 + 3 * i]
            back += self.mixed[d] * (middle - low)
            ahead += self.mixed[d] * (high - middle)
        weight = sum(self.mixed) or np.nan
        self._put("parent_long", last)
        self._put("parent_level", _log_ratio(last, back / weight))
        self._put("parent_trend", _log_ratio(ahead / weight, back / weight))

        spans = (0, self.short, self.last, day, 7 * day, 8 * day)
        city = history.city_cumulative([start - span for span in spans]).astype(np.float64)[:, None]
        short, last_city = city[0] - city[1], city[0] - city[2]
        short, last_city = self._observed(self.short, short), self._observed(self.last, last_city)
        past = self.city_past
        back_city = past.mean(self.mixed, self.BACK, self.START)
        self._put("city_short", short)
        self._put("city_long", last_city)
        self._put("city_level_short", _log_ratio(short, past.mean(self.mixed, self.BACK_SHORT, self.START)))
        self._put("city_level_long", _log_ratio(last_city, back_city))
        same_day = city[0] - city[3], city[4] - city[5]
        whole = history.complete(start - day, start) and history.complete(start - 8 * day, start - 7 * day)
        self._put("city_level_day", _log_ratio(*same_day) if whole else np.nan)
        for name, end, slots in (("first", self.FIRST, self.first), ("last", self.LAST, self.last)):
            ahead_city = past.mean(self.mixed, self.START, end) * (self.last / slots)
            self._put(f"city_trend_{name}", _log_ratio(ahead_city, back_city))
        self._put("share_hour", self.last_hour / np.maximum(last_city, 1.0))

    def _time(self) -> None:
        local = self.local
        self._put("slot_of_day", local.slot_of_day)
        self._put("weekday", local.weekday)
        self._put("weekend", local.weekend)
        self._put("holiday", local.holiday)
        self._put("holiday_eve", local.holiday_eve)
        self._put("weeks_known", sum(1 for weight in self.weekly if weight))


def _log_ratio(value: Float64s, reference: Float64s) -> Float64s:
    return np.asarray(np.log((value + SMALL) / (reference + SMALL)), np.float64)
