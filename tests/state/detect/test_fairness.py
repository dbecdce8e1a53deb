"""Measures per class, gaps and intervals: against a slow, simple version and against fairlearn."""

import json

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame  # type: ignore[import-untyped]

from schemas.configuration.areas import Groups
from schemas.errors import ContractError
from schemas.events.rides import Float64s
from state.detect.fairness import (
    BIAS,
    COVERAGE,
    FALLBACK,
    UNDER as UNDER_RATE,
    WAPE,
    Estimate,
    FairnessSums,
    fairness,
    points,
    sentence,
    weights_of,
    worst_gap,
)
from state.models.chances import COVERED, UNDER, chance_within
from tests.state.detect.samples import HORIZONS_MIN, NAMES, Issue, counted, groups_of, issues, outcomes_of


def plain(given: list[Issue], attribute: str, name: str, horizon: int) -> dict[str, float]:
    """The measures of one class, cell by cell."""
    pairs = rides = 0
    forecast = error = under = covered = fallbacks = 0.0
    for issue in given:
        if issue.horizon != horizon:
            continue
        groups = groups_of(len(issue.outcomes.truth))
        for cell in range(len(issue.outcomes.truth)):
            for codes in groups.codes:
                if codes[cell] < 0 or groups.names[int(codes[cell])] != (attribute, name):
                    continue
                pairs += 1
                rides += int(issue.outcomes.truth[cell])
                forecast += issue.outcomes.mean[cell]
                error += abs(issue.outcomes.median[cell] - issue.outcomes.truth[cell])
                under += issue.outcomes.under[cell]
                covered += issue.outcomes.covered[cell]
                fallbacks += issue.outcomes.fallback[cell]
    shares = {UNDER_RATE: under / pairs, COVERAGE: covered / pairs, FALLBACK: fallbacks / pairs}
    return {BIAS: (forecast - rides) / rides, WAPE: error / rides, "pairs": pairs, "rides": rides} | shares


def test_the_measures_are_those_of_a_plain_loop() -> None:
    """Every measure of every class and horizon is what a loop over cells gives."""
    given = issues(1, days=5, per_day=4, cells=21, low_factor=0.8)
    rows = fairness(counted(given), seed=1, draws=10).rows
    assert len(NAMES) * len(HORIZONS_MIN) == len(rows)
    for row in rows:
        expected = plain(given, row.attribute, row.name, HORIZONS_MIN.index(row.horizon_min))
        assert (expected.pop("pairs"), expected.pop("rides")) == (row.pairs, row.rides)
        assert expected == pytest.approx({name: estimate.value for name, estimate in row.estimates.items()}, abs=1e-12)


def test_intervals_are_those_of_days_drawn_one_by_one() -> None:
    """The vectorised bootstrap gives the quantiles of sums over the drawn days."""
    given = issues(2, days=6, per_day=2, cells=21, low_factor=0.7)
    sums, draws = counted(given), 50
    weights = weights_of(6, seed=9, draws=draws)
    rates = []
    for draw in range(draws):
        days = [issue for issue in given for _ in range(int(weights[draw, issue.day])) if issue.horizon == 0]
        rates.append(plain(days, "income", "low", 0)[UNDER_RATE])
    row = next(row for row in fairness(sums, seed=9, draws=draws).rows if (row.name, row.horizon_min) == ("low", 15))
    estimate = row.estimates[UNDER_RATE]
    assert np.quantile(rates, (0.025, 0.975)) == pytest.approx((estimate.low, estimate.high), abs=1e-12)


def test_fairlearn_finds_the_same_by_group_and_gap() -> None:
    """Bias, WAPE, coverage, under-forecast rate and their differences between groups are those of fairlearn's MetricFrame."""
    given = [issue for issue in issues(3, days=6, per_day=8, low_factor=0.85) if issue.horizon == 0]
    parts = [issue.outcomes for issue in given]
    truth, mean, median = (np.concatenate([getattr(part, name) for part in parts]) for name in ("truth", "mean", "median"))
    under, covered = (np.concatenate([getattr(part, name) for part in parts]) for name in ("under", "covered"))
    incomes = np.array(["high", "low"])[np.concatenate([groups_of(len(part.truth)).codes[0] for part in parts])]
    known = np.concatenate([groups_of(len(part.truth)).codes[0] >= 0 for part in parts])

    def bias(y_true: Float64s, y_pred: Float64s) -> float:
        return float(y_pred.sum() / y_true.sum() - 1)

    def wape(y_true: Float64s, y_pred: Float64s) -> float:
        return float(np.abs(y_true - y_pred).sum() / y_true.sum())

    def share(y_true: Float64s, y_pred: Float64s) -> float:
        return float(y_pred.mean())

    found = fairness(counted(given), seed=3, draws=10)
    for name, metric, predicted in ((BIAS, bias, mean), (WAPE, wape, median), (COVERAGE, share, covered), (UNDER_RATE, share, under)):
        frame = MetricFrame(metrics=metric, y_true=truth[known], y_pred=predicted[known], sensitive_features=incomes[known])
        ours = {row.name: row.estimates[name].value for row in found.rows if (row.attribute, row.horizon_min) == ("income", 15)}
        assert frame.by_group.to_dict() == pytest.approx(ours)
        [gap] = [gap.gap.value for gap in found.gaps if (gap.attribute, gap.horizon_min, gap.measure) == ("income", 15, name)]
        assert frame.difference(method="between_groups") == pytest.approx(gap)


def test_calibrated_forecasts_have_the_known_values() -> None:
    """Where every forecast is the true distribution, bias is 0, half of the truths lie above and 80 % inside, in every class."""
    rows = fairness(counted(issues(4, days=20, per_day=20)), seed=4, draws=200).rows
    for row in rows:
        assert row.enough
        for name, expected in ((BIAS, 0.0), (UNDER_RATE, 0.5), (COVERAGE, 0.8)):
            assert expected == pytest.approx(row.estimates[name].value, abs=0.02)


