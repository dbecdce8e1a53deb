"""Fairness of two forecasters over the same issues: the sums of each, a verdict when there are enough days, and keeping."""

from dataclasses import replace

import numpy as np
import pytest

from schemas.configuration.areas import Area, Areas
from schemas.errors import ContractError
from schemas.events.cells import cell_texts
from schemas.events.rides import Float64s, Int64s
from schemas.forecasts.chunks import NUMBERS, ForecastColumns
from schemas.forecasts.settled import SettledIssue
from schemas.regions import load_region
from state.detect.fairness_gate import gate
from state.detect.outcomes import count_issues
from state.detect.paired_fairness import SEED, PairedFairness, before_recalibration

NYC = load_region("nyc")
FIRST, STEP = 4_663_055, 29  # slots; the first ends at midnight in New York
CELLS = (np.uint64(24_000_000 << 5) + np.arange(32).astype(np.uint64))[: 2 * 12]
SPREAD = before_recalibration(NYC.horizons_min)
LOW, HIGH = ("income", "low"), ("income", "high")


def areas(*split: int) -> Areas:
    """The first cells with low income, the others with high."""
    texts = cell_texts(CELLS, 6).tolist()
    at = split[0] if split else 12
    return Areas("nyc", 6, (Area("a", tuple(texts[:at]), (), (LOW,)), Area("b", tuple(texts[at:]), (), (HIGH,))))


def columns(mean: Float64s) -> ForecastColumns:
    """Poisson forecasts with these means, rides."""
    milli: Int64s = np.rint(1000 * mean).astype(np.int64)
    zero = np.zeros_like(milli)
    return ForecastColumns(CELLS, NYC.horizons_min, milli, milli // 1000 * 1000, zero, zero, zero, zero, np.zeros(len(CELLS), np.uint8))


def trial(days: int, *, neglect: float = 1.0, seed: int = 1) -> tuple[PairedFairness, tuple[list[SettledIssue], list[SettledIssue]]]:
    """A trial of a challenger that forecasts low incomes by a factor, and the same issues of each forecaster."""
    random = np.random.default_rng(seed)
    paired = PairedFairness(NYC, areas())
    both: tuple[list[SettledIssue], list[SettledIssue]] = ([], [])
    for slot in range(FIRST, FIRST + days * 288, STEP):
        rate = random.gamma(2.0, 2.0, (len(CELLS), 3))
        truth = random.poisson(rate)
        made = columns(rate), columns(rate * np.where(np.arange(len(CELLS)) < 12, neglect, 1.0)[:, None])
        for i in range(3):
            paired.add(slot, i, *made, truth[:, i])
        for issues, forecasts in zip(both, made, strict=True):
            issues.append(SettledIssue(slot, forecasts, SPREAD, CELLS, truth, np.ones(3, np.bool_)))
    return paired, both


def test_the_verdict_is_that_of_the_gate_over_both() -> None:
    """Issue by issue gives what the gate says of the whole, for a fair challenger and for one that neglects a class."""
    for neglect, passed in ((1.0, True), (0.8, False)):
        paired, both = trial(8, neglect=neglect)
        expected = gate(*(count_issues(NYC, areas(), issues) for issues in both), seed=SEED)
        assert expected == paired.verdict()
        assert passed is expected.passed
    assert "where income is 'low'" in expected.sentence


def test_a_trial_of_few_days_has_not_passed_yet() -> None:
    """With fewer days than a class needs the verdict waits and counts them."""
    found = trial(3)[0].verdict()
    assert (False, "", "not judged yet: 3 of 5 days") == (found.passed, found.value, found.sentence)


def test_it_goes_on_where_it_was_kept() -> None:
    """Restored from its arrays it says the same, also after more issues, and changes nothing of what was kept."""
    paired, _ = trial(6, neglect=0.8)
    again = PairedFairness(NYC, areas())
    kept = paired.to_arrays()
    before = {name: array.copy() for name, array in kept.items()}
    again.from_arrays(kept)
    assert paired.verdict() == again.verdict()
    rate = np.full((len(CELLS), 3), 2.0)
    for one in (paired, again):
        one.add(FIRST + 1, 0, columns(rate), columns(rate / 2), np.full(len(CELLS), 2))
    assert paired.verdict() == again.verdict()
    assert all(np.array_equal(array, kept[name]) for name, array in before.items())


def test_other_classes_and_other_cells_are_refused() -> None:
    """Sums of other areas do not go on, and two forecasts of different cells cannot be compared."""
    paired, _ = trial(1)
    other = PairedFairness(NYC, Areas("nyc", 6, (Area("a", ("dr5",), (), (("position", "centre"),)),)))
    assert (False, False, True) == (other.continues(paired.to_arrays()), other.continues({}), paired.continues(paired.to_arrays()))
    with pytest.raises(ContractError, match="expected sums of the same classes"):
        other.from_arrays(paired.to_arrays())
    one = columns(np.ones((len(CELLS), 3)))
    numbers = {name: getattr(one, name)[:5] for name in NUMBERS}
    fewer = replace(one, cells=CELLS[:5], fallback=one.fallback[:5], **numbers)
    with pytest.raises(ContractError, match="expected both forecasts of 24 cells, got 5 others"):
        paired.add(FIRST, 0, one, fewer, np.zeros(24, np.int64))
