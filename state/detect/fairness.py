"""Whether forecasts are equally good for all parts of a region: measures per class of cells, gaps, and a gate for new models.

Everything is a ratio of sums over issues, kept per day, so that intervals come from drawing whole days again: the errors of
one day hang together. What the classes are is in `schemas.configuration.areas`; how a person reads the numbers in docs/fairness.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from schemas.configuration.areas import NO_CLASS, Groups
from schemas.errors import ContractError
from schemas.events.rides import Float64s

Bools = npt.NDArray[np.bool_]

BIAS, UNDER, WAPE, COVERAGE, FALLBACK = "bias", "under", "wape", "coverage", "fallback"
DRAWS = 1_000  # of the bootstrap
INTERVAL = (0.025, 0.975)
LEAST_DAYS = 5  # with fewer blocks a bootstrap interval says too little about other days
LEAST_RIDES = 200  # the bias of so few rides has a standard error of 7 % by chance alone


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of quality: the sum of one column over that of another.

    Attributes:
        title: In a sentence.
        part, whole: Names of SUMS.
        less: What is subtracted from the ratio.
        bound: By how much a new model may widen the gap between classes.
        by_level: Whether it depends on how busy cells are, even where every forecast is the best possible one. Then a gap says
            little by itself; that it widens does.
    """

    name: str
    title: str
    part: str
    whole: str
    less: float
    bound: float
    by_level: bool


