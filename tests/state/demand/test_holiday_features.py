"""Days around holidays, by the calendar of a year, at every hour and where the clock changes."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import cast
from zoneinfo import ZoneInfo

import pytest

from schemas.regions import load_region
from state.demand.calendar import Calendar
from state.demand.holiday_features import HOLIDAY_FEATURES
from state.demand.windows import SlotWindows

# Independence Day on a Friday, Thanksgiving on a Thursday, and two made-up ones beside the days on which the clock changes.
HOLIDAYS = ("2014-03-10", "2014-07-04", "2014-11-04", "2014-11-27", "2014-12-25", "2014-12-26")
CALENDAR = Calendar(replace(load_region("nyc"), holidays=HOLIDAYS))
BRIDGE, LONG = (feature.fill for feature in HOLIDAY_FEATURES)


def windows(day: date, hour: int) -> SlotWindows:
    """What the features read of the windows at an hour of a day."""
    at = datetime(day.year, day.month, day.day, hour, tzinfo=ZoneInfo("America/New_York"))
    start = int(at.timestamp()) // 300
    found = SimpleNamespace(start=start, day=CALENDAR.day_slots, local=CALENDAR.local(start), calendar=CALENDAR)
    return cast(SlotWindows, found)


def is_off(day: date) -> bool:
    """A weekend or a holiday."""
    return day.weekday() >= 5 or day.isoformat() in HOLIDAYS


@pytest.mark.parametrize("hour", [0, 4, 12, 23])
def test_every_day_of_a_year(hour: int) -> None:
    """A bridge lies between two days off, a long weekend is any run of three or more; no other day is either."""
    days = [date(2014, 1, 1) + timedelta(days=i) for i in range(365)]
    bridges = [day for day in days if BRIDGE(windows(day, hour)) == 1.0]
    long = [day for day in days if LONG(windows(day, hour)) == 1.0]
    assert [date(2014, 11, 3), date(2014, 11, 28)] == bridges
    runs = [day for day in days if any(all(is_off(day + timedelta(days=i - k)) for i in range(3)) for k in range(3))]
    assert runs == long
    assert [date(2014, 3, 8), date(2014, 3, 9), date(2014, 3, 10), date(2014, 7, 4)] == long[:4]
    assert 10 == len(long)


def test_they_are_columns_of_a_linear_model() -> None:
    """Both are flags under the calendar's heading, with names that no other table has."""
    assert [("bridge_day", True), ("long_weekend", True)] == [(feature.name, feature.linear) for feature in HOLIDAY_FEATURES]
    assert {0.0, 1.0} == {fill(windows(date(2014, 7, d), 9)) for d in range(1, 8) for fill in (BRIDGE, LONG)}
