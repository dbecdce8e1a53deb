"""How well predictive distributions fit: the randomised PIT, its histogram, and the CRPS. Pure arithmetic.

The PIT of a count y is u = F(y - 1) + v (F(y) - F(y - 1)), where v is uniform in [0, 1). If the counts follow the
distributions, u is uniform too, for counts of any size: also in a cell that has a ride once a week.

v is not drawn but derived, so that anyone gets the same u: of the SHA-256 of

- the region's id in UTF-8, and one zero byte,
- the cell's code, 8 bytes, unsigned, big-endian,
- the number of the closed slot at whose cut the forecast was issued, 8 bytes, signed, big-endian,
- the horizon in minutes, 4 bytes, unsigned, big-endian,

take the first 8 bytes as an unsigned big-endian integer, drop its last 11 bits, and divide by 2^53.
"""

import hashlib

import numpy as np

from schemas.events.rides import Float64s, Int64s, UInt64s
from state.models.chances import COVERED
from state.models.intervals import MEDIAN_MILLI, quantiles
from state.models.predictive import TABLES, Predictive, cumulative, in_groups, negative_binomial, recalibrated

PIT_BINS = 20


class Uniforms:
    """The numbers v of one region's cells.

    Args:
        region: Its id.
        cells: uint64[n].
    """

    def __init__(self, region: str, cells: UInt64s) -> None:
        head = region.encode() + b"\0"
        codes = cells.astype(">u8").tobytes()
        self._heads = [head + codes[at : at + 8] for at in range(0, len(codes), 8)]

    def at(self, slot: int, horizon_min: int) -> Float64s:
        """v of every cell for an issue and horizon: float64[n], [0, 1). One digest each, 0.4 microseconds.

        >>> digest = hashlib.sha256(b"nyc" + bytes(8) + b"\\x01" + bytes(7) + b"\\x02" + bytes(3) + b"\\x0f").digest()
        >>> (int.from_bytes(digest[:8]) >> 11) / 2**53 == Uniforms("nyc", np.array([1], np.uint64)).at(2, 15)[0]
        np.True_
        """
        tail, sha256 = slot.to_bytes(8, "big", signed=True) + horizon_min.to_bytes(4, "big"), hashlib.sha256
        digests = b"".join([sha256(head + tail).digest() for head in self._heads])
        first = np.frombuffer(digests, ">u8").reshape(-1, 4)[:, 0].astype(np.uint64)
        return np.asarray((first >> np.uint64(11)) / 2.0**53, np.float64)


def pit(law: Predictive, counts: Int64s, uniforms: Float64s) -> Float64s:
    """Randomised PIT of each count: float64[n], 0 to 1.

    Source:
        C. Czado, T. Gneiting and L. Held (2009), Predictive model assessment for count data, Biometrics 65.
    """
    below, until = law.around(counts)
    return np.asarray(below + uniforms * (until - below), np.float64)


def covered(pits: Float64s) -> Float64s:
    """1 for each PIT inside the central 80 %, else 0: float64[n].

    >>> covered(np.array([0.05, 0.1, 0.5, 0.95])).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    return np.asarray((pits >= COVERED[0]) & (pits <= COVERED[1]), np.float64)


def histogram(pits: Float64s, groups: Int64s, n_groups: int) -> Int64s:
    """PITs per group and twentieth of [0, 1]: int64[n_groups, PIT_BINS].

    >>> histogram(np.array([0.0, 0.049, 1.0]), np.array([0, 0, 1]), 2)[:, [0, 19]].tolist()
    [[2, 0], [0, 1]]
    """
    bins = np.minimum((pits * PIT_BINS).astype(np.int64), PIT_BINS - 1)
    return np.bincount(groups * PIT_BINS + bins, minlength=n_groups * PIT_BINS).reshape(n_groups, PIT_BINS)


def crps(law: Predictive, counts: Int64s) -> Float64s:
    """Continuous ranked probability score of each count, rides: float64[n]. Of a forecast of one number it is the absolute error.

    It is the sum over k = 0, 1, 2, ... of (F(k) - [k >= y])^2, up to a count far above the mean and y.

    Source:
        T. Gneiting and A. Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA 102.
    """
    out = np.zeros(len(counts))
    for rows, size in in_groups(np.maximum(law.reach() + 2, counts)):
        some = law[rows]
        if size > TABLES[-1]:  # Few; the table of each is as long as it must be.
            for row in rows.tolist():
                one = np.arange(max(int(law[np.array([row])].reach()[0]), int(counts[row])) + 1)
                reached = law[np.full(len(one), row)].cdf(one)
                out[row] = ((reached - (one >= counts[row])) ** 2).sum()
            continue
        reached = recalibrated(cumulative(some.means, some.dispersion, size), some.levels)
        out[rows] = ((reached - (np.arange(size) >= counts[rows, None])) ** 2).sum(axis=1)
    return out


def poisson_error(means: Float64s) -> Float64s:
    """Expected absolute error of the median, if counts are Poisson with these means: float64[n], rides.

    E|Y - q| = 2 (q F(q) - mean F(q - 1)) + mean - q.

    >>> poisson_error(np.array([0.0, 0.5, 4.0])).round(4)
    array([0.    , 0.5   , 1.5629])
    """
    none = np.zeros(len(means))
    medians = quantiles(means, 0, MEDIAN_MILLI)
    until, below = (negative_binomial(counts, means, none) for counts in (medians, medians - 1))
    return np.asarray(2.0 * (medians * until - means * below) + means - medians, np.float64)


def share(hits: float, pairs: float) -> float | None:
    """Share of hits; None without pairs.

    >>> share(8.0, 10.0), share(0.0, 0.0)
    (0.8, None)
    """
    return float(hits) / float(pairs) if pairs else None
