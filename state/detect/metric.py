"""Whether one metric, a series at a regular step, is unusual for its time of the week: a fold that learns as it goes.

What is usual at a step is the median of the same step of earlier weeks, plus the level of the last days. The deviation is divided by
a robust scale of that time of day, for the step itself and for the mean of the last three hours. The tail of each of the two is
learned as a power law, so that a deviation becomes a probability. No value counts for more than `CLIP` scales in anything that
is learned: one wild day changes little, while a lasting change is followed within days.
"""

from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite, isnan, log, log1p, nan
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import ContractError

Arrays = dict[str, npt.NDArray[Any]]

# All constants were chosen on simulated series with planted anomalies (`python -m tests.accuracy planted`, docs/detectors_new_york.md).
WEEKS = 8  # earlier weeks in the median
LEAST_WEEKS = 2  # with a value at the same step, before anything is expected
WEEK_DAYS = 7
LEVEL_DAYS = 2.0  # half-life of the level
SCALE_DAYS = 30.0  # half-life of the scales
SCALE_PRIOR_DAYS = 5.0  # how many days the scale of all times of day counts for in that of one
CLIP = 6.0  # scales: the most that a deviation counts for in what is learned
LEAST_SCALE = 0.5  # of the scale of all times of day
WINDOW_DAYS = 1 / 8  # the short window, three hours
TAIL_FROM = 3.0  # scales from which on the tail is a power law
TAIL_DAYS = 60.0  # half-life of what is known of the tail
TAIL_PRIOR = 20.0  # exceedances before any was seen,
TAIL_SHARE = 0.01  # with this share of the steps
TAIL_INDEX = 0.15  # and this mean logarithm above TAIL_FROM
TAIL_CLIP = 0.3  # the most that one adds to the sum of these logarithms
RARITY = 0.002  # probability from which on a step is a detection
REST_DAYS = 3.0  # after a detection, before the next
LEAST_SCALE_VALUE = 1e-9  # so that a constant metric has a scale


class Kind(StrEnum):
    """What the values are: counts and other positive numbers are compared by ratio, reals by difference."""

    COUNT = "count"
    REAL = "real"


@dataclass(frozen=True, slots=True)
class MetricStep:
    """What is said of one step.

    Attributes:
        score: Anomaly score in [0, 1): one minus the probability of a deviation as large, for the step or the window.
        single: The same for the step alone.
        sustained: The same for the mean of the short window that ends here.
        usual: What the value was expected to be; NaN while that is unknown.
        detected: Whether this is a detection. After one there is none for the time of rest.
    """

    score: float
    single: float
    sustained: float
    usual: float
    detected: bool


UNKNOWN = MetricStep(0.0, 0.0, 0.0, nan, False)


class Tail:
    """The distribution of a ratio that is usually near 1: a power law above TAIL_FROM, with a prior.

    Args:
        steps_per_day: How often it is asked.
    """

    def __init__(self, steps_per_day: int) -> None:
        self._kept = 0.5 ** (1.0 / (TAIL_DAYS * steps_per_day))
        self.sums = np.array([TAIL_PRIOR, TAIL_PRIOR / TAIL_SHARE, TAIL_PRIOR * TAIL_INDEX])  # exceedances, steps, logarithms

    def beyond(self, ratio: float) -> float:
        """The probability of a ratio as large or larger, by what was seen before; then learn from it.

        >>> round(Tail(48).beyond(3.0), 12)
        0.01
        """
        exceedances, steps, logarithms = self.sums.tolist()
        above = log(ratio / TAIL_FROM) if ratio > 0.0 else -inf
        power = log(exceedances / steps) - above * exceedances / logarithms
        exceeds = ratio > TAIL_FROM
        self.sums *= self._kept
        self.sums += (float(exceeds), 1.0, min(above, TAIL_CLIP) if exceeds else 0.0)
        return float(np.exp(min(power, 0.0)))


