"""Experiments with two arms: what can be said about the challenger so far.

Every cluster of cells is assigned anew in every block of time (`state.forecast.arms`), so that both arms see all parts of the city
and all hours. What is compared is the loss of each arm less that of the baseline in the same cells and slots, which takes most of
the difference between cells out. The interval may be looked at after every block.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from schemas.events.rides import Bools, Float64s
from state.decide.sequential import half_width

ERROR_RATE = 0.05  # chance that the interval misses the truth at any of all looks together
EFFECT_SD = 0.3  # the interval is narrowest for a mean of about a third of the standard deviation between blocks


class Finding(StrEnum):
    """What an experiment says so far about the challenger."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"


def differences(losses: Float64s, challenged: Bools) -> Float64s:
    """Mean loss of the challenger's clusters less that of the champion's, one number per block: float64[...].

    Args:
        losses: float64[..., clusters], the served loss less the baseline's of the same cells and slots, summed over a block.
        challenged: bool[..., clusters], which of them the challenger served.
    Returns:
        NaN for a block in which one arm has no cluster: it compares nothing.
    """
    served = challenged.sum(axis=-1)
    other = challenged.shape[-1] - served
    empty = (served == 0) | (other == 0)
    ours = (losses * challenged).sum(axis=-1) / np.where(empty, 1, served)
    theirs = (losses * ~challenged).sum(axis=-1) / np.where(empty, 1, other)
    return np.where(empty, np.nan, ours - theirs)


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """The interval of the mean difference after each block; infinite while nothing can be said.

    Attributes:
        mean, lower, upper: float64[blocks].
    """

    mean: Float64s
    lower: Float64s
    upper: Float64s

    @property
    def decided(self) -> int | None:
        """The first look whose interval is without 0: a later one does not take it back. None for none."""
        without = np.flatnonzero((self.upper < 0.0) | (self.lower > 0.0))
        return int(without[0]) if len(without) else None

    @property
    def finding(self) -> Finding:
        """What the first interval without 0 said."""
        if self.decided is None:
            return Finding.UNDECIDED
        return Finding.BETTER if self.upper[self.decided] < 0.0 else Finding.WORSE


def confidence_sequence(values: Float64s, *, error_rate: float = ERROR_RATE, effect_sd: float = EFFECT_SD) -> ConfidenceSequence:
    """`state.decide.sequential.valid_interval` after each of the blocks that compared something, in order.

    It holds exactly for independent normal differences. Those of an experiment are means over many clusters, and independent
    because clusters are assigned anew in every block; `tests/state/decide/test_experiments.py` shows the error rates.

    Args:
        values: float64[blocks], from `differences`; NaN where a block compared nothing.
    Raises:
        UsageError: the error rate or effect is out of range.

    >>> confidence_sequence(np.array([-1.0, -1.2, -0.9, -1.1, -1.0, -1.05, -0.95, -1.0]), effect_sd=2.0).finding.value
    'better'
    """
    known = values[~np.isnan(values)]
    n = np.arange(1, len(known) + 1)
    mean = np.cumsum(known) / n
    half = [np.inf] * min(1, len(known))
    for count in range(2, len(known) + 1):
        half.append(half_width(count, float(known[:count].std(ddof=1)), error_rate=error_rate, effect_sd=effect_sd))
    return ConfidenceSequence(mean, mean - np.array(half), mean + np.array(half))
