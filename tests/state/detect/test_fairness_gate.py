"""The gate before a promotion: a challenger that widens a gap between classes is refused, and the verdict says which."""

import numpy as np
import pytest

from schemas.errors import ContractError
from state.detect.fairness import BIAS, FairnessSums
from state.detect.fairness_gate import gate, widenings
from tests.state.detect.samples import HORIZONS_MIN, NAMES, Issue, counted, groups_of, issues, outcomes_of


def noisy(given: list[Issue], seed: int, spread: float) -> list[Issue]:
    """The same issues forecast by a model that differs by chance only."""
    random = np.random.default_rng(seed)
    changed = []
    for issue in given:
        mean = issue.outcomes.mean * np.exp(random.normal(0, spread, len(issue.outcomes.mean)))
        changed.append(Issue(issue.day, issue.horizon, outcomes_of(issue.outcomes.truth, mean, issue.outcomes.fallback.astype(np.float64))))
    return changed


def test_a_challenger_that_neglects_a_class_fails() -> None:
    """A challenger whose forecasts are 15 % too low for low incomes fails; the verdict names class, measure, amount and bound."""
    champion, challenger = counted(issues(1)), counted(issues(1, low_factor=0.85))
    verdict = gate(champion, challenger, seed=1)
    assert ("fairness", False, "0.05") == (verdict.gate, verdict.passed, verdict.bound)
    assert float(verdict.value) > 0.1
    for said in ("where income is 'low'", "the gap between classes goes from", "points", "more than the bound of 5.0"):
        assert said in verdict.sentence


def test_a_gap_that_was_there_before_is_no_fault_of_the_challenger() -> None:
    """The same gap with both models passes, and a challenger that narrows it passes with a value below 0."""
    neglecting, fair = counted(issues(2, low_factor=0.8)), counted(issues(2))
    assert (True, "0") == (gate(neglecting, neglecting, seed=1).passed, gate(neglecting, neglecting, seed=1).value)
    only_bias = [one for one in widenings(neglecting, fair, seed=1) if (one.attribute, one.measure) == ("income", BIAS)]
    assert all((one.widened.value or 0) < -0.1 and not one.fails for one in only_bias)
    assert gate(neglecting, fair, seed=1).passed


def test_models_that_differ_by_chance_pass() -> None:
    """Of 40 challengers that differ from the champion by chance only, none is refused."""
    given = issues(3, days=7, per_day=6, cells=30)
    champion = counted(given)
    refused = [seed for seed in range(40) if not gate(champion, counted(noisy(given, seed, 0.05)), seed=seed, draws=100).passed]
    assert [] == refused


def test_a_widening_beyond_its_bound_needs_more_than_one_odd_day() -> None:
    """A gap that comes from one day alone is beyond the bound, and its interval reaches 0: the verdict says that it is not clear."""
    given = issues(4, days=8, low_factor=1.0)
    odd = [issue if issue.day else low for issue, low in zip(given, issues(4, days=8, low_factor=0.3), strict=True)]
    verdict = gate(counted(given), counted(odd), seed=4, bounds={BIAS: 0.02})
    assert verdict.passed
    assert float(verdict.value) > float(verdict.bound)
    assert "not clearly more than the bound" in verdict.sentence


def test_a_bound_can_be_given_by_name() -> None:
    """The bound of a measure decides: the same challenger passes with a wider one."""
    champion, challenger = counted(issues(5)), counted(issues(5, low_factor=0.9))
    wide = dict.fromkeys(("bias", "under", "wape", "coverage", "fallback"), 0.5)
    assert [False, True] == [gate(champion, challenger, seed=5, bounds=bounds).passed for bounds in (None, wide)]
    assert "within the bound of 50.0" in gate(champion, challenger, seed=5, bounds=wide).sentence


def test_with_too_little_data_the_gate_does_not_judge() -> None:
    """Two days are too few; the verdict passes and says why."""
    verdict = gate(counted(issues(6, days=2)), counted(issues(6, days=2, low_factor=0.5)), seed=6)
    assert (True, "", "") == (verdict.passed, verdict.value, verdict.bound)
    assert "not judged" in verdict.sentence


def test_both_models_are_judged_on_the_same_issues() -> None:
    """Sums of other truths, days or classes cannot be compared, and raise."""
    champion = counted(issues(7))
    for other in (counted(issues(8)), counted(issues(7, days=7)), FairnessSums(NAMES[:2], HORIZONS_MIN)):
        with pytest.raises(ContractError, match="expected champion and challenger with the same"):
            gate(champion, other, seed=7)


def test_the_class_that_is_named_is_the_one_that_moved() -> None:
    """Of three classes, the one whose forecasts changed is named, not the other end of the gap."""
    names = (("quarter", "a"), ("quarter", "b"), ("quarter", "c"))
    random = np.random.default_rng(9)
    sums = FairnessSums(names, (15,)), FairnessSums(names, (15,))
    groups = groups_of(30)
    groups = type(groups)(names, (np.arange(30) % 3)[None, :])
    for day in range(6):
        rate = random.gamma(3.0, 3.0, 30)
        truth = random.poisson(rate).astype(np.float64)
        for one, factor in zip(sums, (1.0, 0.7), strict=True):
            one.add(day, 0, groups, outcomes_of(truth, rate * np.where(np.arange(30) % 3 == 1, factor, 1.0), np.zeros(30)))
    assert {"b"} == {one.moved for one in widenings(*sums, seed=9) if one.measure == BIAS}
