"""Where a truth lies in the distribution that was forecast for it, for counts.

A count has jumps in its distribution function, so a calibrated forecast is judged by u = F(y - 1) + v (F(y) - F(y - 1))
with v uniform in [0, 1): then u is uniform too, for busy cells and for quiet ones. Here v is integrated out: instead of one
draw per truth, the probability that u lies in an interval. Its mean over many truths is that of the draws, with less noise.

Quantile levels learn from it, scores count covered cells by it, and trials and fairness judge by it.
"""

import numpy as np

from schemas.events.rides import Float64s

COVERED = (0.1, 0.9)  # of a calibrated forecast, 80 % of the truths
UNDER = (0.5, 1.0)  # the upper half of the distribution: the truth exceeded what was expected


def chance_within(below: Float64s, upto: Float64s, interval: tuple[float | Float64s, float | Float64s]) -> Float64s:
    """Probability that u, uniform between F(y - 1) and F(y), lies in an interval; where both are equal, whether it does.

    Args:
        below, upto: float64[...], F(y - 1) and F(y).
        interval: From, inclusive, and up to, exclusive unless it is 1; a number or one for each truth.
    Source:
        C. Czado, T. Gneiting and L. Held (2009), Predictive model assessment for count data, Biometrics 65: the nonrandomised PIT.

    >>> chance_within(np.array([0.0, 0.8, 1.0]), np.array([0.4, 1.0, 1.0]), (0.1, 0.9)).round(2).tolist()
    [0.75, 0.5, 0.0]
    """
    low, high = interval
    width = upto - below
    overlap = np.clip(np.minimum(upto, high) - np.maximum(below, low), 0.0, None)
    point = (below >= low) & ((below < high) | (np.asarray(high) >= 1.0))
    return np.asarray(np.where(width > 0.0, overlap / np.where(width > 0.0, width, 1.0), point * 1.0), np.float64)
