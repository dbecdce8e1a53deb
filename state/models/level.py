"""Forecasts for a region without a model and with less than a week of history: the current level of demand.

From version 6 of the fold on, it serves the first hour, and is a part of `state.models.current` while the history is young.

The region's rate over the last half hour is carried forward. It follows the course of earlier days where there
are any; else it returns slowly to the mean of the last day. Each cell gets its share of the rides seen so far,
and recent rides count more. A part of the region's demand is kept for cells that have not been seen yet: without
it, the first cells to have a ride would be forecast far too high.
"""

import numpy as np

from schemas.events.rides import Bools, Float64s, Int64s
from schemas.records.records import Fallback
from schemas.regions import DAY_MIN
from state.demand.history import CountHistory
from state.demand.seasons import DAYS
from state.models.protocol import SlotView

YOUNG_DAYS = 7  # with a whole week, the weekly profile is better
# Another region's model knows the cells of this one from then on. Simulated cities, RMSE of that model over RMSE of the level:
# 1.35 in the first three hours, 0.98 in the rest of the first day and in the six days after it.
STAND_IN_H = 3
RECENT_MIN = 30
HOUR_MIN = 60
HOUR_RIDES = 3.0  # additional weight of a ride of the last hour in a cell's share
RETURN_MIN = 300  # horizon at which half of the current level has returned to the mean of the last day
FOLLOW = 0.8  # share of the change on earlier days that is expected again
SMALL_RIDES = 0.5  # per slot; keeps the ratio of two small rates finite
# Wider than those of a trained model, and wider for longer horizons; New York, May 2014, the first day.
DISPERSION_MILLI = (500, 700, 1000)


class Level:
    """Serves every cell of a region while its history is young; for a region without a trained model of its own.

    Args:
        horizons: How many there are.
        young_h: How many observed hours of history are young: a week without any trained model, the first hours where another
            region's model stands in.
    """

    fallback = Fallback.LEVEL
    corrected = False

    def __init__(self, horizons: int, young_h: int = 24 * YOUNG_DAYS) -> None:
        self._young_h = young_h
        last = DISPERSION_MILLI[-1]
        self.dispersion_milli = (*DISPERSION_MILLI, *(last,) * horizons)[:horizons]

    def serves(self, view: SlotView) -> Bools:
        """All cells or none: bool[n]."""
        history, until = view.history, view.slot + 1
        young = history.observed_slots(history.oldest_slot, until) * 24 < self._young_h * history.day_slots
        return np.full(len(view.columns), young)

    def forecast(self, view: SlotView, rows: Int64s) -> Float64s:
        """Means of the cells: float64[len(rows), n_horizons], rides > 0, or 0 without rides in the last week."""
        share = shares(view.history, view.slot + 1, view.columns[rows])
        return np.asarray(share[:, None] * city_rides(view), np.float64)


def shares(history: CountHistory, until: int, columns: Int64s) -> Float64s:
    """Share of each cell in the region's demand: float64[n].

    Source:
        I. J. Good (1953), The population frequencies of species, Biometrika 40: the share of what was never seen is
        about the share of the rides that were the only one of their cell.
    """
    week = history.window(until - YOUNG_DAYS * history.day_slots, until)
    hour = history.window(until - max(HOUR_MIN * history.day_slots // DAY_MIN, 1), until)
    rides = int(week.sum())
    if not rides:
        return np.zeros(len(columns))
    seen = 1.0 - int((week == 1).sum()) / (rides + 1)
    out = seen * (HOUR_RIDES * hour[columns] + week[columns]) / (HOUR_RIDES * int(hour.sum()) + rides)
    return np.asarray(out, np.float64)


def city_rides(view: SlotView) -> Float64s:
    """Rides of the whole region expected in each horizon: float64[n_horizons]."""
    history, calendar, until = view.history, view.calendar, view.slot + 1
    recent = max(RECENT_MIN // calendar.slot_min, 1)
    now = _rate(history, until - recent, until)
    day = _rate(history, until - history.day_slots, until)
    starts = [calendar.seasonal(until, days) for days in DAYS]
    out = np.empty(len(calendar.horizons))
    for i, h in enumerate(calendar.horizons):
        known = [start for start in starts if history.complete(start - recent, start + h)]
        if known:
            back = sum(_rate(history, start - recent, start) for start in known) / len(known)
            ahead = sum(_rate(history, start, start + h) for start in known) / len(known)
            change = (ahead + SMALL_RIDES) / (back + SMALL_RIDES)
            rate = now * (1.0 - FOLLOW + FOLLOW * change)
        else:
            kept = RETURN_MIN / (RETURN_MIN + h * calendar.slot_min)
            rate = kept * now + (1.0 - kept) * day
        out[i] = rate * h
    return out


def _rate(history: CountHistory, start: int, until: int) -> float:
    """Rides of the region per observed slot in [start, until); 0 without an observed slot."""
    before, after = history.city_cumulative((start, until)).tolist()
    return float(after - before) / max(history.observed_slots(start, until), 1)