SUMS = ("pairs", "truth", "mean", "error", "under", "covered", "fallback")
MEASURES = (
    Measure(BIAS, "bias", "mean", "truth", 1.0, 0.05, False),
    Measure(UNDER, "under-forecast rate", "under", "pairs", 0.0, 0.05, False),
    Measure(WAPE, "WAPE", "error", "truth", 0.0, 0.05, True),
    Measure(COVERAGE, "coverage", "covered", "pairs", 0.0, 0.05, False),
    Measure(FALLBACK, "share of fallback", "fallback", "pairs", 0.0, 0.10, True),
)
MEASURE = MappingProxyType({measure.name: measure for measure in MEASURES})


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of the forecasts of one issue for one horizon, n cells.

    Attributes:
        truth, mean, median: float64[n], rides.
        under: float64[n], 1 where the truth is in the upper half of its forecast distribution, 0 where not, or the probability
            of it (`state.models.chances`).
        covered: float64[n], the same for the 80 % interval.
        fallback: bool[n], not forecast by the model of the cell's own region.
    """

    truth: Float64s
    mean: Float64s
    median: Float64s
    under: Float64s
    covered: Float64s
    fallback: Bools


class FairnessSums:
    """Sums of outcomes per day, horizon and group.

    Args:
        names: (attribute, class) of each group.
        horizons_min: Of the forecasts.
    """

    def __init__(self, names: tuple[tuple[str, str], ...], horizons_min: tuple[int, ...]) -> None:
        self.names, self.horizons_min = names, horizons_min
        self._days: dict[int, Float64s] = {}

    def add(self, day: int, horizon: int, groups: Groups, outcomes: Outcomes) -> None:
        """Count the outcomes of one issue.

        Args:
            day: Number of the block that the issue belongs to, such as its local date's ordinal.
            horizon: Position in `horizons_min`.
            groups: Of the same n cells.
        Raises:
            ContractError: groups of other areas, or of another number of cells.
        """
        n = len(outcomes.truth)
        if groups.names != self.names or groups.codes.shape[1:] != (n,):
            raise ContractError(f"fairness: expected the groups {self.names} of {n} cells, got {groups.names}, {groups.codes.shape}")
        columns = {
            "pairs": np.ones(n),
            "truth": outcomes.truth,
            "mean": outcomes.mean,
            "error": np.abs(outcomes.median - outcomes.truth),
            "under": outcomes.under,
            "covered": outcomes.covered,
            "fallback": outcomes.fallback.astype(np.float64),
        }
        sums = self._days.setdefault(day, np.zeros((len(self.horizons_min), len(self.names), len(SUMS))))
        for codes in groups.codes:
            known = codes != NO_CLASS
            for place, name in enumerate(SUMS):
                sums[horizon, :, place] += np.bincount(codes[known], columns[name][known], len(self.names))

    @property
    def days(self) -> tuple[int, ...]:
        """Days that have outcomes, ascending."""
        return tuple(sorted(self._days))

    def of_days(self, days: Sequence[int]) -> Float64s:
        """float64[days, horizons, groups, SUMS]; zeros for days without outcomes."""
        empty = np.zeros((len(self.horizons_min), len(self.names), len(SUMS)))
        return np.array([self._days.get(day, empty) for day in days]).reshape(len(days), *empty.shape)

    def take(self, days: Sequence[int], sums: Float64s) -> None:
        """Go on with the sums that `of_days` returned."""
        self._days = {day: sums[place].copy() for place, day in enumerate(days)}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval; all None where there is nothing to divide by."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class ClassRow:
    """The measures of one class and horizon.

    Attributes:
        enough: Whether there is enough data to compare this class.
        estimates: By name of the measure.
    """

    attribute: str
    name: str
    horizon_min: int
    days: int
    pairs: int
    rides: int
    enough: bool
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Gap:
    """The difference between the classes with the highest and the lowest value of a measure.

    Attributes:
        gap: high - low, 0 or more.
        highest, lowest: The two classes.
    """

    attribute: str
    horizon_min: int
    measure: str
    gap: Estimate
    highest: str
    lowest: str
    high: float
    low: float


@dataclass(frozen=True, slots=True)
class Fairness:
    """The measures of all classes, and the gaps between those with enough data."""

    rows: tuple[ClassRow, ...]
    gaps: tuple[Gap, ...]


def measures_of(sums: Float64s) -> Float64s:
    """float64[..., SUMS] -> float64[..., MEASURES]; NaN where the divisor is 0."""
    out = []
    for measure in MEASURES:
        whole = sums[..., SUMS.index(measure.whole)]
        part = sums[..., SUMS.index(measure.part)]
        out.append(np.where(whole > 0, part / np.where(whole > 0, whole, 1.0) - measure.less, np.nan))
    return np.stack(out, axis=-1)


def weights_of(days: int, *, seed: int, draws: int = DRAWS) -> Float64s:
    """How often each day is in each of the draws: float64[draws, days], each row drawn with replacement."""
    if not days:
        return np.zeros((draws, 0))
    return np.random.default_rng(seed).multinomial(days, np.full(days, 1.0 / days), draws).astype(np.float64)


def drawn(sums: Float64s, weights: Float64s) -> Float64s:
    """Sums of each draw: float64[draws, horizons, groups, SUMS]."""
    return np.tensordot(weights, sums, axes=1)


def enough_data(sums: Float64s) -> Bools:
    """Which classes can be compared: bool[horizons, groups] of float64[days, horizons, groups, SUMS]."""
    days = (sums[..., SUMS.index("pairs")] > 0).sum(axis=0)
    rides = sums[..., SUMS.index("truth")].sum(axis=0)
    return np.asarray((days >= LEAST_DAYS) & (rides >= LEAST_RIDES))


def fairness(counted: FairnessSums, *, seed: int, draws: int = DRAWS) -> Fairness:
    """Measures per class and the gaps between classes, with intervals over days.

    Args:
        seed: Of the draws; the same sums and seed give the same intervals.
    """
    sums = counted.of_days(counted.days)
    values = measures_of(sums.sum(axis=0))
    spread = measures_of(drawn(sums, weights_of(len(sums), seed=seed, draws=draws)))
    enough = enough_data(sums)
    days = (sums[..., 0] > 0).sum(axis=0)
    rows, gaps = [], []
    for group, (attribute, name) in enumerate(counted.names):
        for i, horizon_min in enumerate(counted.horizons_min):
            total = sums[:, i, group].sum(axis=0)
            estimates = {m.name: estimate_of(values[i, group, k], spread[:, i, group, k]) for k, m in enumerate(MEASURES)}
            pairs, rides = int(total[SUMS.index("pairs")]), int(total[SUMS.index("truth")])
            rows.append(ClassRow(attribute, name, horizon_min, int(days[i, group]), pairs, rides, bool(enough[i, group]), estimates))
    for attribute, members in members_of(counted.names).items():
        for i, horizon_min in enumerate(counted.horizons_min):
            judged = [group for group in members if enough[i, group]]
            if len(judged) < 2:
                continue
            for k, measure in enumerate(MEASURES):
                here = values[i, judged, k]
                top, bottom = judged[int(np.argmax(here))], judged[int(np.argmin(here))]
                gap = estimate_of(np.ptp(here), np.ptp(spread[:, i, judged, k], axis=1))
                ends = counted.names[top][1], counted.names[bottom][1], float(here.max()), float(here.min())
                gaps.append(Gap(attribute, horizon_min, measure.name, gap, *ends))
    return Fairness(tuple(rows), tuple(gaps))


def members_of(names: Sequence[tuple[str, str]]) -> dict[str, list[int]]:
    """The groups of each attribute."""
    found: dict[str, list[int]] = {}
    for group, (attribute, _) in enumerate(names):
        found.setdefault(attribute, []).append(group)
    return found


def estimate_of(value: float, draws: Float64s) -> Estimate:
    known = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(known):
        return Estimate(None, None, None)
    low, high = np.quantile(known, INTERVAL)
    return Estimate(float(value), float(low), float(high))


# --- in words ------------------------------------------------------------------------------------


def worst_gap(found: Fairness) -> Gap | None:
    """The gap that is largest in units of its bound, among measures that do not depend on how busy cells are; None without any."""
    comparable = [gap for gap in found.gaps if not MEASURE[gap.measure].by_level and gap.gap.value is not None]
    return max(comparable, key=lambda gap: (gap.gap.value or 0.0) / MEASURE[gap.measure].bound, default=None)


def sentence(found: Fairness) -> str:
    """One sentence on the worst gap."""
    gap = worst_gap(found)
    if gap is None:
        named = {(row.attribute, row.name) for row in found.rows}
        if len(named) == len({attribute for attribute, _ in named}):
            return "There are no classes to compare."
        needed = f"a class needs {LEAST_DAYS} days and {LEAST_RIDES} rides, and an attribute two such classes"
        return f"Too little data to compare classes: {needed}."
    measure = MEASURE[gap.measure]
    assert gap.gap.value is not None  # of the comparable ones
    beyond = "more than" if gap.gap.value > measure.bound else "within"
    return (
        f"Worst gap: at {gap.horizon_min} min the {measure.title} is {gap.high:.1%} where {gap.attribute} is {gap.highest!r} and "
        f"{gap.low:.1%} where it is {gap.lowest!r}; that is {points(gap.gap)}, {beyond} the bound of {100 * measure.bound:.0f}."
    )


def points(estimate: Estimate) -> str:
    """A difference of shares in percentage points.

    >>> points(Estimate(0.071, 0.041, 0.098))
    '7.1 points (95 %: 4.1 to 9.8)'
    """
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "unknown"
    return f"{100 * estimate.value:.1f} points (95 %: {100 * estimate.low:.1f} to {100 * estimate.high:.1f})"
