"""What a model of demand must be able to do: a mean model forecasts cells, a corrector puts its means right.

Each cell is served by the first mean model of the table that can serve it. The means of models that ask for
it then pass through every corrector, in the order of the table. Which models there are is in
`state.models.table`; `tests/state/models/test_every_model.py` holds what all of them promise.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from schemas.events.rides import Bools, Float32s, Float64s, Int64s, UInt64s
from schemas.records.records import Fallback
from state.demand.calendar import Calendar
from state.demand.features import FEATURES, build, matrix_digest
from state.demand.history import Arrays, CountHistory
from state.demand.seasons import profile


class SlotView:
    """What mean models see when a slot has closed; what several of them need is computed once.

    Args:
        history: It ends with the slot.
        columns: int64[n], columns in the history of the cells to forecast.
        quiet: bool[n], cells with too few rides for a model of their own; see `state.models.quiet`.
    """

    def __init__(self, history: CountHistory, calendar: Calendar, slot: int, columns: Int64s, quiet: Bools) -> None:
        self.history, self.calendar, self.slot = history, calendar, slot
        self.columns, self.quiet = columns, quiet
        self._built: list[Float32s] = []

    @cached_property
    def baseline(self) -> Float64s:
        """The profile of every cell: float64[n, n_horizons], rides."""
        return profile(self.history, self.calendar, self.slot, self.columns, self.calendar.horizons)

    def features(self, rows: Int64s) -> Float32s:
        """Features of some of the cells: float32[len(rows), len(FEATURES)]. Their digest is recorded with the issue."""
        self._built.append(build(self.history, self.calendar, self.slot, self.columns[rows]))
        return self._built[-1]

    def features_digest(self) -> bytes:
        """SHA-256 of the matrix that models asked for."""
        return matrix_digest(np.concatenate([np.empty((0, len(FEATURES)), np.float32), *self._built]))


class MeanModel(Protocol):
    """Mean rides of the cells that it serves. It keeps no state: two calls with the same view give the same bits."""

    @property
    def fallback(self) -> Fallback:
        """What a forecast made by it says."""

    @property
    def corrected(self) -> bool:
        """Whether correctors change its means and learn from its errors."""

    @property
    def dispersion_milli(self) -> tuple[int, ...]:
        """Dispersion of the counts around its means, per horizon, 1/1000."""

    def serves(self, view: SlotView) -> Bools:
        """Which cells it can forecast: bool[n]."""

    def forecast(self, view: SlotView, rows: Int64s) -> Float64s:
        """Mean rides of some of the cells that it serves, > 0 or 0 without any past: float64[len(rows), n_horizons].

        The means of a cell must not depend on which other cells are asked for.
        """


@dataclass(frozen=True, slots=True)
class Correction:
    """What a corrector saw and said of m cells at one issue.

    Attributes:
        means: float64[m, n_horizons], before this corrector.
        inputs: float64[m, n_horizons, k], as `Corrector.inputs` gave them.
        predicted: float64[m, n_horizons], as `Corrector.predict` gave them.
    """

    means: Float64s
    inputs: Float64s
    predicted: Float64s


@dataclass(frozen=True, slots=True)
class Outcome:
    """Windows of one horizon that came true: n cells that were corrected.

    Attributes:
        horizon: Index of the horizon.
        cells: uint64[n], ascending.
        inputs: float64[n, k], as they were at the issue.
        means: float64[n], before correction.
        predicted: float64[n], what was predicted at the issue.
        truth: float64[n], rides.
    """

    horizon: int
    cells: UInt64s
    inputs: Float64s
    means: Float64s
    predicted: Float64s
    truth: Float64s


class Corrector(Protocol):
    """Learns at every close what the means get wrong right now. A cell's numbers do not depend on the cells beside it.

    At every close come `observe`, then for the issue `inputs`, `predict` and `correct`, then `learn`; once a
    day `keep_only`. What is asked at an issue changes no state.
    """

    @property
    def weight_milli(self) -> int:
        """Share of what it predicts that enters the mean, 1/1000."""

    def inputs(self, cells: UInt64s, means: Float64s, dispersion_milli: tuple[int, ...]) -> Float64s:
        """What it sees of each cell and horizon: float64[n, n_horizons, k].

        Args:
            cells: uint64[n], ascending.
            means: float64[n, n_horizons], before it.
        """

    def predict(self, inputs: Float64s) -> Float64s:
        """What it expects the means to get wrong: float64[n, n_horizons]."""

    def correct(self, means: Float64s, predicted: Float64s, dispersion_milli: tuple[int, ...]) -> Float64s:
        """The means put right: float64[n, n_horizons], > 0 where they were."""

    def observe(self, outcomes: list[Outcome], dispersion_milli: tuple[int, ...]) -> None:
        """Take in the errors of windows that just came true, so that this close's issue sees them."""

    def learn(self, outcomes: list[Outcome], dispersion_milli: tuple[int, ...]) -> None:
        """Learn from the same windows, for the issues after this close's."""

    def keep_only(self, cells: UInt64s) -> None:
        """Forget all other cells, so that the state stays bounded."""

    def to_arrays(self) -> Arrays:
        """The state as arrays: `from_arrays` restores it to the last bit. Their names start with the name of its row."""

    def from_arrays(self, arrays: Arrays) -> None:
        """Become the corrector whose `to_arrays` gave these; there may be other arrays among them."""
