"""Recursive correction: a filter follows sudden changes of level, and least squares over recent closes predict what is left.

The filter weighs a few multiples of the mean by how well they explain the rides that came, for the region and for each
cell: the usual noise leaves it at one, a surge or a lockdown moves it within minutes, and it returns as fast. What the means have
followed by themselves since then is taken off. One regression per horizon, pooled over cells, then predicts the
standardised error of the moved mean from recent errors of the region and of the cell. Its sums forget with time.
"""

import numpy as np

from schemas.events.rides import Float64s, UInt64s
from schemas.regions import DAY_MIN
from state.demand.history import Arrays
from state.models.boosted import LEAST_MEAN
from state.models.online import deviations, places_in
from state.models.protocol import Outcome

REGION_MIN = (60, 360, 1440)  # the region's error is decayed over these times
CELL_MIN = (1440, 10_080)  # a cell's
LEVELS = (0.2, 0.35, 0.55, 0.8, 1.0, 1.25, 1.8, 2.8, 4.5)  # rides over the mean that the filters tell apart
USUAL = (0.002, 0.004, 0.008, 0.03, 0.912, 0.03, 0.008, 0.004, 0.002)  # how often each is the right one
WINDOW_MIN = 15  # of the first horizon, about
CHANGE_MIN = 120  # a level lasts this long on average
SCATTER = 0.12  # usual relative error of the region in a window; New York, April 2014
INPUTS = (
    "factor",  # of both filters, for this mean; the first four are no regressors
    "level",  # that the region's filter expects
    "region",  # the part of it that the means have not followed by themselves
    "surge",  # the same of the cell's filter, less one
    "region_last",  # relative error of the region in the last window of the first horizon; all but cell_last are scaled
    *(f"region_{minutes}" for minutes in REGION_MIN),
    "cell_last",  # standardised error of the cell in the last window of the first horizon
    *(f"cell_{minutes}" for minutes in CELL_MIN),
    "one",
)
REGRESSORS = slice(4, len(INPUTS))
FORGET_DAYS = 7.0  # half-life of what the regression learned from
RIDGE = 200.0
SOLVE_EVERY = 6  # closes
CLIP = 4.0  # standard errors
RIDES = 20.0  # prior weight of "no error" in a decayed error, rides
LEAST_FACTOR, MOST_FACTOR = 0.5, 2.0  # bounds of what the regression does
BUSY_RIDES = 4.0  # in a horizon; surges of other cells are learned about apart
SURGE_PRIOR = 100.0  # squared standard errors: weight of the belief that a surge lasts
SURGE_CLIP = 8.0  # standard errors
LEAST_LEVEL, MOST_LEVEL = 0.3, 3.0  # bounds of what the filters do

# Rows of the cells' table: last error, log of the mean of that window, rides and means per decay, then the filter.
_LAST, _MEAN, _SUMS = 0, 1, 2
_FILTER = _SUMS + 2 * len(CELL_MIN)
_ROWS = _FILTER + len(LEVELS)
_REGION_FILTER = 1 + 2 * len(REGION_MIN)  # the region has its last error, rides and means per decay, and its filter
_NO_MEAN = -1e9


