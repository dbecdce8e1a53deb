"""Forecasts for a region without a trained model: the smooth profile of every cell, times the current level of demand around it.

A week of counts is one count per cell, weekday and slot: as a profile it is mostly noise. Smoothed over time and over the
days it is far better (`state.demand.profiles`), and the levels that every close updates say how much busier than it a place is now:
the region in the last minutes, the cells around in the last hours, the cell itself in the last days. While the history is young,
a profile is of few days, and the forecast of `state.models.level` has its part too: all of it on the first day, then less.
"""

import numpy as np

from schemas.events.rides import Bools, Float64s, Int64s
from schemas.records.records import Fallback
from state.demand.history import CountHistory
from state.demand.levels import HALF_LIVES_MIN
from state.demand.profiles import OWN, Profiles
from state.models.boosted import LEAST_MEAN
from state.models.level import RECENT_MIN, Level
from state.models.protocol import SlotView

FIRST_MIN = 60  # observed; before, `Level` serves alone: its errors are too few to correct it by
# Half-lives of the level of the region, of the cells around one and of the cell.
REGION, AROUND, CELL = (HALF_LIVES_MIN.index(minutes) for minutes in (20.0, 180.0, 720.0))
AROUND_RIDES = 10.0  # weight of the region's level in that of the cells around one, rides
CELL_RIDES = 10.0  # weight of their level in a cell's, rides
DISPERSION_MILLI = (200, 200, 300)  # until errors have been seen


class Current:
    """Serves every cell after the first hour.

    Args:
        horizons: How many there are.
    """

    fallback = Fallback.LEVEL
    corrected = True

    def __init__(self, horizons: int) -> None:
        last = DISPERSION_MILLI[-1]
        self._level = Level(horizons)
        self.dispersion_milli = (*DISPERSION_MILLI, *(last,) * horizons)[:horizons]

    def serves(self, view: SlotView) -> Bools:
        """All cells or none: bool[n]."""
        first = max(FIRST_MIN // view.calendar.slot_min, 1)
        return np.full(len(view.columns), _observed(view) >= first)

    def forecast(self, view: SlotView, rows: Int64s) -> Float64s:
        """Means of the cells: float64[len(rows), n_horizons], rides > 0."""
        part = young_part(_observed(view) / view.history.day_slots) if _is_current(view) else 0.0
        out = np.zeros((len(rows), len(view.calendar.horizons)))
        if part > 0.0:
            out += part * self._level.forecast(view, rows)
        if part < 1.0:
            out += (1.0 - part) * _followed(view, view.columns[rows])
        return np.maximum(out, LEAST_MEAN)


def young_part(days: float) -> float:
    """Part of the forecast of `Level`, after so many observed days.

    >>> young_part(0.5), young_part(3.0)
    (1.0, 0.5)
    """
    return min(2.0 / (days + 1.0), 1.0)


def _is_current(view: SlotView) -> bool:
    """Whether there is a slot that `Level` can carry forward: in an outage it would forecast nothing."""
    recent = max(RECENT_MIN // view.calendar.slot_min, 1)
    return view.history.observed_slots(view.slot + 1 - recent, view.slot + 1) > 0


def _observed(view: SlotView) -> int:
    return view.history.observed_slots(view.history.oldest_slot, view.slot + 1)


def _followed(view: SlotView, columns: Int64s) -> Float64s:
    """Profile times level: float64[len(columns), n_horizons], rides."""
    horizons = view.calendar.horizons
    windows = tuple((0, horizon) for horizon in horizons)
    profile = Profiles(view.history, view.calendar, view.slot + 1, windows).own(OWN, columns=columns)[0]
    return np.asarray((profile * np.array(horizons)[:, None] * levels_of(view.history, columns)).T, np.float64)


def levels_of(history: CountHistory, columns: Int64s) -> Float64s:
    """Demand over its profile now, of each column: float64[n], > 0."""
    around, slow = (_around(history, columns, which) for which in (AROUND, CELL))
    rides, profile = history.levels.own[:, CELL][:, columns]
    cell = (rides + CELL_RIDES * slow) / (profile * slow + CELL_RIDES * slow)
    return np.asarray(around * cell * _of_region(history, REGION) / _of_region(history, AROUND), np.float64)


def _around(history: CountHistory, columns: Int64s, which: int) -> Float64s:
    """The level of a cell with those around it, drawn towards the region's: float64[n]."""
    own = history.levels.own[:, which].T.copy()
    rides, profile = (own[columns] + history.around(0, columns, own)).T
    return np.asarray((rides + AROUND_RIDES * _of_region(history, which)) / (profile + AROUND_RIDES), np.float64)


def _of_region(history: CountHistory, which: int) -> float:
    rides, profile = history.levels.city[:, which].tolist()
    return float((rides + 1.0) / (profile + 1.0))
