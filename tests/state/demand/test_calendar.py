"""Local time of slots, across the changes of clocks."""

from dataclasses import replace

import pytest

from schemas.regions import load_region
from state.demand.calendar import Calendar

NYC = Calendar(load_region("nyc"))


@pytest.mark.parametrize(
    ("day", "back", "hours"),
    [
        ("2014-03-12", 7, 7 * 24 - 1),  # the clock went forward on 9 March
        ("2014-11-05", 7, 7 * 24 + 1),  # and back on 2 November
        ("2014-05-14", 7, 7 * 24),
        ("2014-03-09", 1, 24 - 1),
    ],
)
def test_seasonal_lags_follow_the_clock_on_the_wall(day: str, back: int, hours: int) -> None:
    """The same local time so many days before is an hour nearer or farther when clocks changed in between."""
    noon = NYC.first_slot(day) + (11 if day == "2014-03-09" else 12) * 12
    assert hours * 12 == noon - NYC.seasonal(noon, back)


def test_every_slot_of_a_year_finds_its_local_time() -> None:
    """Except inside the changed hours, the slot found has the same slot of day."""
    first = NYC.first_slot("2014-01-20")
    wrong = [
        slot for slot in range(first, first + 330 * 288, 7) if NYC.local(slot).slot_of_day != NYC.local(NYC.seasonal(slot, 7)).slot_of_day
    ]
    assert len(wrong) <= 12 // 7 + 1


def test_holidays_and_weekends() -> None:
    """A holiday counts as a weekend, and the day before knows of it."""
    memorial = NYC.local(NYC.first_slot("2014-05-26") + 100)
    assert (0, True, True) == (memorial.weekday, memorial.holiday, memorial.weekend)
    assert NYC.local(NYC.first_slot("2014-05-25") + 100).holiday_eve
    assert not NYC.local(NYC.first_slot("2014-05-27")).weekend


def test_first_slot_is_local_midnight() -> None:
    """A day starts with slot of day 0, also where the offset is not whole hours."""
    kathmandu = Calendar(replace(load_region("nyc"), timezone="Asia/Kathmandu"))
    for calendar in (NYC, kathmandu):
        assert 0 == calendar.local(calendar.first_slot("2014-05-01")).slot_of_day
        assert 287 == calendar.local(calendar.first_slot("2014-05-01") - 1).slot_of_day
