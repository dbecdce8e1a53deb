"""Detects local changes of demand within minutes: for each cell, how likely it is that its neighbourhood left the forecast, and
by which factor.

Each neighbourhood (a cell and the cells around it) is in one of several states: normal, where the model's forecast holds, or
changed since r slots, where demand is a constant unknown factor times a reference that does not follow the last minutes. After
every slot the counts decide how likely each state is (Bayesian online change point detection with a gamma-Poisson model for the
factor). A cell's own rides then refine the factor of its neighbourhood.

Source:
    R. P. Adams and D. J. C. MacKay (2007), Bayesian online changepoint detection, arXiv:0710.3742.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from schemas.events.rides import Float64s, Int64s
from state.demand.history import Arrays

# Chosen together, on simulated surges and on New York, April 2014, with trees on the first table as the model: RMSE of busy cells at
# 15 minutes was 2.265 with a change in a thousand slots and dispersions of 0.02, and is 2.218; without the filter 2.347.
RUNS = 8  # slots; a longer run is treated as this long, and its older slots fade
FADE = 0.95  # of the sums of the longest run, per slot
BEGIN = 1e-2  # chance per slot that a normal neighbourhood changes, or that a changed one changes again
END_MIN = 120.0  # mean length of a change, minutes
FACTOR_SHAPE = 6.0  # of the gamma prior of a new factor, whose mean is 1
NORMAL_DISPERSION = 0.005  # of a neighbourhood's counts around the model's forecast, per slot
CHANGED_DISPERSION = 0.01  # the same around the reference times the factor
CELL_RIDES = 24.0  # weight of the neighbourhood's factor in a cell's, rides
TINY = 1e-9
MOST_WHOLE = 4096  # entries of a table of whole numbers
LEAST_CHANCE = 1e-15  # of a state: one that has become impossible could never become likely again


@dataclass(frozen=True, slots=True)
class Seen:
    """One slot of n cells: rides and expectations, float64[n] each.

    Attributes:
        rides, expected: Of the cell; `expected` is the reference.
        rides_around, expected_around: Sums over the cell and its neighbours.
        forecast_around: Rides that the model forecast for the slot, over the cell and its neighbours.
    """

    rides: Float64s
    expected: Float64s
    rides_around: Float64s
    expected_around: Float64s
    forecast_around: Float64s


class Surges:
    """The state of n neighbourhoods.

    Args:
        n: How many.
        slot_min: Length of a slot, minutes.

    >>> surges = Surges(1, 5)
    >>> one = np.array([10.0])
    >>> for _ in range(4):
    ...     surges.observe(Seen(3 * one, one, 3 * one, one, one))
    >>> bool(surges.normal[0] < 0.01), bool(abs(surges.factor[0] - 3.0) < 0.3)
    (True, True)
    """

    def __init__(self, n: int, slot_min: int) -> None:
        self._end = min(slot_min / END_MIN, 1.0 - BEGIN)
        self._chance = np.full((RUNS + 1, n), LEAST_CHANCE)  # of each state: normal, then changed since 1, 2, ... slots
        self._chance[0] = 1.0
        self._rides, self._expected = np.zeros((RUNS, n)), np.zeros((RUNS, n))  # of each run, over the neighbourhood
        self._recent = np.zeros((2, RUNS, n))  # rides and expected of the cell itself, newest first

    @property
    def normal(self) -> Float64s:
        """The chance that the model's forecast holds: float64[n]."""
        return np.asarray(self._chance[0], np.float64)

    @property
    def factor(self) -> Float64s:
        """Demand over the reference if it does not hold: float64[n], > 0."""
        around = (FACTOR_SHAPE + self._rides) / (FACTOR_SHAPE + self._expected)
        rides, expected = np.cumsum(self._recent, axis=1)
        own = around * (CELL_RIDES + rides) / (CELL_RIDES + expected * around)
        changed = self._chance[1:]
        total = np.zeros(own.shape[1])
        weight = np.zeros(own.shape[1])
        for run in range(RUNS):
            total += changed[run] * own[run]
            weight += changed[run]
        return np.asarray(np.where(weight > 0.0, total / np.maximum(weight, np.finfo(np.float64).tiny), 1.0), np.float64)

    def lasts(self, slots: int) -> float:
        """Share of the next slots, on average, before a change ends.

        >>> Surges(0, 60).lasts(2)
        0.375
        """
        kept = 1.0 - self._end
        return sum(kept ** (slot + 1) for slot in range(slots)) / slots

    def observe(self, seen: Seen) -> None:
        """Add one slot."""
        rides, expected = seen.rides_around, np.maximum(seen.expected_around, TINY)
        normal = _log_likelihood(rides, np.maximum(seen.forecast_around, TINY), 1.0 / NORMAL_DISPERSION)
        factor = (FACTOR_SHAPE + self._rides) / (FACTOR_SHAPE + self._expected)
        grown = _log_likelihood_of_runs(rides, factor * expected, self._rides)
        begun = _log_likelihood(rides, expected, 1.0 / (1.0 / FACTOR_SHAPE + CHANGED_DISPERSION))
        most = np.maximum(np.maximum(normal, begun), grown.max(axis=0))
        before, changed = self._chance[0], np.zeros_like(rides)
        for run in range(1, RUNS + 1):
            changed += self._chance[run]
        continued = self._chance[1:] * (1.0 - self._end - BEGIN) * np.exp(grown - most)
        chance = np.empty_like(self._chance)
        chance[0] = (before * (1.0 - BEGIN) + changed * self._end) * np.exp(normal - most)
        chance[1] = (before + changed) * BEGIN * np.exp(begun - most)
        chance[2:] = continued[:-1]
        # The longest run takes up those that would become longer: its sums are the mean of both, by their chances.
        share = continued[-1] / np.maximum(continued[-1] + chance[-1], np.finfo(np.float64).tiny)
        chance[-1] += continued[-1]
        total = np.zeros_like(rides)
        for run in range(RUNS + 1):
            total += chance[run]
        self._chance = np.maximum(chance / total, LEAST_CHANCE)
        self._rides = _longer(self._rides, seen.rides_around, share)
        self._expected = _longer(self._expected, seen.expected_around, share)
        newest = np.stack([seen.rides, seen.expected])[:, None]
        self._recent = np.concatenate([newest, self._recent[:, :-1]], axis=1)

    def move(self, places: Int64s) -> None:
        """Move neighbourhoods: the one at `places[i]` becomes the new one i; -1 stands for a new one, which is normal.

        Args:
            places: int64[n], for the new n.
        """
        self._chance, self._rides, self._expected, self._recent = (
            _moved(table, places) for table in (self._chance, self._rides, self._expected, self._recent)
        )
        self._chance[:, places < 0] = LEAST_CHANCE
        self._chance[0, places < 0] = 1.0

    def to_arrays(self) -> Arrays:
        """The state as arrays; `from_arrays` restores it bit for bit."""
        return {"chance": self._chance, "rides": self._rides, "expected": self._expected, "recent": self._recent}

    def from_arrays(self, arrays: Arrays) -> None:
        """Restore the state that `to_arrays` returned."""
        self._chance, self._rides, self._expected, self._recent = (
            arrays[name].astype(np.float64) for name in ("chance", "rides", "expected", "recent")
        )


