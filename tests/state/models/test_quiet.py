"""Quiet forecasts: shrunk, never zero, and fitted by likelihood."""

import numpy as np
import pytest

from state.demand.calendar import Calendar
from state.demand.history import CountHistory
from state.models.quiet import QuietMix, fit_mix, mean_rate, quiet_cells, quiet_means, quiet_parts
from tests.state.demand.test_features import history_of
from tests.state.model_city import CELLS, HOURLY

CALENDAR = Calendar(HOURLY)


def test_a_cell_is_quiet_below_a_ride_in_five_hours() -> None:
    """With 135 rides in the 672 hours of 28 days a cell has 0.05 per 15 minutes and is not quiet, with 134 it is."""
    history = CountHistory(HOURLY)
    for slot in range(28 * 24):
        cells = CELLS[:2][[slot < 135, slot < 134]]
        history.close(slot, cells, np.ones(len(cells), np.int64), observed=True)
    columns = history.columns_of(CELLS[:2])
    assert [False, True] == quiet_cells(history, CALENDAR, history.next_slot - 1, columns).tolist()


def test_quiet_means_are_positive_and_follow_the_rate() -> None:
    """A cell with more rides in four weeks gets more, one with a single ride gets a little, and horizons add up."""
    history = history_of(700)
    slot = history.next_slot - 1
    columns = history.universe(slot)
    means = quiet_means(quiet_parts(history, CALENDAR, slot, columns, HOURLY.horizons), QuietMix.default(3))
    assert (means > 0).all()
    assert (np.diff(means, axis=1) > 0).all()
    rates = mean_rate(history, slot, columns)
    assert 0.9 < np.corrcoef(rates, means[:, 0])[0, 1]


def test_parts_do_not_depend_on_other_cells() -> None:
    """A cell's parts have the same bits whichever quiet cells are built with it."""
    history = history_of(700)
    slot = history.next_slot - 1
    columns = history.universe(slot)
    whole = quiet_parts(history, CALENDAR, slot, columns, HOURLY.horizons)
    assert whole[:, :, 4:9].tobytes() == quiet_parts(history, CALENDAR, slot, columns[4:9], HOURLY.horizons).tobytes()


def test_mix_is_found_again() -> None:
    """Counts drawn from a known mix give its weights back."""
    rng = np.random.default_rng(2)
    parts = rng.gamma(0.5, 1.0, (3, 40_000))
    truth = rng.poisson(0.6 * parts[0] + 0.1 * parts[1] + 0.3 * parts[2]).astype(float)
    assert (0.6, 0.1, 0.3) == pytest.approx(fit_mix(parts, truth), abs=0.02)


def test_without_rides_the_mix_stays() -> None:
    """Nothing to fit on is not an error."""
    assert sum(fit_mix(np.zeros((3, 5)), np.zeros(5))) == pytest.approx(1.0)
