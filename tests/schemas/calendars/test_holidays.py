"""Holidays by country: what a file may say, what is recorded, and that what was recorded stays."""

import json
import re
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from schemas.calendars.holidays import NamedHolidays, is_code, look_up, named_in
from schemas.errors import UsageError
from schemas.regions import Region, as_recorded, load_region, region_from_file, region_from_json, unknown_holidays

DATES = {"US-NY": ("2014-07-04", "2014-10-13", "2014-12-25"), "CA": ("2014-07-01", "2014-12-25")}
FILE = {"id": "town", "timezone": "America/New_York", "polygon": [[40.0, -75.0], [41.0, -75.0], [41.0, -73.0]]}


def holidays_of(code: str) -> NamedHolidays:
    """Two countries as some version of a source knows them."""
    return NamedHolidays((code,), DATES[code], (2009, 2036 if code == "CA" else 2035), "a source 1.0")


def town(holidays: object, **words: object) -> Region:
    """A region from a file that says so."""
    text = json.dumps(FILE | {"holidays": holidays})
    return region_from_file(text, where="town.json", name="town", **({"holidays_of": holidays_of} | words))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("holidays", "rules", "dates"),
    [
        ("US-NY", ("US-NY",), DATES["US-NY"]),
        (["US-NY", "-2014-10-13", "2014-05-26"], ("US-NY", "-2014-10-13", "2014-05-26"), ("2014-05-26", "2014-07-04", "2014-12-25")),
        (["CA", "US-NY"], ("CA", "US-NY"), ("2014-07-01", "2014-07-04", "2014-10-13", "2014-12-25")),
    ],
)
def test_a_country_stands_for_its_dates(holidays: object, rules: tuple[str, ...], dates: tuple[str, ...]) -> None:
    """Names are looked up once; dates beside them are added or left out; what is recorded is the dates and where they are from."""
    found = town(holidays)
    assert (rules, dates, "a source 1.0") == (found.holiday_rules, found.holidays, found.holiday_source)
    assert ((2009, 2035) if "US-NY" in rules else (2009, 2036)) == found.holiday_years
    assert found == region_from_json(found.to_json(), where="a ledger")


def test_a_region_that_lists_dates_is_recorded_as_before() -> None:
    """Its definition has no word of what was looked up, since nothing was."""
    found = town(["2014-07-04"])
    assert (("2014-07-04",), (), ()) == (found.holidays, found.holiday_rules, found.holiday_years)
    assert "holiday_" not in found.to_json()
    assert [False, False] == [is_code(text) for text in ("us-ny", "USA")]
    assert () == named_in(20140704) == named_in(["US", 7])


@pytest.mark.parametrize(
    ("holidays", "said"),
    [
        (["-2014-10-13"], "holidays: expected a country such as US or US-NY, with dates to add or leave out, got -2014-10-13"),
        (
            ["US-NY", "-2014-10-14"],
            "holidays: -2014-10-14: expected a holiday of US-NY in 2009 to 2035 to leave out, and it is none",
        ),
        (["US-NY", "Christmas"], "holidays: expected countries such as US-NY, dates as YYYY-MM-DD, or -YYYY-MM-DD, got 'Christmas'"),
        ("New York", "holidays: expected a country such as US or US-NY, .* got New York"),
    ],
)
def test_what_is_no_holiday_is_refused(holidays: object, said: str) -> None:
    """An entry that is neither, and a date to leave out that is none, name the file, the region and what was expected."""
    with pytest.raises(UsageError, match=f"town.*{said}"):
        town(holidays)


def test_a_file_with_countries_needs_somebody_who_knows_them() -> None:
    """Where nothing can be looked up it is an error; a region that may be recorded is read without, since the record knows."""
    with pytest.raises(UsageError, match=r"town.json: region town: holidays: expected dates as YYYY-MM-DD here, got US-NY"):
        town("US-NY", holidays_of=None)
    found = town("US-NY", holidays_of=None, recorded=True)
    assert (("US-NY",), ()) == (found.holiday_rules, found.holidays)


def test_what_was_recorded_stays() -> None:
    """The same rules mean the recorded dates, whatever a source says today; other rules, or dates, are another definition."""
    recorded, today = town("US-NY"), town("US-NY", recorded=True)
    later = replace(recorded, holidays=(*recorded.holidays, "2037-01-01"), holiday_years=(2009, 2037), holiday_source="a source 2.0")
    assert recorded == as_recorded(later, recorded) == as_recorded(today, recorded)
    other, listed = town(["CA"]), town(["2014-07-04"])
    assert (other, listed) == (as_recorded(other, recorded), as_recorded(listed, recorded))


def test_years_without_holidays_are_told() -> None:
    """Slots before the first or after the last year that was looked up are warned about, by local time; others are not."""
    found = replace(town("CA"), slot_min=15)
    first_2009, new_year_2037 = (int(datetime(year, 1, 1, tzinfo=ZoneInfo("America/New_York")).timestamp()) // 900 for year in (2009, 2037))
    assert "" == unknown_holidays(found, first_2009, new_year_2037 - 1)
    expected = r"region town: its holidays \(CA\) were looked up for 2009 to 2036, and its slots are of 2009 to 2037: other years count"
    assert re.match(expected, unknown_holidays(found, first_2009, new_year_2037))
    assert "are of 2008 to 2036" in unknown_holidays(found, first_2009 - 1, new_year_2037 - 1)
    assert "" == unknown_holidays(load_region("nyc"), 0, 10**8)


def test_dates_of_two_countries_are_known_for_the_years_of_both() -> None:
    """The years are those that every country was looked up for."""
    assert (2009, 2035) == look_up(("CA", "US-NY"), holidays_of).years
