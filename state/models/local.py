"""Local correction: follows a surge, or a collapse, of the demand around a cell within minutes.

`state.models.surges` says how likely the neighbourhood of each cell left the forecast, and by which factor. This file
gives it a slot after every close, with two expectations: what the model forecast for that slot, and a reference that
does not follow the last minutes. The corrected mean is between the model's and the reference times the factor. How much
of that step is done over each horizon is learned from how steps of the last days turned out.
"""

import math

import numpy as np

from schemas.events.cells import NO_CELL, at_steps, cell_size_km, centres
from schemas.events.rides import Bools, Float64s, Int64s, UInt64s
from schemas.regions import DAY_MIN
from state.demand.history import Arrays, CountHistory
from state.demand.levels import HALF_LIVES_MIN
from state.demand.profiles import OWN, Profiles
from state.models.boosted import LEAST_MEAN
from state.models.online import deviations, places_in
from state.models.protocol import Outcome, SlotView
from state.models.surges import Seen, Surges

INPUTS = ("step",)  # relative change of the mean, if all of it is done
REACH_KM = 1.9  # of a neighbourhood; simulated cities: 1.2, 1.5, 1.9 and 2.5 gave 1.30, 1.27, 1.25 and 1.28 times the least error
MOST_STEPS = 60  # cells of a neighbourhood, where cells are small
SLOW_MIN, FAST_MIN = 180.0, 60.0  # half-lives of the reference: the level around a cell, and the region's beyond it
LEVEL_RIDES = 5.0  # weight of the region's level in that of a neighbourhood, rides
LEAST_STEP, MOST_STEP = 0.2, 6.0  # bounds of the factor of a mean
FORGET_DAYS = 7.0  # half-life of what is known about earlier steps
BUSY_RIDES = 4.0  # in a horizon; steps of other cells are learned about apart
LARGE_STEP = 0.25  # doubts about the many small steps of ordinary days must not hold back the large one of a surge
PRIOR_SQUARES = (100.0, 20_000.0)  # squared standard errors: weight of the belief that a small, a large step is right
CLIP = 8.0  # standard errors

_SLOW, _FAST = HALF_LIVES_MIN.index(SLOW_MIN), HALF_LIVES_MIN.index(FAST_MIN)
_NO_CELLS: UInt64s = np.empty(0, np.uint64)
_NEVER = -1


