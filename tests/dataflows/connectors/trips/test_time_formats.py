"""How times are written: every way that is known against Python's own clock, and the order of day and month against a plain count."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import given, strategies as st

from dataflows.connectors.trips.time_formats import Order, TimeRules, date_order, way_of, written_times
from dataflows.connectors.trips.times import time_column, utc_times
from schemas.errors import UsageError

ZONES = ("America/New_York", "Asia/Tehran", "Europe/Berlin", "Australia/Lord_Howe")
moments = st.datetimes(datetime(2001, 1, 1), datetime(2098, 1, 1), timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0))


def twelve(at: datetime) -> str:
    """3/4/2014 1:05:09 PM."""
    return f"{at.month}/{at.day}/{at.year} {(at.hour + 11) % 12 + 1}:{at:%M:%S} {'PM' if at.hour > 11 else 'AM'}"


# Ways that say which number is the month, and whether they also say the zone.
CLEAR: list[tuple[Callable[[datetime], str], bool]] = [
    (lambda at: at.isoformat(), True),
    (lambda at: f"{at:%Y-%m-%d %H:%M:%S.123456%z}".replace(".123456", ".0"), True),
    (lambda at: f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", True),
    (lambda at: f"{at.astimezone(UTC):%Y%m%dT%H%M%S} GMT", True),
    (lambda at: f"{at:%Y/%m/%d %H:%M:%S} UTC{at:%z}", True),
    (lambda at: f"{round(at.timestamp())}", True),
    (lambda at: f"{round(at.timestamp()) * 1_000}", True),
    (lambda at: f"{at.replace(tzinfo=None)}", False),
    (lambda at: f"{at:%Y.%m.%d_%H:%M:%S}", False),
    (lambda at: f"{at:%Y%m%d%H%M%S}", False),
    (lambda at: f"{at:%d-%b-%Y %H:%M:%S}", False),
    (lambda at: f"{at:%b %d, %Y %I:%M:%S %p}", False),
    (lambda at: f"{at:%A, %d %B %Y %H:%M:%S}", False),
]


@pytest.mark.parametrize("number", range(len(CLEAR)))
@given(at=st.lists(moments, min_size=1, max_size=8), zone=st.sampled_from(ZONES))
def test_every_way_gives_the_moment_again(number: int, at: list[datetime], zone: str) -> None:
    """A moment written by a city's clock is read back, unless that clock shows the time twice."""
    write, zoned = CLEAR[number]
    local = [moment.astimezone(ZoneInfo(zone)) for moment in at]
    column = time_column(pa.chunked_array([[write(moment) for moment in local]]), TimeRules(), where="t")
    found = utc_times(column, zone, TimeRules())
    for moment, us, fault in zip(local, found.at.tolist(), found.faults.tolist(), strict=True):
        twice = moment.replace(fold=0).utcoffset() != moment.replace(fold=1).utcoffset()
        if twice and not zoned:
            assert fault == "ambiguous_local_time"
        else:
            assert (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) == us


def plain_orders(days: list[date], order: Order) -> set[Order]:
    """Orders in which every date of a column is a date, if it was written in one order."""
    numbers = [(day.month, day.day) if order is Order.MONTH_FIRST else (day.day, day.month) for day in days]
    return {
        name
        for name, month in ((Order.MONTH_FIRST, 0), (Order.DAY_FIRST, 1))
        if all(pair[month] <= 12 and _exists(day.year, pair[month], pair[1 - month]) for pair, day in zip(numbers, days, strict=True))
    }


def _exists(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


@given(
    st.lists(st.dates(date(2001, 1, 1), date(2098, 1, 1)), min_size=1, max_size=6), st.sampled_from([Order.MONTH_FIRST, Order.DAY_FIRST])
)
def test_the_order_of_day_and_month_is_never_guessed(days: list[date], order: Order) -> None:
    """Dates are read in the order in which they were written, or refused because the other order fits as well."""
    pattern = "%m/%d/%Y 08:00" if order is Order.MONTH_FIRST else "%d/%m/%Y 08:00"
    column = time_column(pa.chunked_array([[f"{day:{pattern}}" for day in days]]), TimeRules(), where="t")
    fitting = plain_orders(days, order)
    if len(fitting) > 1 and any(day.day != day.month for day in days):
        with pytest.raises(UsageError, match="give --day-first or --month-first"):
            utc_times(column, "UTC", TimeRules())
        assert [order] == [utc_times(column, "UTC", TimeRules(order=order)).how.rsplit(", ", 1)[1]]
    found = utc_times(column, "UTC", TimeRules(order=order) if len(fitting) > 1 else TimeRules())
    assert [datetime(day.year, day.month, day.day, 8, tzinfo=UTC).timestamp() * 1e6 for day in days] == found.at.tolist()


@pytest.mark.parametrize(
    ("texts", "orders"),
    [
        (["14/04/01 08:00", "14/04/30 08:00"], {Order.YEAR_FIRST}),
        (["01/04/14 08:00", "30/04/14 08:00"], {Order.DAY_FIRST}),
        (["04/01/14 08:00", "04/30/14 08:00"], {Order.MONTH_FIRST}),
        (["04/01/14 08:00", "04/02/14 08:00"], {Order.MONTH_FIRST, Order.DAY_FIRST}),
        (["14/04/13 08:00"], {Order.DAY_FIRST, Order.YEAR_FIRST}),
        (["04/04/2014 08:00"], {Order.MONTH_FIRST}),
        (["31/31/2014 08:00"], set()),
    ],
)
def test_years_of_two_digits(texts: list[str], orders: set[Order]) -> None:
    """The year may come first if it has two digits, unless that would stretch days over decades."""
    found = date_order(written_times(pa.chunked_array([texts])))
    assert found is not None
    assert orders == found.orders


@pytest.mark.parametrize(
    "shape", ["", "0", "00000", "never", "00/00", "0000-00", "00:00:00:00", "0000-00-00-00-00", "00/00-0000 00:00", "T00:00"]
)
def test_other_texts_are_no_times(shape: str) -> None:
    """What is no known way of writing a time is none, and never half of one."""
    assert way_of(shape) is None


@given(st.text(alphabet="0-/:. TZ+AaPpMmz,", max_size=24))
def test_any_text_is_a_time_or_a_fault(text: str) -> None:
    """No text crashes the reader: it gives a time, a fault, or a refusal."""
    rules = TimeRules(order=Order.DAY_FIRST, zone_given=True)
    try:
        found = utc_times(time_column(pa.chunked_array([[text.replace("0", "1")]]), rules, where="t"), "UTC", rules)
    except UsageError:
        return
    assert (found.at[0] == -1) == (found.faults[0] is not None)
