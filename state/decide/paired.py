"""Paired losses of two forecasters of the same cells and slots, summed by block of time, horizon and band of cells."""

from dataclasses import dataclass

import numpy as np

from schemas.errors import ContractError
from schemas.events.rides import Float64s, Int64s
from schemas.forecasts.chunks import ForecastColumns
from state.demand.history import Arrays
from state.forecast.evaluation import BUSY_PER_15_MIN, MEDIUM_PER_15_MIN
from state.models.chances import COVERED, chance_within
from state.models.predictive import around

CHAMPION, CHALLENGER = 0, 1
SQUARE, ABSOLUTE = 0, 1
LOSSES = ("squared error of the mean", "absolute error of the median")
BANDS = ("busy", "medium", "quiet")
BY_FORECASTER = ("losses", "means", "inside")  # sums whose second axis is the forecaster
MILLI = 1000.0
WHOLE_SHARE = 0.9  # of the issues of a block that must have been scored; else the block says too little, or about other hours


@dataclass(frozen=True, slots=True)
class Pair:
    """What champion and challenger forecast at one slot, for the same cells."""

    champion: ForecastColumns
    challenger: ForecastColumns


class PairedLosses:
    """Sums over the pairs of a trial.

    Args:
        horizons_min: Of the region.
        block_slots: Length of a block; a block is numbered slot // block_slots.

    Attributes:
        blocks: int64[b], ascending.
        issues: int64[b, h], how many issues were scored.
        losses: float64[b, 2 forecasters, 2 losses, h, 3 bands].
        means, inside: float64[b, 2 forecasters, h, 3 bands]: sum of the means, and expected number of forecasts whose
            randomised PIT is in [0.1, 0.9].
        truth, pairs: float64[b, h, 3 bands]: rides, and number of forecasts.
    """

    def __init__(self, horizons_min: tuple[int, ...], slot_min: int, block_slots: int) -> None:
        self.horizons_min, self.slot_min, self.block_slots = horizons_min, slot_min, block_slots
        h, bands = len(horizons_min), len(BANDS)
        self.blocks: Int64s = np.empty(0, np.int64)
        self.issues: Int64s = np.empty((0, h), np.int64)
        self.losses: Float64s = np.empty((0, 2, len(LOSSES), h, bands))
        self.means: Float64s = np.empty((0, 2, h, bands))
        self.inside: Float64s = np.empty((0, 2, h, bands))
        self.truth: Float64s = np.empty((0, h, bands))
        self.pairs: Float64s = np.empty((0, h, bands))

    def add(self, slot: int, i: int, pair: Pair, truth: Int64s) -> None:
        """Score one horizon of an issue.

        Args:
            slot: Of the issue.
            i: Which horizon.
            pair: Both forecasts.
            truth: int64[n], rides per cell of the pair.
        Raises:
            ContractError: the two are not of the same cells.
        """
        if not np.array_equal(pair.champion.cells, pair.challenger.cells):
            raise ContractError(
                f"paired losses, slot {slot}: expected forecasts of the champion's {len(pair.champion)} cells, "
                f"got {len(pair.challenger)} cells that are not the same"
            )
        at = self._row(slot // self.block_slots)
        self.issues[at, i] += 1
        if not len(truth):
            return
        band = bands_of(pair.champion, self.horizons_min)
        rides = truth.astype(np.float64)
        self.truth[at, i] += _sums(band, rides)
        self.pairs[at, i] += _sums(band, np.ones(len(rides)))
        for which, columns in enumerate((pair.champion, pair.challenger)):
            mean, median = columns.mean[:, i] / MILLI, columns.median[:, i] / MILLI
            self.losses[at, which, SQUARE, i] += _sums(band, (rides - mean) ** 2)
            self.losses[at, which, ABSOLUTE, i] += _sums(band, np.abs(rides - median))
            self.means[at, which, i] += _sums(band, mean)
            self.inside[at, which, i] += _sums(band, share_inside(truth, mean, columns.dispersion[:, i] / MILLI))

    def whole(self, until_slot: int | None = None) -> Int64s:
        """Rows of the blocks that have ended by a slot, and in which nearly every issue was scored: int64[m]."""
        enough = (self.issues >= WHOLE_SHARE * self.block_slots).all(axis=1)
        if until_slot is not None:
            enough &= (self.blocks + 1) * self.block_slots <= until_slot
        return np.flatnonzero(enough)

    def differences(self, rows: Int64s) -> Float64s:
        """Log of the challenger's loss over the champion's per block, mean over losses and horizons: float64[m]; < 0 is better.

        All cells count, so that busy ones, which have most of the loss, weigh most.
        """
        total = self.losses[rows].sum(axis=-1)
        known = (total > 0).all(axis=1)  # without any loss, as at night in a small town, there is nothing to compare
        ratio = np.zeros(known.shape)
        np.log(np.divide(total[:, CHALLENGER], total[:, CHAMPION], out=np.ones(known.shape), where=known), out=ratio)
        ratio[~known] = 0.0
        count = known.sum(axis=(1, 2))
        mean: Float64s = ratio.sum(axis=(1, 2)) / np.maximum(count, 1)
        return mean

    def turned(self) -> "PairedLosses":
        """The same sums with champion and challenger exchanged."""
        other = PairedLosses(self.horizons_min, self.slot_min, self.block_slots)
        turned = {name: array[:, ::-1] if name in BY_FORECASTER else array for name, array in self.to_arrays().items()}
        other.from_arrays({name: array.copy() for name, array in turned.items()})
        return other

    def to_arrays(self) -> Arrays:
        """The sums, for keeping."""
        return {name: getattr(self, name) for name in ("blocks", "issues", "losses", "means", "inside", "truth", "pairs")}

    def from_arrays(self, arrays: Arrays) -> None:
        """Go on with the sums that `to_arrays` returned."""
        for name, array in self.to_arrays().items():
            if arrays[name].shape[1:] != array.shape[1:]:
                raise ContractError(f"paired losses: {name}: expected shape [b, {array.shape[1:]}], got {arrays[name].shape}")
            setattr(self, name, arrays[name].astype(array.dtype))

    def _row(self, block: int) -> int:
        if len(self.blocks) and self.blocks[-1] == block:
            return len(self.blocks) - 1
        place = int(np.searchsorted(self.blocks, block))
        if place == len(self.blocks) or self.blocks[place] != block:
            for name, array in self.to_arrays().items():
                setattr(self, name, np.insert(array, place, block if name == "blocks" else 0, axis=0))
        return place


def bands_of(columns: ForecastColumns, horizons_min: tuple[int, ...]) -> Int64s:
    """Band of each cell by its profile at the time of the issue: int64[n], index into BANDS."""
    per_15_min = columns.baseline[:, 0] / MILLI * (15.0 / horizons_min[0])
    bands: Int64s = np.select([per_15_min >= BUSY_PER_15_MIN, per_15_min >= MEDIUM_PER_15_MIN], [0, 1], 2).astype(np.int64)
    return bands


def share_inside(truth: Int64s, mean: Float64s, dispersion: Float64s) -> Float64s:
    """Chance that the randomised PIT of a count is in [0.1, 0.9] under a negative binomial: float64[n].

    Its expectation over the randomisation, so that no random numbers are needed: the share of [F(y - 1), F(y)] in [0.1, 0.9].

    Source:
        C. Czado, T. Gneiting and L. Held (2009), Predictive model assessment for count data, Biometrics 65.

    >>> share_inside(np.array([0]), np.array([0.1]), np.array([0.0])).round(3)  # F(0) = 0.905
    array([0.884])
    """
    return chance_within(*around(truth, mean, dispersion), COVERED)


def _sums(band: Int64s, values: Float64s) -> Float64s:
    return np.bincount(band, values, len(BANDS)).astype(np.float64)
