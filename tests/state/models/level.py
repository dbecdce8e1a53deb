"""A second corrector, as small as one can be: each cell's means times its own recent level. It shows what a row needs."""

import numpy as np

from schemas.events.rides import Float64s, UInt64s
from state.demand.history import Arrays
from state.models.protocol import Outcome
from state.models.table import CorrectorRow

PRIOR_RIDES = 10.0
FORGET = 0.98  # per close


class LevelCorrection:
    """Rides and means of the first horizon of each cell, both slowly forgotten; half of what they differ by is put right."""

    weight_milli = 500

    def __init__(self, horizons: int, day_slots: int) -> None:
        self._horizons = horizons
        self._cells: UInt64s = np.empty(0, np.uint64)
        self._sums = np.zeros((2, 0))  # rides, means

    def inputs(self, cells: UInt64s, means: Float64s, dispersion_milli: tuple[int, ...]) -> Float64s:
        """Relative error of each cell so far, the same for every horizon: float64[n, n_horizons, 1]."""
        sums = np.zeros((2, len(cells)))
        known = np.isin(cells, self._cells)
        sums[:, known] = self._sums[:, np.searchsorted(self._cells, cells[known])]
        errors = (sums[0] + PRIOR_RIDES) / (sums[1] + PRIOR_RIDES) - 1.0
        return np.repeat(errors[:, None], self._horizons, axis=1)[:, :, None]

    def predict(self, inputs: Float64s) -> Float64s:
        """That error: float64[n, n_horizons]."""
        return np.ascontiguousarray(inputs[:, :, 0])

    def correct(self, means: Float64s, predicted: Float64s, dispersion_milli: tuple[int, ...]) -> Float64s:
        """Means times the level, of which half is believed: float64[n, n_horizons]."""
        return np.asarray(means * (1.0 + self.weight_milli / 1000 * predicted), np.float64)

    def observe(self, outcomes: list[Outcome], dispersion_milli: tuple[int, ...]) -> None:
        """Add what came true over the first horizon."""
        self._sums *= FORGET
        for outcome in outcomes:
            if outcome.horizon == 0:
                cells = np.union1d(self._cells, outcome.cells)
                sums = np.zeros((2, len(cells)))
                sums[:, np.searchsorted(cells, self._cells)] = self._sums
                sums[:, np.searchsorted(cells, outcome.cells)] += (outcome.truth, outcome.means)
                self._cells, self._sums = cells, sums

    def learn(self, outcomes: list[Outcome], dispersion_milli: tuple[int, ...]) -> None:
        """Nothing more: the sums are all it knows."""

    def keep_only(self, cells: UInt64s) -> None:
        """Forget the sums of all other cells."""
        kept = np.isin(self._cells, cells)
        self._cells, self._sums = self._cells[kept], np.ascontiguousarray(self._sums[:, kept])

    def to_arrays(self) -> Arrays:
        """The cells and their sums."""
        return {"level_cells": self._cells.copy(), "level_sums": self._sums.copy()}

    def from_arrays(self, arrays: Arrays) -> None:
        """Become the corrector whose `to_arrays` gave these."""
        self._cells, self._sums = arrays["level_cells"].astype(np.uint64), arrays["level_sums"].astype(np.float64)


LEVEL = CorrectorRow("level", "issued_level_", 1, LevelCorrection, since=3)