def _longer(sums: Float64s, newest: Float64s, share: Float64s) -> Float64s:
    """Sums of every run after one more slot: float64[RUNS, n]."""
    out = np.empty_like(sums)
    out[0] = newest
    out[1:] = sums[:-1] + newest
    out[-1] = (1.0 - share) * out[-1] + share * (FADE * sums[-1] + newest)
    return out


def _moved(table: Float64s, places: Int64s) -> Float64s:
    out = np.zeros((*table.shape[:-1], len(places)))
    known = places >= 0
    out[..., known] = table[..., places[known]]
    return out


def _log_likelihood(rides: Float64s, mean: Float64s, size: float) -> Float64s:
    """Log probability of counts in a negative binomial of dispersion 1 / size, without the term that depends on the counts alone."""
    return _likelihood(rides, mean, np.full_like(rides, size), of_whole(rides, lambda counts: _log_gamma(counts + size)), _log_gamma(size))


def _log_likelihood_of_runs(rides: Float64s, mean: Float64s, before: Float64s) -> Float64s:
    """The same in each run: float64[RUNS, n].

    Args:
        before: float64[RUNS, n], rides of the run until now, which decide its dispersion; only those of the longest fade.
    """
    size = _size(before)
    known = np.empty_like(size)
    known[:-1], known[-1] = of_whole(before[:-1], lambda counts: _log_gamma(_size(counts))), _log_gamma(size[-1])
    return _likelihood(rides, mean, size, _log_gamma(rides + size), known)


def _size(rides: Float64s) -> Float64s:
    return np.asarray(1.0 / (1.0 / (FACTOR_SHAPE + rides) + CHANGED_DISPERSION), np.float64)


def _likelihood(rides: Float64s, mean: Float64s, size: Float64s, both: Float64s, of_size: Float64s) -> Float64s:
    odds = size / (size + mean)
    return np.asarray(both - of_size + size * np.log(odds) + rides * np.log1p(-odds), np.float64)


def _log_gamma(values: Float64s | float) -> Float64s:
    from scipy import special  # type: ignore[import-untyped]

    return np.asarray(special.gammaln(values), np.float64)


def of_whole(counts: Float64s, function: Callable[[Float64s], Float64s]) -> Float64s:
    """A slow function of each count, once for each whole number up to the largest; of each one if they are not whole or are large.

    >>> of_whole(np.array([2.0, 0.0, 2.0]), np.exp).round(2).tolist()
    [7.39, 1.0, 7.39]
    """
    most = float(counts.max(initial=0.0))
    if not most < min(MOST_WHOLE, counts.size) or not float(counts.min(initial=0.0)) >= 0.0:
        return function(counts)
    places = counts.astype(np.int64)
    if not np.array_equal(places, counts):
        return function(counts)
    return np.asarray(function(np.arange(most + 1.0))[places], np.float64)
