"""The baseline, by hand."""

import numpy as np
import pytest

from state.demand.calendar import Calendar
from state.demand.history import CountHistory
from state.demand.seasons import expected_rides, profile
from tests.state.model_city import CELLS, HOURLY

CALENDAR = Calendar(HOURLY)
START = CALENDAR.first_slot("2014-04-07")
HORIZONS = (1, 2, 3)


def weekly(weeks: int, *, outage: int = -1) -> CountHistory:
    """One cell; in week w every slot has w + 1 rides."""
    history = CountHistory(HOURLY)
    for i in range(weeks * 168):
        rides = i // 168 + 1
        history.close(START + i, CELLS[:1], np.array([rides]), observed=i != outage)
    return history


def test_recent_weeks_weigh_more() -> None:
    """Weights 0.8, 0.64, 0.512, 0.4096 over the last four weeks, times the horizon's length."""
    history = weekly(5)
    mean = (5 * 0.8 + 4 * 0.64 + 3 * 0.512 + 2 * 0.4096) / (0.8 + 0.64 + 0.512 + 0.4096)
    found = profile(history, CALENDAR, history.next_slot - 1, np.array([0]), HORIZONS)
    assert [mean, 2 * mean, 3 * mean] == pytest.approx(found[0].tolist())
    assert mean == pytest.approx(expected_rides(history, CALENDAR, history.next_slot))


def test_a_week_with_an_outage_is_left_out() -> None:
    """The other weeks stand in for it."""
    history = weekly(5, outage=4 * 168)  # The first slot of the last week: one week before the next slot.
    mean = (4 * 0.64 + 3 * 0.512 + 2 * 0.4096) / (0.64 + 0.512 + 0.4096)
    assert mean == pytest.approx(profile(history, CALENDAR, history.next_slot - 1, np.array([0]), HORIZONS)[0, 0])


@pytest.mark.parametrize(("slots", "expected"), [(1, 1.0), (12, 1.0), (60, 1.0)])
def test_before_there_is_a_week_days_or_what_was_seen_stand_in(slots: int, expected: float) -> None:
    """A baseline exists from the first slot on."""
    history = CountHistory(HOURLY)
    for i in range(slots):
        history.close(START + i, CELLS[:1], np.array([1]), observed=True)
    assert expected == pytest.approx(profile(history, CALENDAR, history.next_slot - 1, np.array([0]), HORIZONS)[0, 0])


def test_nothing_is_expected_of_an_unknown_past() -> None:
    """Without an observed season, no outage is detected."""
    assert 0.0 == expected_rides(CountHistory(HOURLY), CALENDAR, START)
