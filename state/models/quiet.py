"""Forecasts for quiet cells: cells with too few rides for a model of their own.

A cell's rate over four weeks is shrunk towards its parent's (gamma-Poisson). Its daily shape is the
parent's, shrunk towards the region's. The rides of the last hour and of the last day are mixed in with
weights that training fits.
"""

from dataclasses import dataclass

import numpy as np

from schemas.events.rides import Bools, Float64s, Int64s
from schemas.records.records import Fallback
from state.demand.calendar import Calendar
from state.demand.history import UNIVERSE_DAYS, CountHistory
from state.demand.seasons import DAYS, WEEKS
from state.models.protocol import SlotView

QUIET_PER_15_MIN = 0.05  # below this mean over 28 days a cell is quiet
QUIET_DISPERSION_MILLI = 1_500  # until training has fitted one
CHILDREN = 32  # cells in a parent cell
CELL_RIDES = 0.3  # weight of the parent's rate, in rides; New York, April 2014
SHAPE_RIDES = 12.0  # weight of the region's shape, in rides
WIDEN_MIN = 30  # a profile looks this much further on both sides
MIX = ((0.9, 0.02, 0.08),)  # profile, last hour, last day; for every horizon until training fits them


@dataclass(frozen=True, slots=True)
class QuietMix:
    """Weights of (profile, last hour, last day) per horizon: float64[n_horizons, 3]."""

    weights: Float64s

    @classmethod
    def default(cls, horizons: int) -> "QuietMix":
        """The weights used before training has fitted any."""
        return cls(np.array(MIX * horizons))


class Quiet:
    """Serves the quiet cells.

    Args:
        mix: Weights of the parts of a forecast.
        dispersion_milli: Per horizon, 1/1000.
    """

    fallback = Fallback.QUIET
    corrected = False

    def __init__(self, mix: QuietMix, dispersion_milli: tuple[int, ...]) -> None:
        self._mix = mix
        self.dispersion_milli = dispersion_milli

    def serves(self, view: SlotView) -> Bools:
        """The quiet cells: bool[n]."""
        return view.quiet

    def forecast(self, view: SlotView, rows: Int64s) -> Float64s:
        """Means of the cells: float64[len(rows), n_horizons], rides > 0."""
        parts = quiet_parts(view.history, view.calendar, view.slot, view.columns[rows], view.calendar.horizons)
        return quiet_means(parts, self._mix)


def quiet_cells(history: CountHistory, calendar: Calendar, slot: int, columns: Int64s) -> Bools:
    """Whether each cell is quiet after a closed slot: bool[n]. Used for serving and training."""
    return np.asarray(mean_rate(history, slot, columns) * 15 < QUIET_PER_15_MIN * calendar.slot_min, np.bool_)


def mean_rate(history: CountHistory, slot: int, columns: Int64s) -> Float64s:
    """Mean rides per slot of each cell over the observed slots of the last 28 days: float64[n]."""
    start, until = slot + 1 - UNIVERSE_DAYS * history.day_slots, slot + 1
    return history.window(start, until, columns) / max(history.observed_slots(start, until), 1)


