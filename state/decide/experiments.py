"""Experiments with two arms: which cells a challenger serves at a time, and what can be said about it so far.

Cells are grouped in clusters, time in blocks, and every cluster is assigned anew in every block (a switchback), so that both
arms see all parts of the city and all hours. The assignment is a hash: whoever knows the experiment knows it, at any time and in
any process. What is compared is the loss of each arm less that of the baseline in the same cells and slots, which takes most of
the difference between cells out. The interval may be looked at after every block.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from schemas.errors import UsageError
from schemas.events.rides import Float64s, UInt64s
from state.decide.sequential import half_width

Bools = npt.NDArray[np.bool_]

ERROR_RATE = 0.05  # chance that the interval misses the truth at any of all looks together
EFFECT_SD = 0.3  # the interval is narrowest for a mean of about a third of the standard deviation between blocks
MOST_LEVELS = 3
UNIT_BITS = 53


class Arm(StrEnum):
    """Which model serves a cell in a block."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"


class Finding(StrEnum):
    """What an experiment says so far about the challenger."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How an experiment assigns cells.

    Attributes:
        name: Of the experiment; another name gives another assignment.
        share_milli: Share of the clusters that the challenger serves in a block, 1/1000.
        block_slots: Length of a block; a block is numbered slot // block_slots.
        levels: A cluster is all cells with the same geohash but for its last so many letters; 0: each cell is one.
    """

    name: str
    share_milli: int = 500
    block_slots: int = 12
    levels: int = 0

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("experiment: expected a name, got an empty text")
        for what, low, value, high in (
            ("share_milli", 1, self.share_milli, 999),
            ("block_slots", 1, self.block_slots, 2_016),
            ("levels", 0, self.levels, MOST_LEVELS),
        ):
            if not low <= value <= high:
                raise UsageError(f"experiment {self.name}: {what}: expected {low} to {high}, got {value}")

    def clusters(self, cells: UInt64s) -> UInt64s:
        """The cluster of each cell: uint64[n]."""
        return cells >> np.uint64(5 * self.levels)

    def challenged(self, cells: UInt64s, slot: int) -> Bools:
        """Which cells the challenger serves at a slot: bool[n]; depends on the design, the cell and the slot alone.

        >>> design = Design(name="trees", levels=1)
        >>> one, other = (design.challenged(np.array(cells, np.uint64), slot) for cells, slot in (([640, 641], 7), ([671, 640], 11)))
        >>> one.tolist() == other.tolist()
        True
        """
        key = int.from_bytes(hashlib.sha256(self.name.encode("utf-8")).digest()[:8], "big")
        block = mixed(np.array([key ^ (slot // self.block_slots)], np.uint64))
        unit = mixed(self.clusters(cells) ^ block) >> np.uint64(64 - UNIT_BITS)
        return np.asarray(unit < np.uint64((self.share_milli << UNIT_BITS) // 1000))


def mixed(numbers: UInt64s) -> UInt64s:
    """A bijection of 64-bit numbers whose results look independent: uint64[n].

    Source:
        G. Steele, D. Lea and C. Flood (2014), Fast splittable pseudorandom number generators, OOPSLA: splitmix64.
    """
    x = numbers + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


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
    def finding(self) -> Finding:
        """What the first interval without 0 said: a later look does not take it back."""
        for low, high in zip(self.lower.tolist(), self.upper.tolist(), strict=True):
            if high < 0.0:
                return Finding.BETTER
            if low > 0.0:
                return Finding.WORSE
        return Finding.UNDECIDED


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