class LocalCorrection:
    """State of the local correction of one region and measure.

    Args:
        horizons: Number of horizons.
        day_slots: Slots per day.
    """

    def __init__(self, horizons: int, day_slots: int) -> None:
        self._horizons, self._day_slots = horizons, day_slots
        self._surges = Surges(0, DAY_MIN // day_slots)
        self._cells = _NO_CELLS
        self._slot = _NEVER  # the last one that it watched
        self._stated = np.zeros((2, 0))  # rides of the next slot: by the model, by the reference
        self._surge = np.zeros((horizons, 0))  # rides of each horizon if the neighbourhood has changed
        self._trust = np.zeros((horizons, 4, 2))  # by the kind of step
        self._around: _Around | None = None

    @property
    def weight_milli(self) -> int:
        """Share of the prediction that is added to the mean, 1/1000."""
        return 1000

    # --- what it watches -----------------------------------------------------------------------

    def watch(self, view: SlotView, rows: Int64s, means: Float64s, plain: Float64s) -> None:
        """Compare the slot that has closed with what was expected of it, and expect the next.

        Args:
            rows: The cells that are corrected.
            means, plain: float64[len(rows), n_horizons], before this correction and before all; both the same, as it is the first.
        Raises:
            ContractError: the history does not track levels.
        """
        history, columns, slot = view.history, view.columns[rows], view.slot
        cells = history.cells[columns]
        followed = slot == self._slot + 1
        if not followed:
            self.keep_only(_NO_CELLS)
        self._move(cells)
        if followed and history.whole(slot, slot + 1):
            forecast, expected = self._stated
            rides = history.window(slot, slot + 1, columns).astype(np.float64)
            known = np.isfinite(forecast)
            rides, forecast, expected = (np.where(known, values, 0.0) for values in (rides, forecast, expected))
            around = self._neighbourhoods(history.cell_bits).sums(np.stack([rides, expected, forecast], axis=1)).T
            self._surges.observe(Seen(rides, expected, *around))
        self._expect(view, columns, means)
        self._slot = slot

    def _expect(self, view: SlotView, columns: Int64s, means: Float64s) -> None:
        history, horizons = view.history, view.calendar.horizons
        windows = ((0, 1), *((0, horizon) for horizon in horizons))
        profile = Profiles(history, view.calendar, view.slot + 1, windows).own(OWN, columns=columns)[0]
        expected = profile * _level(history, columns)
        shape = np.where(profile[1] > 0.0, profile[0] / np.maximum(profile[1], np.finfo(np.float64).tiny), 1.0)
        self._stated = np.stack([means[:, 0] / horizons[0] * shape, expected[0]])
        lasts = np.array([self._surges.lasts(horizon) for horizon in horizons])[:, None]
        rides = expected[1:] * np.array(horizons)[:, None]
        self._surge = rides * (lasts * self._surges.factor + 1.0 - lasts)

    def _move(self, cells: UInt64s) -> None:
        """Take these cells instead of others; new ones are normal."""
        if np.array_equal(cells, self._cells):
            return
        places, known = places_in(self._cells, cells)
        self._surges.move(np.where(known, places, -1))
        self._stated, self._surge = (_moved(table, places, known) for table in (self._stated, self._surge))
        self._cells = cells.copy()

    def _neighbourhoods(self, bits: int) -> "_Around":
        if self._around is None or not np.array_equal(self._around.cells, self._cells):
            self._around = _Around(self._cells, bits)
        return self._around

    # --- for the issue -------------------------------------------------------------------------

    def inputs(self, cells: UInt64s, means: Float64s, dispersion_milli: tuple[int, ...]) -> Float64s:
        """The whole step of each cell and horizon, relative to its mean: float64[n, n_horizons, 1].

        Args:
            cells: uint64[n], ascending; those that it did not watch have no step.
            means: float64[n, n_horizons], before correction.
        """
        places, known = places_in(self._cells, cells)
        steps = np.zeros((len(cells), self._horizons, len(INPUTS)))
        surge = self._surge[:, places[known]].T
        ratio = np.clip(surge / np.maximum(means[known], LEAST_MEAN), LEAST_STEP, MOST_STEP)
        changed = 1.0 - self._surges.normal[places[known]]
        steps[known, :, 0] = np.where(np.isfinite(surge), changed[:, None] * (ratio - 1.0), 0.0)
        return steps

    def predict(self, inputs: Float64s) -> Float64s:
        """The part of the step that is done, relative to the mean: float64[n, n_horizons]."""
        return np.asarray(inputs[:, :, 0], np.float64)

    def correct(self, means: Float64s, predicted: Float64s, dispersion_milli: tuple[int, ...]) -> Float64s:
        """Means after the step, as far as earlier steps turned out right: float64[n, n_horizons]."""
        out = np.empty_like(means)
        for i in range(self._horizons):
            shares = np.array([self._share(i, kind) for kind in range(4)])
            out[:, i] = means[:, i] * (1.0 + shares[_kinds(means[:, i], predicted[:, i])] * predicted[:, i])
        return out

    def _share(self, horizon: int, kind: int) -> float:
        """Which part of a step is done, 0 to 1."""
        gain, size = self._trust[horizon, kind].tolist()
        prior = PRIOR_SQUARES[kind % 2]
        return float(min(max((gain + prior) / (size + prior), 0.0), 1.0))

    # --- from what came true -------------------------------------------------------------------

    def observe(self, outcomes: list[Outcome], dispersion_milli: tuple[int, ...]) -> None:
        """Nothing: slots tell it more than windows."""

    def learn(self, outcomes: list[Outcome], dispersion_milli: tuple[int, ...]) -> None:
        """Learn how much of the steps was right."""
        forget = 0.5 ** (1.0 / (FORGET_DAYS * self._day_slots))
        for outcome in outcomes:
            i, means, step = outcome.horizon, outcome.means, outcome.predicted
            spread = deviations(np.maximum(means * (1.0 + step), LEAST_MEAN), dispersion_milli[i])
            moved, error = means * step / spread, np.clip((outcome.truth - means) / spread, -CLIP, CLIP)
            self._trust[i] *= forget
            kinds = _kinds(means, step)
            self._trust[i, :, 0] += np.bincount(kinds, moved * error, 4)
            self._trust[i, :, 1] += np.bincount(kinds, moved * moved, 4)

    def keep_only(self, cells: UInt64s) -> None:
        """Drop what is known of all other cells."""
        self._move(self._cells[np.isin(self._cells, cells)])

    # --- keeping -------------------------------------------------------------------------------

    def to_arrays(self) -> Arrays:
        """The state as arrays; `from_arrays` restores it bit for bit."""
        own: Arrays = {
            "local_cells": self._cells.copy(),
            "local_slot": np.array([self._slot], np.int64),
            "local_stated": self._stated.copy(),
            "local_surge": self._surge.copy(),
            "local_trust": self._trust.copy(),
        }
        return own | {f"local_{name}": array.copy() for name, array in self._surges.to_arrays().items()}

    def from_arrays(self, arrays: Arrays) -> None:
        """Restore the state that `to_arrays` returned."""
        self._cells = arrays["local_cells"].astype(np.uint64)
        self._slot = int(arrays["local_slot"][0])
        self._stated, self._surge, self._trust = (arrays[f"local_{name}"].astype(np.float64) for name in ("stated", "surge", "trust"))
        self._surges.from_arrays({name.removeprefix("local_"): array for name, array in arrays.items() if name.startswith("local_")})


class _Around:
    """Unweighted sums over the cells within REACH_KM of each of some cells, itself included.

    Args:
        cells: uint64[n], ascending.
        bits: Of a code.
    """

    def __init__(self, cells: UInt64s, bits: int) -> None:
        from scipy.sparse import csr_array  # type: ignore[import-untyped]

        self.cells = cells
        lat = centres(cells, bits)[0]
        height = cell_size_km(0.0, bits)[1]
        width = cell_size_km(0.0, bits)[0] * np.cos(np.radians(lat))
        reach = math.isqrt(4 * MOST_STEPS)
        across = min(int(REACH_KM / max(float(width.min(initial=np.inf)), 1e-3)), reach)
        up = min(int(REACH_KM / height), reach)
        steps = np.array([(i, j) for i in range(-across, across + 1) for j in range(-up, up + 1)], np.int64)
        apart = np.hypot(steps[:, 0] * width[:, None], steps[:, 1] * height)
        wanted = at_steps(cells, bits, steps)
        nearest = np.argsort(apart, axis=1, kind="stable")[:, :MOST_STEPS]
        wanted, apart = (np.take_along_axis(table, nearest, axis=1) for table in (wanted, apart))
        places, known = places_in(cells, wanted.ravel())
        used = known.reshape(wanted.shape) & (apart <= REACH_KM) & (wanted != NO_CELL)
        starts = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
        self._sums = csr_array((np.ones(int(starts[-1])), places.reshape(wanted.shape)[used], starts), shape=(len(cells), len(cells)))

    def sums(self, values: Float64s) -> Float64s:
        """Sums of values float64[n, k]: float64[n, k]."""
        return np.asarray(self._sums @ values, np.float64)


def _level(history: CountHistory, columns: Int64s) -> Float64s:
    """Demand over its profile around each column, without the last minutes of the cells but with those of the region: float64[n]."""
    levels = history.levels
    slow = levels.own[:, _SLOW].T.copy()
    rides, profile = (slow[columns] + history.around(0, columns, slow)).T
    (city_rides, city_profile), (now_rides, now_profile) = levels.city[:, _SLOW].tolist(), levels.city[:, _FAST].tolist()
    region_slow = (city_rides + 1.0) / (city_profile + 1.0)
    region_now = (now_rides + 1.0) / (now_profile + 1.0)
    return np.asarray((rides + LEVEL_RIDES * region_slow) / (profile + LEVEL_RIDES) * (region_now / region_slow), np.float64)


def _kinds(means: Float64s, steps: Float64s) -> Int64s:
    """Which steps are learned about together: of busy cells or of others, large or small: int64[n], 0 to 3."""
    return np.asarray(2 * (means >= BUSY_RIDES) + (np.abs(steps) >= LARGE_STEP), np.int64)


def _moved(table: Float64s, places: Int64s, known: Bools) -> Float64s:
    """Columns of a table by their places; NaN for those that are not known."""
    out = np.full((len(table), len(places)), np.nan)
    out[:, known] = table[:, places[known]]
    return out