def quiet_parts(history: CountHistory, calendar: Calendar, slot: int, columns: Int64s, horizons: tuple[int, ...]) -> Float64s:
    """The parts that a quiet forecast mixes: float64[3, n_horizons, n], rides; rows are profile, last hour, last day."""
    until = slot + 1
    month = until - UNIVERSE_DAYS * history.day_slots
    hour = max(60 // calendar.slot_min, 1)
    seen = max(history.observed_slots(month, until), 1)
    rows = history.cumulative((until, until - hour, until - history.day_slots, month), columns)
    _, first, place = np.unique(history.parent_of[columns], return_index=True, return_inverse=True)
    shapes = _parent_shapes(history, calendar, until, columns[first], horizons, seen)
    above = history.parent_cumulative((until, month), columns[first])
    parent_rate = ((above[0] - above[1]) / seen)[place]
    # Posterior mean with a gamma prior of CELL_RIDES rides at the parent's mean child rate.
    prior = np.maximum(parent_rate / CHILDREN, 1e-9)
    rate = (rows[0] - rows[3] + CELL_RIDES) / (seen + CELL_RIDES / prior)
    out = np.empty((3, len(horizons), len(columns)))
    for i, h in enumerate(horizons):
        out[0, i] = rate * shapes[i][place] * h
        out[1, i] = (rows[0] - rows[1]) * (h / max(history.observed_slots(until - hour, until), 1))
        out[2, i] = (rows[0] - rows[2]) * (h / max(history.observed_slots(until - history.day_slots, until), 1))
    return out


def quiet_means(parts: Float64s, mix: QuietMix) -> Float64s:
    """Means of quiet cells: float64[n, n_horizons], rides."""
    weights = mix.weights
    mean = parts[0] * weights[:, 0, None] + parts[1] * weights[:, 1, None] + parts[2] * weights[:, 2, None]
    return np.ascontiguousarray(mean.T)


def _parent_shapes(
    history: CountHistory, calendar: Calendar, until: int, columns: Int64s, horizons: tuple[int, ...], seen: int
) -> list[Float64s]:
    """Demand at this time of day relative to the mean, per horizon and parent: n_horizons x float64[n_parents]."""
    widen = max(WIDEN_MIN // calendar.slot_min, 1)
    month = until - UNIVERSE_DAYS * history.day_slots
    total = history.parent_cumulative((until, month), columns)
    parent_rate = (total[0] - total[1]) / seen
    city_total = history.city_cumulative((until, month)).tolist()
    city_rate = max((city_total[0] - city_total[1]) / seen, 1e-9)
    days = [calendar.seasonal(until, day) for day in (*DAYS, *(7 * week for week in WEEKS))]
    ends = tuple(widen + h for h in horizons)
    days = [day for day in days if history.complete(day - widen, day + ends[-1])]
    rides = [np.zeros(len(columns)) for _ in horizons]
    city = [0.0] * len(horizons)
    for day in days:
        bounds = (day - widen, *(day + end for end in ends))
        rows = history.parent_cumulative(bounds, columns)
        whole = history.city_cumulative(bounds).tolist()
        for i in range(len(horizons)):
            rides[i] += rows[i + 1] - rows[0]
            city[i] += whole[i + 1] - whole[0]
    shapes = []
    for i, h in enumerate(horizons):
        slots = len(days) * (2 * widen + h)
        city_shape = city[i] / slots / city_rate if slots else 1.0
        expected = parent_rate * slots
        shapes.append((rides[i] + SHAPE_RIDES * city_shape) / (expected + SHAPE_RIDES))
    return shapes


def fit_mix(parts: Float64s, truth: Float64s, rounds: int = 200) -> tuple[float, float, float]:
    """Maximum-likelihood weights of the parts for Poisson counts.

    Args:
        parts: float64[3, n] of one horizon.
        truth: float64[n], rides.
    Source:
        W. H. Richardson (1972), Bayesian-based iterative method of image restoration, JOSA 62: the
        multiplicative update keeps weights positive and never lowers the likelihood.
    """
    weights = np.array(MIX[0])
    totals = parts.sum(axis=1)
    if not truth.any() or not (totals > 0).all():
        return (float(weights[0]), float(weights[1]), float(weights[2]))
    ridden = truth > 0
    some, rides = np.ascontiguousarray(parts[:, ridden]), truth[ridden]
    for _ in range(rounds):
        mean = weights[0] * some[0] + weights[1] * some[1] + weights[2] * some[2]
        weights = weights * (some * (rides / np.maximum(mean, 1e-12))).sum(axis=1) / totals
    return (float(weights[0]), float(weights[1]), float(weights[2]))