def test_forecasts_that_are_too_low_in_one_class_are_the_worst_gap() -> None:
    """Where one class gets 20 % too little, the sentence names attribute, both classes, measure and the bound."""
    found = fairness(counted(issues(5, low_factor=0.8)), seed=5)
    gap = worst_gap(found)
    assert gap is not None
    assert ("income", UNDER_RATE, "low", "high") == (gap.attribute, gap.measure, gap.highest, gap.lowest)
    assert (gap.gap.low or 0.0) > 0.05
    said = sentence(found)
    assert f"at {gap.horizon_min} min the under-forecast rate is " in said
    assert "where income is 'low'" in said
    assert said.endswith("more than the bound of 5.")
    bias = [one.gap.value for one in found.gaps if (one.attribute, one.measure) == ("income", BIAS)]
    assert [0.2, 0.2] == pytest.approx(bias, abs=0.03)


def test_what_depends_on_how_busy_cells_are_is_no_worst_gap() -> None:
    """The widest gap is one of WAPE, and the sentence names a smaller one of another measure."""
    given = issues(12, low_factor=0.9)
    for issue in given:
        issue.outcomes.median[1::2] += 30.0
    found = fairness(counted(given), seed=12, draws=20)
    widest = max(found.gaps, key=lambda gap: gap.gap.value or 0.0)
    worst = worst_gap(found)
    assert worst is not None
    assert (WAPE, UNDER_RATE) == (widest.measure, worst.measure)


def test_every_draw_has_as_many_days_as_there_are() -> None:
    """The bootstrap draws with replacement: counts of days that add up to the number of days, and differ."""
    weights = weights_of(6, seed=1, draws=100)
    assert {6.0} == set(weights.sum(axis=1).tolist())
    assert {0.0, 1.0, 2.0} <= set(weights.ravel().tolist())
    assert (100, 0) == weights_of(0, seed=1, draws=100).shape


@pytest.mark.parametrize(("days", "cells", "enough"), [(5, 40, True), (4, 40, False), (5, 2, False)])
def test_a_class_with_too_little_data_is_not_compared(days: int, cells: int, enough: bool) -> None:
    """Fewer than five days, or fewer than 200 rides, give no gap and say so."""
    found = fairness(counted(issues(6, days=days, per_day=1 if cells == 2 else 12, cells=cells)), seed=6, draws=20)
    assert enough is bool(found.gaps)
    assert enough is all(row.enough for row in found.rows)
    assert enough is not sentence(found).startswith("Too little data to compare classes: a class needs 5 days and 200 rides")


def test_without_classes_there_is_nothing_to_compare() -> None:
    """No groups give no rows, no gaps, and a sentence that says so."""
    found = fairness(FairnessSums((), (15,)), seed=1, draws=10)
    assert ((), (), "There are no classes to compare.") == (found.rows, found.gaps, sentence(found))


def test_no_rides_give_no_number() -> None:
    """Where nothing happened a ratio has no value and no interval, and the rest is finite."""
    quiet = issues(7, days=2, per_day=1)
    for issue in quiet:
        issue.outcomes.truth[:] = 0.0
    row = fairness(counted(quiet), seed=7, draws=10).rows[0]
    assert Estimate(None, None, None) == row.estimates[BIAS] == row.estimates[WAPE]
    assert "unknown" == points(row.estimates[BIAS])
    assert row.estimates[COVERAGE].value is not None


def test_groups_of_other_areas_are_refused() -> None:
    """Outcomes are counted only with the groups that the sums were made for, of as many cells."""
    [first, *_] = issues(8, days=1, per_day=1)
    sums = FairnessSums(NAMES, HORIZONS_MIN)
    for wrong in (groups_of(3), Groups(NAMES[:2], groups_of(40).codes)):
        with pytest.raises(ContractError, match="expected the groups"):
            sums.add(0, 0, wrong, first.outcomes)


def test_the_same_seed_gives_the_same_bytes() -> None:
    """Two computations agree to the last digit; another seed moves the intervals and nothing else."""
    sums = counted(issues(9))
    one, two, other = (repr(fairness(sums, seed=seed, draws=50)) for seed in (1, 1, 2))
    assert one == two != other


def test_the_chance_is_the_share_of_draws() -> None:
    """The probability that a randomised PIT lies in an interval is the share of many draws that do."""
    random = np.random.default_rng(10)
    below = random.random(6) * 0.9
    upto = below + random.random(6) * (1 - below)
    draws = below + random.random((20_000, 1)) * (upto - below)
    for interval in (COVERED, UNDER):
        expected = ((draws >= interval[0]) & (draws <= interval[1])).mean(axis=0)
        assert expected.tolist() == pytest.approx(chance_within(below, upto, interval).tolist(), abs=0.02)


def test_a_ride_where_none_was_forecast_is_under_the_truth() -> None:
    """A forecast of no ride with certainty covers no ride, and any ride is above it."""
    found = outcomes_of(np.array([0.0, 1.0, 5.0]), np.zeros(3), np.zeros(3))
    assert [0.5, 1.0, 1.0] == pytest.approx(found.under.tolist())
    assert [0.8, 0.0, 0.0] == pytest.approx(found.covered.tolist())


def test_the_result_is_plain_data() -> None:
    """Numbers are Python's own, so that they can be written as JSON."""
    row = fairness(counted(issues(11, days=5, per_day=1)), seed=1, draws=10).rows[0]
    assert json.loads(json.dumps([row.pairs, row.rides, row.enough, row.estimates[BIAS].value]))[0] == row.pairs
