"""Prediction intervals: quantiles of the negative binomial around a mean, by thresholds instead of root finding.

The quantile q(p) of a count grows by one each time the mean passes a threshold, so that the quantiles of
thousands of cells take one vectorised binary search. Variance = mean + dispersion x mean^2.
"""

from functools import lru_cache

import numpy as np

from schemas.events.rides import Float64s, Int64s

LOWER_MILLI, MEDIAN_MILLI, UPPER_MILLI = 100, 500, 900  # an 80 % interval and the median
TABLE = 512  # thresholds in a table; beyond it a gamma of the same mean and variance is within half a percent


@lru_cache(maxsize=64)
def thresholds(probability_milli: int, dispersion_milli: int) -> Float64s:
    """Means at which the quantile becomes 1, 2, ... TABLE: float64[TABLE], ascending.

    At threshold j the probability of j - 1 or fewer rides is exactly the given one.

    Source:
        M. Abramowitz and I. Stegun (1964), 26.5.26: the negative binomial as an incomplete beta function.

    >>> thresholds(500, 0)[0].round(6)  # a Poisson count's median leaves 0 at log 2
    np.float64(0.693147)
    """
    from scipy import special  # type: ignore[import-untyped]

    p = probability_milli / 1000
    below = np.arange(TABLE, dtype=np.float64)
    if dispersion_milli == 0:
        return np.asarray(special.gammainccinv(below + 1.0, p), np.float64)
    size = 1000 / dispersion_milli
    success = special.betaincinv(size, below + 1.0, p)
    return np.asarray(size * (1.0 - success) / success, np.float64)


def quantiles(means: Float64s, dispersion_milli: int, probability_milli: int) -> Int64s:
    """Quantile of each mean, whole rides: int64[n]."""
    table = thresholds(probability_milli, dispersion_milli)
    found = np.searchsorted(table, means, side="left")
    large = found >= TABLE
    if large.any():
        from scipy import special

        scale = 1.0 + dispersion_milli / 1000 * means[large]  # variance over mean
        found[large] = np.rint(special.gammaincinv(means[large] / scale, probability_milli / 1000) * scale).astype(np.int64)
    return np.asarray(found, np.int64)


def dispersion_of(truth: Float64s, means: Float64s) -> int:
    """Dispersion, 1/1000, estimated from squared errors by the method of moments; 0 to 20,000.

    >>> dispersion_of(np.array([0.0, 4.0]), np.array([2.0, 2.0]))
    500
    """
    squares = float((means**2).sum())
    if squares <= 0.0:
        return 0
    excess = float(((truth - means) ** 2 - means).sum())
    return int(min(max(round(1000 * excess / squares), 0), 20_000))
