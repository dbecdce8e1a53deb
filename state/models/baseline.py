"""The baseline as a model: the profile of earlier weeks, for cells that no better model serves."""

import numpy as np

from schemas.events.rides import Bools, Float64s, Int64s
from schemas.records.records import Fallback
from state.models.protocol import SlotView

DISPERSION_MILLI = 150  # until training has fitted one; New York, April 2014, weekday x slot profile


class Baseline:
    """Serves every cell.

    Args:
        dispersion_milli: Per horizon, 1/1000.
    """

    fallback = Fallback.BASELINE
    corrected = False

    def __init__(self, dispersion_milli: tuple[int, ...]) -> None:
        self.dispersion_milli = dispersion_milli

    def serves(self, view: SlotView) -> Bools:
        """All cells: bool[n]."""
        return np.ones(len(view.columns), np.bool_)

    def forecast(self, view: SlotView, rows: Int64s) -> Float64s:
        """The profile of the cells: float64[len(rows), n_horizons], rides."""
        return view.baseline[rows]
