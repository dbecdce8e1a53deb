"""An interval for a mean that stays valid however often it is looked at, and whenever the looking stops."""

from dataclasses import dataclass

import numpy as np

from schemas.errors import UsageError
from schemas.events.rides import Float64s


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds of a mean; both are infinite while nothing can be said.

    Attributes:
        mean: Of the observations; NaN without any.
        observations: How many there were.
    """

    mean: float
    lower: float
    upper: float
    observations: int


def valid_interval(values: Float64s, *, error_rate: float, effect_sd: float) -> Interval:
    """The interval of the mean of independent normal values of unknown variance, after any number of looks.

    Args:
        values: float64[n], one per block, in order.
        error_rate: Chance that the interval excludes the true mean at any of all looks together, in (0, 1).
        effect_sd: Where the interval is narrowest: mean over standard deviation of the effects that matter, > 0.
    Raises:
        UsageError: error_rate or effect_sd is out of range.
    Source:
        M. Goenen, W. Johnson, Y. Lu and P. Westfall (2005), The Bayesian two-sample t test, The American Statistician 59: the
        Bayes factor. A. Hendriksen, R. de Heide and P. Gruenwald (2021), Optional stopping with Bayes factors, Bayesian Analysis
        16: it is a test martingale under optional stopping. H. Wang and A. Ramdas (2025), Anytime-valid t-tests and confidence
        sequences for Gaussian means with unknown variance, Sequential Analysis 44: its inversion.

    >>> valid_interval(np.array([-0.03, -0.04, -0.02, -0.03, -0.03]), error_rate=0.05, effect_sd=2.0).upper < 0
    True
    >>> valid_interval(np.array([0.1, 0.2]), error_rate=0.05, effect_sd=2.0).upper
    inf
    """
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    if n < 2:
        return Interval(mean, -np.inf, np.inf, n)
    half = half_width(n, float(values.std(ddof=1)), error_rate=error_rate, effect_sd=effect_sd)
    return Interval(mean, mean - half, mean + half, n)


def half_width(observations: int, deviation: float, *, error_rate: float, effect_sd: float) -> float:
    """Half the width of `valid_interval` after n >= 2 observations with a sample standard deviation; raises as it does."""
    if not 0.0 < error_rate < 1.0 or effect_sd <= 0.0:
        raise UsageError(f"interval: expected an error rate in (0, 1) and an effect above 0, got {error_rate:g} and {effect_sd:g}")
    # The Bayes factor of mean m against m0 is a^(-1/2) ((1 + u) / (1 + u / a))^(n/2) with u = t^2 / (n - 1) and
    # a = 1 + n effect_sd^2; by Ville's inequality it ever reaches 1 / error_rate with that chance. Solved for u:
    a = 1.0 + observations * effect_sd**2
    reached = (a / error_rate**2) ** (1.0 / observations)
    if reached >= a:
        return float("inf")
    u = (reached - 1.0) / (1.0 - reached / a)
    return float(deviation * np.sqrt(u * (observations - 1) / observations))
