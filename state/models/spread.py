"""How far counts scatter around the means: dispersion and quantile levels per horizon and band, learned from what came true.

Bands are by the mean of the forecast itself, which is in the chunk: a reader can tell the band of a number, and a cell
changes its band with the time of day, as the size of its relative error does. The dispersion of a band comes from decayed moments,
and starts at the dispersion that the model states. What the moments cannot express is corrected by levels: each is moved
after every close, by how many counts fell below it.
"""

import numpy as np

from schemas.events.rides import Float64s, Int64s
from schemas.records.records import BandLevels
from state.demand.history import Arrays
from state.models.chances import chance_within
from state.models.predictive import HIGHEST_LEVEL, NOMINAL, around

BANDS_MILLI = (0, 20, 100, 500, 2_000, 8_000, 32_000)  # least mean of each band, 1/1000 ride per window
HALF_LIFE_DAYS = 7.0  # New York, April 2014: 3 and 7 gave the same coverage
# Weight of the stated dispersion, in squared rides; New York, April 2014: 20, 100 and 500 gave the same coverage.
PRIOR_SQUARES = 100.0
MOST_DISPERSION_MILLI = 20_000
# A count further above its mean counts as if it were here: one event must not widen a band for weeks.
CLIP_DEVIATIONS, CLIP_RIDES = 8.0, 8.0
RATE_PER_DAY = 1.5  # of a level, per unit of missed probability; 0.005 per slot of 5 min
MOST_RATE = 0.02
FULL_CELLS = 10.0  # outcomes of a band in a slot; fewer move its levels less
# A level stays within these, whatever happens, so that lower <= median <= upper.
LEVEL_BOUNDS = ((0.01, 0.3), (0.31, 0.69), (0.7, HIGHEST_LEVEL))


class Spread:
    """Dispersion and levels of one region and measure.

    Args:
        horizons: Number of horizons.
        day_slots: Slots per day, for the half-life and the rate.
    """

    def __init__(self, horizons: int, day_slots: int) -> None:
        shape = (horizons, len(BANDS_MILLI))
        self._forget = 0.5 ** (1.0 / (HALF_LIFE_DAYS * day_slots))
        self._rate = min(RATE_PER_DAY / day_slots, MOST_RATE)
        self._excess, self._squares = np.zeros(shape), np.zeros(shape)
        self._levels: Float64s = np.tile(np.array(NOMINAL), (*shape, 1))

    def dispersion_milli(self, horizon: int, mean_milli: Int64s, stated_milli: int) -> Int64s:
        """Dispersion of counts around these means, 1/1000: int64[n].

        Args:
            stated_milli: The dispersion that the model states.
        """
        excess = self._excess[horizon] + PRIOR_SQUARES * stated_milli / 1000
        table = np.rint(1000 * excess / (self._squares[horizon] + PRIOR_SQUARES)).astype(np.int64)
        return np.asarray(np.clip(table, 0, MOST_DISPERSION_MILLI)[bands_of(mean_milli)], np.int64)

    def bands(self) -> tuple[tuple[BandLevels, ...], ...]:
        """The levels in force, per horizon, as a header records them."""
        table = np.rint(1000 * self._levels).astype(np.int64).tolist()
        return tuple(
            tuple(
                BandLevels(from_milli=start, lower_milli=lower, median_milli=median, upper_milli=upper)
                for start, (lower, median, upper) in zip(BANDS_MILLI, rows, strict=True)
            )
            for rows in table
        )

    def forget(self) -> None:
        """Let the moments decay by one slot."""
        self._excess *= self._forget
        self._squares *= self._forget

    def observe(
        self,
        horizon: int,
        mean_milli: Int64s,
        dispersion_milli: Int64s,
        truth: Int64s,
        known: "tuple[Float64s, Float64s] | None" = None,
    ) -> None:
        """Learn from windows that have just ended.

        Args:
            mean_milli, dispersion_milli: int64[n], as served.
            truth: int64[n], rides.
            known: What `state.models.predictive.around` returns for them, if the caller has it.

        Source:
            I. Gibbs and E. Candes (2021), Adaptive conformal inference under distribution shift, NeurIPS 34: a level
            moves against its last error. The error of a count whose probability lies on both sides is a share of one.
        """
        means, dispersion, bands = mean_milli / 1000, dispersion_milli / 1000, bands_of(mean_milli)
        most = means + CLIP_RIDES + CLIP_DEVIATIONS * np.sqrt(means + dispersion * means**2)
        errors = np.minimum(truth, most) - means
        self._excess[horizon] += pooled(bands, errors**2 - means)
        self._squares[horizon] += pooled(bands, means**2)
        cells = np.bincount(bands, minlength=len(BANDS_MILLI))
        weight = self._rate * np.minimum(cells / FULL_CELLS, 1.0) / np.maximum(cells, 1)
        below, until = around(truth, means, dispersion) if known is None else known
        for i, (probability, (least, most_level)) in enumerate(zip(NOMINAL, LEVEL_BOUNDS, strict=True)):
            missed = probability - chance_within(below, until, (0.0, self._levels[horizon, bands, i]))
            moved = self._levels[horizon, :, i] + weight * pooled(bands, missed)
            self._levels[horizon, :, i] = np.clip(moved, least, most_level)

    def to_arrays(self) -> Arrays:
        """The state as arrays, which `from_arrays` restores bit for bit."""
        return {"spread_excess": self._excess.copy(), "spread_squares": self._squares.copy(), "spread_levels": self._levels.copy()}

    def from_arrays(self, arrays: Arrays) -> None:
        """Restore the state that `to_arrays` returned."""
        self._excess, self._squares, self._levels = (
            arrays[f"spread_{name}"].astype(np.float64) for name in ("excess", "squares", "levels")
        )


def bands_of(mean_milli: Int64s) -> Int64s:
    """The band of each mean, a position in BANDS_MILLI: int64[n].

    >>> bands_of(np.array([0, 19, 20, 40_000])).tolist()
    [0, 0, 1, 6]
    """
    return np.asarray(np.searchsorted(BANDS_MILLI, mean_milli, side="right") - 1, np.int64)


def pooled(bands: Int64s, values: Float64s) -> Float64s:
    """Sum of the values of each band: float64[len(BANDS_MILLI)]."""
    return np.asarray(np.bincount(bands, values, len(BANDS_MILLI)), np.float64)
