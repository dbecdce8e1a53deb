"""What an import checks before it writes: strays, holes, odd times of day; and zones of places."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, strategies as st

from dataflows.connectors.trips.review import DAY_US, Holes, clock_words, holes, strays
from dataflows.connectors.trips.zones import zone_at
from schemas.errors import UsageError

HOUR_US = 3_600_000_000
APRIL_US = 1_396_324_800_000_000  # 2014-04-01 00:00 in New York


def hourly(days: int) -> list[int]:
    """A ride every hour from April on."""
    return [APRIL_US + HOUR_US * hour for hour in range(24 * days)]


@pytest.mark.parametrize(
    ("times", "found"),
    [
        (hourly(30), []),
        ([*hourly(30), APRIL_US + 100 * DAY_US], [720]),
        ([APRIL_US - 365 * DAY_US, *hourly(30), APRIL_US + 100 * DAY_US, APRIL_US + 101 * DAY_US], [0, 721, 722]),
        ([*hourly(30), APRIL_US + 43 * DAY_US], []),  # a closed fortnight
        ([*hourly(30), APRIL_US + 45 * DAY_US], [720]),
        ([*hourly(10), *[APRIL_US + 100 * DAY_US + hour for hour in hourly(10)]], []),  # too many to be slips: a hole
        ([*hourly(1), *[APRIL_US + 200 * DAY_US + hour * HOUR_US for hour in range(4)]], []),
        ([APRIL_US, APRIL_US + 900 * DAY_US], []),  # which of two is wrong cannot be told
        ([APRIL_US], []),
    ],
)
def test_strays_are_the_few_far_from_all_others(times: list[int], found: list[int]) -> None:
    """At most 1 % or three rides at each end, more than a fortnight and ten usual pauses away, are strays."""
    assert found == strays(np.array(times)).tolist()


@given(st.lists(st.integers(0, 10**18), min_size=1, max_size=50))
def test_most_rides_are_never_strays(times: list[int]) -> None:
    """Whatever the times, strays are a minority, and lie at the ends."""
    found = strays(np.array(sorted(times))).tolist()
    assert len(found) < max(1, len(times))
    inner = [place for place in range(len(times)) if place not in found]
    assert inner == list(range(inner[0], inner[-1] + 1))


def test_holes_are_local_days() -> None:
    """Days without rides, and with few, are told by the local calendar, across a change of the clock."""
    at = [hour for hour in hourly(60) if not 2 <= (hour - APRIL_US) // DAY_US < 5]
    few = [hour for hour in at if (hour - APRIL_US) // DAY_US != 9 or hour % (24 * HOUR_US) == 12 * HOUR_US]
    found = holes(np.array(few), "America/New_York")
    assert Holes(((date(2014, 4, 3), date(2014, 4, 5)),), ((date(2014, 4, 10), 1),), 24) == found
    empty, quiet = found.lines()
    assert "no rides on 3 days between the first and the last, such as 2014-04-03 to 2014-04-05; is a file missing?" == empty
    assert "few rides on 1 day (2014-04-10: 1; the median day has 24); is a file incomplete?" == quiet
    november = [hour + 200 * DAY_US for hour in hourly(30)]  # from 18 October on: the clock goes back on 2 November
    assert Holes((), (), 24) == holes(np.array(november), "America/New_York")


def test_sparse_histories_have_no_holes() -> None:
    """Where a usual day has fewer than ten rides, a day without any says nothing."""
    assert Holes((), (), 0) == holes(np.array([APRIL_US, APRIL_US + 9 * DAY_US]), "America/New_York")


def test_odd_times_of_day_are_said() -> None:
    """Rides only from 1:00 to 12:59, or at one time of day, look like a loss; a whole day does not."""
    start = datetime(2014, 4, 1, tzinfo=UTC)
    morning = np.array([int((start + timedelta(days=i, hours=1 + i % 12)).timestamp()) * 1_000_000 for i in range(100)])
    midnight = np.array([int((start + timedelta(days=i)).timestamp()) * 1_000_000 for i in range(100)])
    assert "are AM and PM missing" in clock_words(morning, "UTC")
    assert "all rides start at 00:00: is the time of day missing" in clock_words(midnight, "UTC")
    assert ["", ""] == [clock_words(np.array(hourly(5)), "UTC"), clock_words(morning[:50], "UTC")]


def test_zones_of_places() -> None:
    """A city has the zone of its place; the open sea has none, and the message says what to do."""
    places = {(40.71, -74.01): "America/New_York", (35.69, 51.39): "Asia/Tehran", (-33.87, 151.21): "Australia/Sydney"}
    assert places == {place: zone_at(*place) for place in places}
    with pytest.raises(UsageError, match=r"found no time zone at latitude 0\.000, longitude -30\.000; name the zone"):
        zone_at(0.0, -30.0)
