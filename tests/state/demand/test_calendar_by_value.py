"""Local time at exact boundaries, compared with zoneinfo."""

import dataclasses
from datetime import datetime

import pytest

from schemas.regions import Region
from state.demand.calendar import Calendar, LocalTime
from tests.state.demand.plain_counts import PlainClock
from tests.state.demand.small_city import FIVE, HOUR, QUARTER

HOLIDAYS = ("2014-03-09", "2014-12-31", "2015-01-01")


def zoned(region: Region, timezone: str) -> Region:
    """A region with another clock, and holidays at the change of a clock and of a year."""
    return dataclasses.replace(region, timezone=timezone, holidays=HOLIDAYS)


@pytest.mark.parametrize(
    ("region", "day"),
    [
        pytest.param(zoned(FIVE, "America/New_York"), "2014-03-09", id="forward"),
        pytest.param(zoned(FIVE, "America/New_York"), "2014-11-02", id="back"),
        pytest.param(zoned(FIVE, "America/New_York"), "2014-12-31", id="end of a year"),
        pytest.param(zoned(HOUR, "Europe/Berlin"), "2014-03-30", id="forward, hours"),
        pytest.param(zoned(HOUR, "Europe/Berlin"), "2014-10-26", id="back, hours"),
        pytest.param(zoned(QUARTER, "Asia/Tehran"), "2014-03-22", id="forward at midnight"),
        pytest.param(zoned(QUARTER, "Asia/Tehran"), "2014-09-22", id="back at midnight"),
        pytest.param(zoned(QUARTER, "Australia/Lord_Howe"), "2014-04-06", id="back by half an hour"),
        pytest.param(zoned(QUARTER, "Asia/Kathmandu"), "2014-12-30", id="offset of five hours and three quarters"),
    ],
)
def test_every_slot_around_a_boundary_has_its_local_time(region: Region, day: str) -> None:
    """Weekday, slot of day, holiday, holiday eve and the same time days before, for every slot from two days before to eight after."""
    calendar, clock = Calendar(region), PlainClock(region)
    first = calendar.first_slot(day)
    wrong = []
    for slot in range(first - 2 * calendar.day_slots, first + 8 * calendar.day_slots + 1):
        expected = LocalTime(clock.weekday(slot), clock.slot_of_day(slot), clock.holiday(slot), clock.holiday(slot, 1))
        if expected != calendar.local(slot):
            wrong.append(f"slot {slot}: expected {expected}, got {calendar.local(slot)}")
        if clock.free(slot) != calendar.local(slot).weekend:
            wrong.append(f"slot {slot}: expected weekend to be {clock.free(slot)}")
        for days in (1, 2, 7):
            then, found = clock.days_before(slot, days), calendar.seasonal(slot, days)
            if then != found:
                wrong.append(f"{clock.wall(slot)} less {days} days: expected slot {then}, got {found}")
    assert [] == wrong[:5]


@pytest.mark.parametrize("region", [FIVE, HOUR, QUARTER, zoned(QUARTER, "Australia/Lord_Howe")])
def test_the_first_slot_of_a_day_is_its_midnight(region: Region) -> None:
    """The slot begins at 00:00 on the wall, the one before it on the day before."""
    calendar, clock = Calendar(region), PlainClock(region)
    for day in ("2014-02-28", "2014-03-09", "2014-03-31", "2014-11-03", "2014-12-31"):
        first = calendar.first_slot(day)
        assert datetime.fromisoformat(day) == clock.wall(first)
        assert datetime.fromisoformat(day) > clock.wall(first - 1)


def test_where_midnight_is_skipped_the_day_begins_after_it() -> None:
    """Tehran's clock went from 00:00 to 01:00 on 22 March 2014, and the first slot is the one at 01:00."""
    region = zoned(QUARTER, "Asia/Tehran")
    first = Calendar(region).first_slot("2014-03-22")
    assert datetime(2014, 3, 22, 1) == PlainClock(region).wall(first)
    assert datetime(2014, 3, 21, 23, 45) == PlainClock(region).wall(first - 1)


def test_where_midnight_lies_within_a_slot_the_day_begins_with_the_next() -> None:
    """In slots of an hour Kathmandu's begin at a quarter to; the first slot of a day is the first that starts on it."""
    region = zoned(HOUR, "Asia/Kathmandu")
    first = Calendar(region).first_slot("2014-05-01")
    assert datetime(2014, 5, 1, 0, 45) == PlainClock(region).wall(first)
    assert 0 == Calendar(region).local(first).slot_of_day