class MetricDetector:
    """The anomalies of one metric. It takes the values in order, one a step, from any step of a week on.

    Args:
        steps_per_day: Steps of a day: 288 for five minutes.
        kind: What the values are.
        rarity: Probability at or below which a step is a detection.
        rest_days: Days after a detection without another.

    Raises:
        ContractError: there is no step a day, or the rarity is not a probability.

    Source:
        Median and scale by the time of the week as in S. Hochenbaum, O. S. Vallis and A. Kejariwal (2017), Automatic anomaly detection
        in the cloud via statistical learning, arXiv 1704.07706; the tail as in B. M. Hill (1975), A simple general approach to
        inference about the tail of a distribution, Annals of Statistics 3; the short window as in S. Ahmad et al. (2017),
        Unsupervised real-time anomaly detection for streaming data, Neurocomputing 262.

    >>> detector = MetricDetector(24)
    >>> steps = [detector.see(100.0) for _ in range(28 * 24)]
    >>> any(step.detected for step in steps), detector.see(400.0).detected
    (False, True)
    """

    def __init__(self, steps_per_day: int, kind: Kind = Kind.COUNT, rarity: float = RARITY, rest_days: float = REST_DAYS) -> None:
        if steps_per_day < 1:
            raise ContractError(f"metric: expected at least 1 step a day, got {steps_per_day}")
        if not 0.0 < rarity < 1.0:
            raise ContractError(f"metric: expected a rarity between 0 and 1, got {rarity}")
        self._day, self._kind, self._rarity, self._rest = steps_per_day, kind, rarity, round(rest_days * steps_per_day)
        self._past = np.full((WEEK_DAYS * steps_per_day, WEEKS), nan)
        self._scale = np.full(steps_per_day, nan)
        self._window = np.full(max(2, round(WINDOW_DAYS * steps_per_day)), nan)
        self._single, self._sustained = Tail(steps_per_day), Tail(steps_per_day)
        self._steps, self._learned, self._last = 0, 0, -1
        self._level, self._overall, self._spread = 0.0, nan, nan

    def see(self, value: float) -> MetricStep:
        """Take the next step; NaN if it has no value.

        Raises:
            ContractError: the value is infinite, or a negative count.
        """
        step = self._steps
        self._steps += 1
        at, week = step % len(self._past), step // len(self._past) % WEEKS
        if isnan(value):
            self._past[at, week] = nan
            self._shift(nan)
            return UNKNOWN
        if not isfinite(value) or (self._kind is Kind.COUNT and value < 0.0):
            raise ContractError(f"metric: expected a finite {self._kind}, got {value} at step {step}")
        seen = log1p(value) if self._kind is Kind.COUNT else value
        median = _median(self._past[at].tolist())
        if isnan(median):
            self._past[at, week] = seen
            return UNKNOWN
        usual = median + self._level
        error = seen - usual
        scale = self._scale_of(step % self._day, abs(error))
        single = self._single.beyond(abs(error) / scale)
        self._learn(step % self._day, error, scale)
        self._past[at, week] = usual + min(max(error, -CLIP * scale), CLIP * scale)
        sustained = self._sustained.beyond(self._window_ratio(error / scale))
        beyond = min(1.0, 2.0 * min(single, sustained))  # of two, by Bonferroni
        detected = beyond <= self._rarity and (self._last < 0 or step - self._last >= self._rest)
        if detected:
            self._last = step
        expected = float(np.expm1(usual)) if self._kind is Kind.COUNT else usual
        return MetricStep(1.0 - beyond, 1.0 - single, 1.0 - sustained, expected, detected)

    def _scale_of(self, time: int, error: float) -> float:
        """The scale of a time of day; the first error ever is the first scale."""
        if isnan(self._overall):
            self._overall = max(error, LEAST_SCALE_VALUE)
        if isnan(self._scale[time]):
            self._scale[time] = self._overall
        return max(float(self._scale[time]), LEAST_SCALE * self._overall, LEAST_SCALE_VALUE)

    def _learn(self, time: int, error: float, scale: float) -> None:
        """Let the level and the scales follow; means at first, exponentially weighted later."""
        self._learned += 1
        self._level += _weight(LEVEL_DAYS * self._day) * min(max(error, -CLIP * scale), CLIP * scale)
        days, size = self._learned / self._day, abs(error)
        most = CLIP * max(self._overall, LEAST_SCALE_VALUE)
        self._overall += max(_weight(SCALE_DAYS * self._day), 1.0 / (self._learned + self._day / 4)) * (min(size, most) - self._overall)
        own = float(self._scale[time])
        most = CLIP * max(own, LEAST_SCALE_VALUE)
        self._scale[time] += max(_weight(SCALE_DAYS), 1.0 / (days + SCALE_PRIOR_DAYS)) * (min(size, most) - own)

    def _window_ratio(self, deviation: float) -> float:
        """The mean deviation of the short window, by its usual size."""
        self._shift(min(max(deviation, -3.0 * CLIP), 3.0 * CLIP))
        mean = abs(float(np.nansum(self._window))) / len(self._window)
        if isnan(self._spread):
            self._spread = max(mean, 0.5)
        spread = max(self._spread, LEAST_SCALE_VALUE)
        weight = max(_weight(SCALE_DAYS * self._day), 1.0 / (self._learned + self._day))
        self._spread += weight * (min(mean, CLIP * spread) - self._spread)
        return mean / spread

    def _shift(self, deviation: float) -> None:
        self._window[:-1] = self._window[1:]
        self._window[-1] = deviation

    def arrays(self) -> Arrays:
        """All of its state, of a size that depends on the steps of a day alone."""
        return {
            "past": self._past,
            "scale": self._scale,
            "window": self._window,
            "single": self._single.sums,
            "sustained": self._sustained.sums,
            "counters": np.array([self._steps, self._learned, self._last], np.int64),
            "levels": np.array([self._level, self._overall, self._spread]),
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the state that `arrays` returned.

        Raises:
            ContractError: it is of a metric with another step.
        """
        if arrays["past"].shape != self._past.shape:
            raise ContractError(f"metric: expected a state of shape {self._past.shape}, got {arrays['past'].shape}")
        self._past, self._scale, self._window = arrays["past"].copy(), arrays["scale"].copy(), arrays["window"].copy()
        self._single.sums, self._sustained.sums = arrays["single"].copy(), arrays["sustained"].copy()
        self._steps, self._learned, self._last = arrays["counters"].tolist()
        self._level, self._overall, self._spread = arrays["levels"].tolist()


def _median(values: list[float]) -> float:
    """The median of the values that are not NaN; NaN if they are fewer than LEAST_WEEKS."""
    known: list[float] = []
    for value in values:
        if not isnan(value):
            insort(known, value)
    middle = len(known) // 2
    return nan if len(known) < LEAST_WEEKS else (known[middle] + known[-middle - 1]) / 2.0


def _weight(half_life: float) -> float:
    """The weight of a new value in an exponentially weighted mean."""
    return 1.0 - float(0.5 ** (1.0 / half_life))
