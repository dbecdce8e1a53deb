"""The interfaces of demand models: a mean model forecasts cells, a corrector corrects the means.

The first mean model of the table that can serve a cell serves it. If the model is `corrected`, its means then
pass through every corrector, in table order. `state.models.table` lists the models;
`tests/state/models/test_every_model.py` checks the contract of each.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from schemas.errors import ContractError
from schemas.events.rides import Bools, Float32s, Float64s, Int64s, UInt64s
from schemas.records.records import Fallback
from state.demand.calendar import Calendar
from state.demand.covariates import NONE_KNOWN, Covariates
from state.demand.feature_table import FeatureTable
from state.demand.features import FIRST_TABLE, build, matrix_bytes
from state.demand.history import Arrays, CountHistory
from state.demand.seasons import profile


class SlotView:
    """Input of mean models after a slot has closed; data that several models need is computed once.

    Args:
        history: Ends with the slot.
        columns: int64[n], columns in the history of the cells to forecast.
        quiet: bool[n], cells with too few rides for a model of their own; see `state.models.quiet`.
        covariates: Of the region.
    """

    def __init__(
        self,
        history: CountHistory,
        calendar: Calendar,
        slot: int,
        columns: Int64s,
        quiet: Bools,
        covariates: Covariates = NONE_KNOWN,
    ) -> None:
        self.history, self.calendar, self.slot = history, calendar, slot
        self.columns, self.quiet, self.covariates = columns, quiet, covariates
        self._built: dict[FeatureTable, list[Float32s]] = {}

    @cached_property
    def baseline(self) -> Float64s:
        """The profile of every cell: float64[n, n_horizons], rides."""
        return profile(self.history, self.calendar, self.slot, self.columns, self.calendar.horizons)

    def features(self, rows: Int64s, table: FeatureTable) -> Float32s:
        """Features of some of the cells: float32[len(rows), len(table)]. Their digest is recorded with the issue.

        Raises:
            ContractError: the history does not track what the table needs.
        """
        if table.tracked and not self.history.tracked:
            raise ContractError(f"features: expected a history that tracks levels, for table {table.version}; got one without")
        built = build(self.history, self.calendar, self.slot, self.columns[rows], table, self.covariates)
        self._built.setdefault(table, []).append(built)
        return built

    def feature_bytes(self) -> bytes:
        """The feature matrix that models used, as bytes; their SHA-256 is recorded with the issue.

        Of several matrices, the digests of their bytes, in order of their tables' versions.
        """
        built = self._built or {FIRST_TABLE: []}
        ordered = sorted(built, key=lambda table: table.version)
        matrices = [matrix_bytes(_joined(built[table], len(table))) for table in ordered]
        return matrices[0] if len(matrices) == 1 else b"".join(hashlib.sha256(matrix).digest() for matrix in matrices)


def _joined(matrices: list[Float32s], columns: int) -> Float32s:
    """Matrices below each other: float32[n, columns]."""
    return matrices[0] if len(matrices) == 1 else np.concatenate([np.empty((0, columns), np.float32), *matrices])


class MeanModel(Protocol):
    """Forecasts mean rides of the cells that it serves. Stateless: two calls with the same view give the same bits."""

    @property
    def fallback(self) -> Fallback:
        """The fallback that its forecasts are labelled with."""

    @property
    def corrected(self) -> bool:
        """Whether correctors change its means and learn from its errors."""

    @property
    def dispersion_milli(self) -> tuple[int, ...]:
        """Dispersion of the counts around its means, per horizon, 1/1000."""

    def serves(self, view: SlotView) -> Bools:
        """Whether it can forecast each cell: bool[n]."""

    def forecast(self, view: SlotView, rows: Int64s) -> Float64s:
        """Mean rides of some of the cells that it serves, > 0, or 0 without past data: float64[len(rows), n_horizons].

        The means of a cell must not depend on the other cells in the call.
        """


@dataclass(frozen=True, slots=True)
class Correction:
    """Inputs and outputs of a corrector for m cells at one issue.

    Attributes:
        means: float64[m, n_horizons], before this corrector.
        inputs: float64[m, n_horizons, k], from `Corrector.inputs`.
        predicted: float64[m, n_horizons], from `Corrector.predict`.
    """

    means: Float64s
    inputs: Float64s
    predicted: Float64s


@dataclass(frozen=True, slots=True)
class Outcome:
    """Ended windows of one horizon, for n corrected cells.

    Attributes:
        horizon: Index of the horizon.
        cells: uint64[n], ascending.
        inputs: float64[n, k], at the issue.
        means: float64[n], before correction.
        predicted: float64[n], predicted at the issue.
        truth: float64[n], rides.
    """

    horizon: int
    cells: UInt64s
    inputs: Float64s
    means: Float64s
    predicted: Float64s
    truth: Float64s


class Corrector(Protocol):
    """Learns the current errors of the means at every close. A cell's numbers do not depend on the other cells in a call.

    Call order at every close: `observe`; `watch` of a `Watcher`; `inputs`, `predict` and `correct` for the issue; `learn`. Once a day
    `keep_only`. The three calls for the issue must not change state.
    """

    @property
    def weight_milli(self) -> int:
        """Share of the prediction that is added to the mean, 1/1000."""

    def inputs(self, cells: UInt64s, means: Float64s, dispersion_milli: tuple[int, ...]) -> Float64s:
        """Inputs for each cell and horizon: float64[n, n_horizons, k].

        Args:
            cells: uint64[n], ascending.
            means: float64[n, n_horizons], before correction.
        """

    def predict(self, inputs: Float64s) -> Float64s:
        """Predicted errors of the means: float64[n, n_horizons]."""

    def correct(self, means: Float64s, predicted: Float64s, dispersion_milli: tuple[int, ...]) -> Float64s:
        """Corrected means: float64[n, n_horizons], > 0 where the means are."""

    def observe(self, outcomes: list[Outcome], dispersion_milli: tuple[int, ...]) -> None:
        """Add the errors of windows that have just ended, so that the issue of this close uses them."""

    def learn(self, outcomes: list[Outcome], dispersion_milli: tuple[int, ...]) -> None:
        """Learn from the same windows, for later issues."""

    def keep_only(self, cells: UInt64s) -> None:
        """Drop all other cells, so that the state stays bounded."""

    def to_arrays(self) -> Arrays:
        """The state as arrays, which `from_arrays` restores bit for bit. Their names start with the name of its row."""

    def from_arrays(self, arrays: Arrays) -> None:
        """Restore the state that `to_arrays` returned; other arrays are ignored."""


@runtime_checkable
class Watcher(Protocol):
    """What a corrector has besides, if it reads the history at every close, and not only ended windows."""

    def watch(self, view: SlotView, rows: Int64s, means: Float64s, plain: Float64s) -> None:
        """Take in the slot that has closed; called once per close, after `observe` and before `inputs`.

        Args:
            rows: All cells that are corrected.
            means, plain: float64[len(rows), n_horizons], before this corrector and before all correctors.
        """
