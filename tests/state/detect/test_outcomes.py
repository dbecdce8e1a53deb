"""What came of an issue: cell by cell by the distributions that were served, with rides where nothing was forecast."""

from dataclasses import replace

import numpy as np
import pytest

from schemas.events.rides import Int64s
from schemas.forecasts.chunks import ForecastColumns
from schemas.forecasts.settled import SettledIssue
from schemas.records.records import FALLBACKS, BandLevels, Fallback
from state.detect.outcomes import outcomes_of
from state.detect.paired_fairness import before_recalibration
from state.models.predictive import predictive

CELLS = np.array([3, 5, 9, 12], np.uint64)  # of which 5 has no forecast
FORECAST = np.array([3, 9, 12], np.uint64)
MEANS: Int64s = np.array([[100, 200], [4_000, 8_000], [20_000, 40_000]])
TRUTH: Int64s = np.array([[1, 1], [0, 2], [4, 9], [22, 35]])


def issue() -> SettledIssue:
    """Three forecasts, and rides in a fourth cell within the longer window only."""
    fallback = np.array([FALLBACKS.index(one) for one in (Fallback.NONE, Fallback.NONE, Fallback.PARENT)], np.uint8)
    columns = ForecastColumns(FORECAST, (15, 30), MEANS, MEANS // 1000 * 1000, MEANS, MEANS, MEANS * 0 + 50, MEANS, fallback)
    return SettledIssue(7, columns, before_recalibration((15, 30)), CELLS, TRUTH, np.ones(2, np.bool_))


def test_a_cell_without_a_forecast_counts_where_it_had_a_ride() -> None:
    """Its mean is zero, it is fallback, its truth lies above the forecast; in the window without a ride it does not count."""
    found, counted = outcomes_of(issue(), 0)
    assert [0, 2, 3] == counted.tolist()
    assert ([0.1, 4.0, 20.0], [1.0, 4.0, 22.0]) == (found.mean.tolist(), found.truth.tolist())
    found, counted = outcomes_of(issue(), 1)
    assert [0, 1, 2, 3] == counted.tolist()
    assert (0.0, 0.0, 2.0, 1.0, 0.0, True) == tuple(
        column[1] for column in (found.mean, found.median, found.truth, found.under, found.covered, found.fallback)
    )
    assert [False, True, False, True] == found.fallback.tolist()


@pytest.mark.parametrize("levels", [(100, 500, 900), (50, 500, 950), (200, 400, 700)])
def test_the_truth_is_judged_by_the_distribution_that_was_served(levels: tuple[int, int, int]) -> None:
    """Under and covered are shares of draws between F(y - 1) and F(y) of the recalibrated distribution in the header."""
    lower, median, upper = levels
    bands = (BandLevels(from_milli=0, lower_milli=lower, median_milli=median, upper_milli=upper),)
    base = issue()
    given = replace(base, spread=tuple(replace(one, bands=bands) for one in base.spread))
    found, counted = outcomes_of(given, 0)
    below, upto = predictive(given.spread[0], MEANS[:, 0], MEANS[:, 0] * 0 + 50).around(TRUTH[counted, 0])
    draws = below + np.linspace(0, 1, 20_001)[:, None] * (upto - below)
    assert (draws > 0.5).mean(axis=0).tolist() == pytest.approx(found.under.tolist(), abs=1e-3)
    assert ((draws >= 0.1) & (draws <= 0.9)).mean(axis=0).tolist() == pytest.approx(found.covered.tolist(), abs=1e-3)
