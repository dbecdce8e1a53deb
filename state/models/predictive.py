"""The predictive distribution of a count: a negative binomial, recalibrated by its band's levels; its F(y) and its quantiles.

F is computed from what is served: mean and dispersion in the chunk, levels in the header of the issue. So anyone gets the
same numbers. Variance = mean + dispersion x mean^2; without dispersion it is Poisson.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from schemas.events.rides import Float64s, Int64s
from schemas.records.records import HorizonSpread
from state.models.intervals import LOWER_MILLI, MEDIAN_MILLI, UPPER_MILLI

NOMINAL = (LOWER_MILLI / 1000, MEDIAN_MILLI / 1000, UPPER_MILLI / 1000)  # probabilities of lower, median and upper
HIGHEST_LEVEL = 0.99
# By Cantelli's inequality no quantile up to HIGHEST_LEVEL is further above the mean.
DEVIATIONS = 10.0
# Distributions are tabulated in groups of so many counts; where more are needed, quantiles are searched for. A table begins
# with the probability of no ride, which is no longer a number above 0 for means above 745.
TABLES = (4, 16, 64, 256, 512)
# Small tables, and those of many distributions, take longer than one count after the other: most end after a few.
STEPPED_SIZE, STEPPED_ROWS = 64, 1_000


@dataclass(frozen=True, slots=True)
class Predictive:
    """Distributions of n counts.

    Attributes:
        means: float64[n], rides.
        dispersion: float64[n].
        levels: float64[n, 3], values of the negative binomial's F that become NOMINAL, ascending.
    """

    means: Float64s
    dispersion: Float64s
    levels: Float64s

    def cdf(self, counts: Int64s) -> Float64s:
        """Probability of each count or fewer: float64[n]; 0 below a count of 0."""
        return recalibrated(negative_binomial(counts, self.means, self.dispersion), self.levels)

    def around(self, counts: Int64s, known: "tuple[Float64s, Float64s] | None" = None) -> tuple[Float64s, Float64s]:
        """F(y - 1) and F(y) of each count: float64[n] twice.

        Args:
            known: The same before recalibration, as from the function `around`, if the caller has it.
        """
        below, until = around(counts, self.means, self.dispersion) if known is None else (known[0].copy(), known[1])
        rows = np.flatnonzero(counts > 0)  # For the others F(y - 1) stays 0.
        below[rows] = recalibrated(below[rows], self.levels[rows])
        return below, recalibrated(until, self.levels)

    def quantiles(self) -> Int64s:
        """Lower, median and upper, whole rides: int64[n, 3]. A quantile is the number of counts with F below its level."""
        out = np.zeros((len(self.means), 3), np.int64)
        none = no_ride(self.means, self.dispersion)
        left = np.flatnonzero(none < self.levels[:, 2])  # For the others, all three are 0.
        law = self[left]
        for rows, size in in_groups(law.reach()):
            some = law[rows]
            if size > TABLES[-1]:
                out[left[rows]] = _searched(some)
            elif size <= STEPPED_SIZE or len(rows) >= STEPPED_ROWS:
                out[left[rows]] = stepped(some, none[left[rows]])
            else:
                out[left[rows]] = tabulated(some, size)
        return out

    def reach(self) -> Int64s:
        """A count that no quantile exceeds: int64[n]."""
        return np.ceil(self.means + DEVIATIONS * np.sqrt(self.means + self.dispersion * self.means**2)).astype(np.int64)

    def __getitem__(self, rows: Int64s) -> "Predictive":
        """Some of the distributions."""
        return Predictive(self.means[rows], self.dispersion[rows], self.levels[rows])


def predictive(spread: HorizonSpread, mean_milli: Int64s, dispersion_milli: Int64s) -> Predictive:
    """The distributions that a horizon of an issue serves, from its header and the numbers of its chunks.

    >>> spread = HorizonSpread(horizon_min=15, dispersion_milli=150, quiet_dispersion_milli=150, lower_milli=100, upper_milli=900)
    >>> predictive(spread, np.array([10_000]), np.array([0])).quantiles()
    array([[ 6, 10, 14]])
    """
    nominal = (spread.lower_milli, MEDIAN_MILLI, spread.upper_milli)
    table = np.array([(band.lower_milli, band.median_milli, band.upper_milli) for band in spread.bands] or [nominal]) / 1000
    starts = np.array([band.from_milli for band in spread.bands] or [0], np.int64)
    bands = np.maximum(np.searchsorted(starts, mean_milli, side="right") - 1, 0)
    return Predictive(mean_milli / 1000, dispersion_milli / 1000, table[bands])


def confidence(law: Predictive, medians: Int64s) -> Float64s:
    """Probability of a count within one ride or a quarter of the median, whichever is larger: float64[n], 0 to 1.

    >>> spread = HorizonSpread(horizon_min=15, dispersion_milli=150, quiet_dispersion_milli=150, lower_milli=100, upper_milli=900)
    >>> confidence(predictive(spread, np.array([10, 10_000]), np.array([0, 150])), np.array([0, 9])).round(3)
    array([1.   , 0.402])
    """
    near = np.maximum(medians // 4, 1)
    return np.asarray(law.cdf(medians + near) - law.cdf(medians - near - 1), np.float64)


def joined(laws: Sequence[Predictive]) -> Predictive:
    """Distributions one after the other."""
    return Predictive(*(np.concatenate([getattr(law, name) for law in laws]) for name in ("means", "dispersion", "levels")))


def no_ride(means: Float64s, dispersion: Float64s) -> Float64s:
    """Probability of no ride, before recalibration: float64[n]."""
    wide = dispersion > 0.0
    size = 1.0 / np.where(wide, dispersion, 1.0)
    return np.asarray(np.exp(np.where(wide, -np.log(1.0 + dispersion * means) * size, -means)), np.float64)


def negative_binomial(counts: Int64s, means: Float64s, dispersion: Float64s, none: Float64s | None = None) -> Float64s:
    """Probability of each count or fewer, before recalibration: float64[n].

    Args:
        none: What `no_ride` returns, if the caller has it.

    Source:
        M. Abramowitz and I. Stegun (1964), 26.5.26: the negative binomial as an incomplete beta function.

    >>> negative_binomial(np.array([-1, 0, 1]), np.ones(3), np.zeros(3)).round(4)
    array([0.    , 0.3679, 0.7358])
    """
    from scipy import special  # type: ignore[import-untyped]

    out = no_ride(means, dispersion) if none is None else none.copy()
    ones = np.flatnonzero(counts == 1)
    out[ones] *= 1.0 + means[ones] / (1.0 + dispersion[ones] * means[ones])
    more = np.flatnonzero(counts > 1)  # Most cells are quiet: few counts need the slow function.
    wide = dispersion[more] > 0.0
    spread, poisson = more[wide], more[~wide]
    out[spread] = special.betainc(1.0 / dispersion[spread], counts[spread] + 1.0, 1.0 / (1.0 + dispersion[spread] * means[spread]))
    out[poisson] = special.gammaincc(counts[poisson] + 1.0, means[poisson])
    out[counts < 0] = 0.0
    return np.asarray(out, np.float64)


def around(counts: Int64s, means: Float64s, dispersion: Float64s) -> tuple[Float64s, Float64s]:
    """F(y - 1) and F(y) of each count, before recalibration: float64[n] twice."""
    below, rows = np.zeros(len(counts)), np.flatnonzero(counts > 0)
    none = no_ride(means, dispersion)
    below[rows] = negative_binomial(counts[rows] - 1, means[rows], dispersion[rows], none[rows])
    return below, negative_binomial(counts, means, dispersion, none)


def recalibrated(probabilities: Float64s, levels: Float64s) -> Float64s:
    """Piecewise linear map of probabilities that takes 0, the levels and 1 to 0, NOMINAL and 1: float64[n, ...].

    Args:
        levels: float64[n, 3], ascending within (0, 1).
    """
    out = np.zeros(probabilities.shape)
    wide = (slice(None), *[None] * (probabilities.ndim - 1))
    low, value = np.zeros(len(levels)), 0.0
    for high, after in zip((*levels.T, np.ones(len(levels))), (*NOMINAL, 1.0), strict=True):
        out += (after - value) * np.clip((probabilities - low[wide]) / (high - low)[wide], 0.0, 1.0)
        low, value = high, after
    return out


def in_groups(counts: Int64s) -> Iterator[tuple[Int64s, int]]:
    """Rows by the size of the table that reaches their count, and that size; the last group needs more than TABLES has.

    >>> [(rows.tolist(), size) for rows, size in in_groups(np.array([3, 70, 2, 5000]))]
    [([0, 2], 4), ([1], 256), ([3], 5001)]
    """
    place = np.searchsorted(TABLES, counts, side="right")
    for i in np.unique(place).tolist():
        rows = np.flatnonzero(place == i)
        yield rows, TABLES[i] if i < len(TABLES) else int(counts[rows].max()) + 1


def cumulative(means: Float64s, dispersion: Float64s, size: int) -> Float64s:
    """Probability of 0, 1, ... size - 1 rides or fewer, before recalibration: float64[n, size]."""
    each = np.empty((len(means), size))
    each[:, 0] = no_ride(means, dispersion)
    counts = np.arange(size - 1.0)
    # Each probability is a multiple of the one before.
    each[:, 1:] = (means / (1.0 + dispersion * means))[:, None] * (1.0 + dispersion[:, None] * counts) / (counts + 1.0)
    np.multiply.accumulate(each, axis=1, out=each)
    return np.minimum(np.add.accumulate(each, axis=1), 1.0)


def tabulated(law: Predictive, size: int) -> Int64s:
    """Quantiles from tables of so many counts, which must reach them: int64[n, 3]."""
    table = cumulative(law.means, law.dispersion, size)
    return np.stack([(table < law.levels[:, i, None]).sum(axis=1) for i in range(3)], axis=1)


def stepped(law: Predictive, none: Float64s) -> Int64s:
    """Quantiles by adding up the probabilities of 0, 1, ... rides: int64[n, 3]; the same as from tables, to the last bit.

    Args:
        none: float64[n], the probabilities of no ride.
    """
    out = np.zeros((len(law.means), 3), np.int64)
    rows, found = np.arange(len(law.means)), np.zeros((3, len(law.means)), np.int64)
    each, total, levels = none, none, np.ascontiguousarray(law.levels.T)
    ratio, dispersion = law.means / (1.0 + law.dispersion * law.means), law.dispersion
    count = 0.0
    while len(rows):
        below = total < levels
        found += below
        left = np.flatnonzero(below[2])
        if 2 * len(left) < len(rows):  # The others count no further; they are only dropped when they are many.
            out[rows] = found.T
            rows, found, levels = rows[left], found[:, left], levels[:, left]
            each, total, ratio, dispersion = (of[left] for of in (each, total, ratio, dispersion))
        each = each * (ratio * (1.0 + dispersion * count) / (count + 1.0))
        total = total + each
        count += 1.0
    return out


def _searched(law: Predictive) -> Int64s:
    """Quantiles by binary search: int64[n, 3]."""
    out = np.empty((len(law.means), 3), np.int64)
    for i in range(3):
        low, high = np.zeros(len(law.means), np.int64), law.reach()
        while (low < high).any():
            middle = (low + high) // 2
            enough = negative_binomial(middle, law.means, law.dispersion) >= law.levels[:, i]
            high = np.where(enough, middle, high)
            low = np.where(enough, low, np.minimum(middle + 1, high))
        out[:, i] = low
    return out