class RecursiveCorrection:
    """State of the recursive learner of one region and measure.

    Args:
        horizons: Number of horizons.
        day_slots: Slots per day, for half-lives.
        name: Of its row.
        cells: Whether cells have filters of their own; not where `state.models.local` follows what happens in them.
    """

    def __init__(self, horizons: int, day_slots: int, name: str = "recursive", *, cells: bool = True) -> None:
        self._horizons, self._day_slots = horizons, day_slots
        self._name, self._filters_cells = name, cells
        self._usual = USUAL if cells else tuple(float(level == 1.0) for level in LEVELS)
        k = len(INPUTS[REGRESSORS])
        self._curvature, self._moment, self._coefficients = np.zeros((horizons, k, k)), np.zeros((horizons, k)), np.zeros((horizons, k))
        self._surges = np.zeros((horizons, 2, 2))
        self._closes = 0
        self._region = np.concatenate([np.zeros(1 + 2 * len(REGION_MIN)), USUAL])
        self._cells: UInt64s = np.empty(0, np.uint64)
        self._table = np.zeros((_ROWS, 0))

    @property
    def weight_milli(self) -> int:
        """Share of the prediction that is added to the mean, 1/1000: all of it, as soon as a window has come true."""
        return 1000 if self._closes else 0

    # --- for the issue -------------------------------------------------------------------------

    def inputs(self, cells: UInt64s, means: Float64s, dispersion_milli: tuple[int, ...]) -> Float64s:
        """Inputs of the regression for each cell and horizon: float64[n, n_horizons, len(INPUTS)].

        Args:
            cells: uint64[n], ascending.
            means: float64[n, n_horizons], before correction.
        """
        places, known = places_in(self._cells, cells)
        table = self._unknown(len(cells))
        table[:, known] = self._table[:, places[known]]
        last, *sums = self._region[:_REGION_FILTER].tolist()
        region = [last, *((rides + RIDES) / (mean + RIDES) - 1.0 for rides, mean in zip(sums[::2], sums[1::2], strict=True))]
        level = float(_expected(self._region[_REGION_FILTER:, None])[0])
        slow = [(table[row] + RIDES) / (table[row + 1] + RIDES) - 1.0 for row in range(_SUMS, _FILTER, 2)]
        # What the model has followed by itself since the window that ended is not done twice.
        own = np.where(table[_MEAN] > _NO_MEAN, np.log(np.maximum(means[:, 0], LEAST_MEAN)) - table[_MEAN], 0.0)
        of_region = _left(np.full(len(cells), np.log(level)), own)
        of_cell = _left(np.log(_expected(table[_FILTER:])), own - (np.log(level) - of_region))
        region_factor, surge = np.exp(of_region), np.exp(of_cell) - 1.0
        out = np.empty((len(cells), self._horizons, len(INPUTS)))
        for i in range(self._horizons):
            lasts = np.where(means[:, i] >= BUSY_RIDES, self._trust(i, 1), self._trust(i, 0))
            factor = np.clip(region_factor * (1.0 + lasts * surge), LEAST_LEVEL, MOST_LEVEL)
            mean = factor * means[:, i]
            scale = mean / deviations(mean, dispersion_milli[i])
            known_now = (factor, level, region_factor, surge)
            columns = (*known_now, *(scale * error for error in region), table[_LAST], *(scale * error for error in slow), scale)
            for j, column in enumerate(columns):
                out[:, i, j] = column
        return out

    def _trust(self, horizon: int, busy: int) -> float:
        """How much of a cell's surge lasts over a horizon, 0 to 1, from recent surges of busy or of other cells."""
        gain, size = self._surges[horizon, busy].tolist()
        return float(min(max((gain + SURGE_PRIOR) / (size + SURGE_PRIOR), 0.0), 1.0))

    def predict(self, inputs: Float64s) -> Float64s:
        """Predicted relative errors of the means: float64[n, n_horizons]; zero before the first window has come true."""
        regressors = inputs[:, :, REGRESSORS]
        errors = np.zeros(inputs.shape[:2])
        for j in range(regressors.shape[2]):  # column by column: the bits of a cell do not depend on the others
            errors += regressors[:, :, j] * self._coefficients[:, j]
        rest = np.clip(1.0 + errors / regressors[:, :, -1], LEAST_FACTOR, MOST_FACTOR)
        return np.asarray(inputs[:, :, 0] * rest - 1.0, np.float64)

    def correct(self, means: Float64s, predicted: Float64s, dispersion_milli: tuple[int, ...]) -> Float64s:
        """Means without the predicted errors: float64[n, n_horizons]."""
        return np.asarray(means * (1.0 + self.weight_milli / 1000 * predicted), np.float64)

    # --- from what came true -------------------------------------------------------------------

    def observe(self, outcomes: list[Outcome], dispersion_milli: tuple[int, ...]) -> None:
        """Add the errors of windows that have just ended; the next issue uses them."""
        self._forget()
        for outcome in outcomes:
            if outcome.horizon == 0:
                self._add(outcome, dispersion_milli)

    def _forget(self) -> None:
        slot_min = DAY_MIN / self._day_slots
        for i, minutes in enumerate(REGION_MIN):
            self._region[1 + 2 * i : 3 + 2 * i] *= np.exp(-slot_min / minutes)
        for i, minutes in enumerate(CELL_MIN):
            self._table[_SUMS + 2 * i : _SUMS + 2 * i + 2] *= np.exp(-slot_min / minutes)
        change = 1.0 - np.exp(-slot_min / CHANGE_MIN)
        filters = [(self._region[_REGION_FILTER:, None], USUAL)]
        for state, usual in (*filters, (self._table[_FILTER:], self._usual)) if self._filters_cells else filters:
            state *= 1.0 - change
            state += change * np.array(usual)[:, None]

    def _add(self, outcome: Outcome, dispersion_milli: tuple[int, ...]) -> None:
        truth, means = outcome.truth, outcome.inputs[:, 0] * outcome.means
        total, expected = float(truth.sum()), float(means.sum())
        self._region[0] = (total + RIDES) / (expected + RIDES) - 1.0
        self._region[1:_REGION_FILTER:2] += total
        self._region[2:_REGION_FILTER:2] += expected
        self._know(outcome.cells)
        places = np.searchsorted(self._cells, outcome.cells)
        self._table[_LAST, places] = _standardised(outcome, dispersion_milli)
        self._table[_MEAN, places] = np.log(np.maximum(outcome.means, LEAST_MEAN))
        for row in range(_SUMS, _FILTER, 2):
            self._table[row, places] += truth
            self._table[row + 1, places] += means
        # Windows of the first horizon overlap: each has its slots' part of the likelihood.
        part = 1.0 / max(1.0, self._day_slots * WINDOW_MIN / DAY_MIN)
        # A surge that the cells' own filters expect is not the region's.
        mean = np.array([float((_expected(self._table[_FILTER:, places]) * outcome.means).sum())])
        variances = [level * mean + (SCATTER * level * mean) ** 2 + RIDES for level in LEVELS]
        likely = [-0.5 * (total - level * mean) ** 2 / v - 0.5 * np.log(v) for level, v in zip(LEVELS, variances, strict=True)]
        self._region[_REGION_FILTER:] = _weighed(self._region[_REGION_FILTER:, None], part * np.array(likely))[:, 0]
        if not self._filters_cells:
            return
        # Counts that scatter more than Poisson's tell less.
        mean = outcome.inputs[:, 1] * outcome.means
        part_of_cell = part / (1.0 + dispersion_milli[0] / 1000 * mean)
        likely = [(truth * np.log(level) - level * mean) * part_of_cell for level in LEVELS]
        self._table[_FILTER:, places] = _weighed(self._table[_FILTER:, places], np.array(likely))

    def learn(self, outcomes: list[Outcome], dispersion_milli: tuple[int, ...]) -> None:
        """Add windows that have ended to the sums of their horizon's regression, and sometimes solve it."""
        if not any(len(outcome.cells) for outcome in outcomes):
            return
        forget = 0.5 ** (1.0 / (FORGET_DAYS * self._day_slots))
        for outcome in outcomes:
            x, i = outcome.inputs[:, REGRESSORS], outcome.horizon
            self._curvature[i] = forget * self._curvature[i] + x.T @ x
            mean = outcome.inputs[:, 2] * outcome.means
            spread = deviations(mean, dispersion_milli[i])
            step, error = mean * outcome.inputs[:, 3] / spread, np.clip((outcome.truth - mean) / spread, -SURGE_CLIP, SURGE_CLIP)
            self._surges[i] *= forget
            for busy, rows in enumerate((outcome.means < BUSY_RIDES, outcome.means >= BUSY_RIDES)):
                self._surges[i, busy] += float((step * error)[rows].sum()), float((step * step)[rows].sum())
            self._moment[i] = forget * self._moment[i] + x.T @ _standardised(outcome, dispersion_milli)
        self._closes += 1
        if self._closes % SOLVE_EVERY == 0:
            ridge = RIDGE * np.eye(self._moment.shape[1])
            self._coefficients = np.stack([np.linalg.solve(a + ridge, b) for a, b in zip(self._curvature, self._moment, strict=True)])

    def keep_only(self, cells: UInt64s) -> None:
        """Drop what is known of all other cells."""
        remaining = np.isin(self._cells, cells)
        self._cells, self._table = self._cells[remaining], np.ascontiguousarray(self._table[:, remaining])

    def _know(self, cells: UInt64s) -> None:
        if not places_in(self._cells, cells)[1].all():
            old, table = self._cells, self._table
            self._cells = np.union1d(old, cells)
            self._table = self._unknown(len(self._cells))
            self._table[:, np.searchsorted(self._cells, old)] = table

    def _unknown(self, cells: int) -> Float64s:
        """The table of cells of which nothing is known."""
        table = np.zeros((_ROWS, cells))
        table[_MEAN] = _NO_MEAN
        table[_FILTER:] = np.array(self._usual)[:, None]
        return table

    # --- keeping -------------------------------------------------------------------------------

    def to_arrays(self) -> Arrays:
        """The state as arrays; `from_arrays` restores it bit for bit."""
        return {
            f"{self._name}_curvature": self._curvature.copy(),
            f"{self._name}_moment": self._moment.copy(),
            f"{self._name}_coefficients": self._coefficients.copy(),
            f"{self._name}_surges": self._surges.copy(),
            f"{self._name}_closes": np.array([self._closes], np.int64),
            f"{self._name}_region": self._region.copy(),
            f"{self._name}_cells": self._cells.copy(),
            f"{self._name}_table": self._table.copy(),
        }

    def from_arrays(self, arrays: Arrays) -> None:
        """Restore the state that `to_arrays` returned."""
        self._curvature = arrays[f"{self._name}_curvature"].astype(np.float64)
        self._moment = arrays[f"{self._name}_moment"].astype(np.float64)
        self._coefficients = arrays[f"{self._name}_coefficients"].astype(np.float64)
        self._surges = arrays[f"{self._name}_surges"].astype(np.float64)
        self._closes = int(arrays[f"{self._name}_closes"][0])
        self._region = arrays[f"{self._name}_region"].astype(np.float64)
        self._cells = arrays[f"{self._name}_cells"].astype(np.uint64)
        self._table = arrays[f"{self._name}_table"].astype(np.float64)


def _left(moved: Float64s, own: Float64s) -> Float64s:
    """What is left of a log ratio when a part of it was done already; never of another sign: float64[n]."""
    up, down = np.maximum(moved - np.maximum(own, 0.0), 0.0), np.minimum(moved - np.minimum(own, 0.0), 0.0)
    return np.asarray(np.where(moved > 0.0, up, down), np.float64)


def _expected(chances: Float64s) -> Float64s:
    """The level that a filter expects for each column of its chances: float64[n]."""
    out = np.zeros(chances.shape[1])
    for level, chance in zip(LEVELS, chances, strict=True):
        out += level * chance
    return out


def _weighed(chances: Float64s, likely: Float64s) -> Float64s:
    """Chances after an observation with these log likelihoods: float64[len(LEVELS), n]."""
    weighed = chances * np.exp(likely - likely.max(axis=0))
    return np.asarray(weighed / weighed.sum(axis=0), np.float64)


def _standardised(outcome: Outcome, dispersion_milli: tuple[int, ...]) -> Float64s:
    means = outcome.inputs[:, 0] * outcome.means
    errors = (outcome.truth - means) / deviations(means, dispersion_milli[outcome.horizon])
    return np.clip(errors, -CLIP, CLIP)
