"""Holidays that a region's file names by country: which dates they are is looked up once, when the region is defined.

The dates stand in the region's definition, which the ledger records: another version of the source of holidays never changes a
fold. The names, the years and the source stand beside them, to say where they are from and where they end.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from schemas.errors import UsageError

FIRST_YEAR = 2009  # rides were not ordered by application before
YEARS_AHEAD = 10

_CODE = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class NamedHolidays:
    """Dates that were looked up.

    Attributes:
        rules: The entries of the file: countries, dates to add, and dates with a - before them to leave out.
        dates: YYYY-MM-DD, ascending, each once.
        years: The first and the last year that were looked up.
        source: Who said so, with its version.
    """

    rules: tuple[str, ...]
    dates: tuple[str, ...]
    years: tuple[int, int]
    source: str


HolidaysOf = Callable[[str], NamedHolidays]  # of one country or subdivision, such as US-NY


def is_code(text: object) -> bool:
    """Whether an entry names a country, or one and its subdivision, by ISO 3166.

    >>> is_code("US-NY"), is_code("IR"), is_code("2014-05-26")
    (True, True, False)
    """
    return isinstance(text, str) and _CODE.fullmatch(text) is not None


def named_in(given: object) -> tuple[str, ...]:
    """The entries of a file's `holidays` if they name a country or leave a date out; nothing if they are only dates.

    >>> named_in("US-NY"), named_in(["US-NY", "-2014-10-13"]), named_in(["2014-05-26"])
    (('US-NY',), ('US-NY', '-2014-10-13'), ())
    """
    entries: Sequence[object] = [given] if isinstance(given, str) else given if isinstance(given, list | tuple) else []
    texts = tuple(entry for entry in entries if isinstance(entry, str))
    named = isinstance(given, str) or any(is_code(text) or text.startswith("-") for text in texts)
    return texts if named and len(texts) == len(entries) else ()


def look_up(rules: tuple[str, ...], holidays_of: HolidaysOf) -> NamedHolidays:
    """The dates that entries stand for, those of all countries together.

    Raises:
        UsageError: no country is named, an entry is neither a country nor a date, or a date to leave out is no holiday.

    >>> christmas = NamedHolidays(("DE",), ("2014-12-25", "2014-12-26"), (2014, 2014), "a test")
    >>> look_up(("DE", "2014-12-24", "-2014-12-26"), lambda code: christmas).dates
    ('2014-12-24', '2014-12-25')
    """
    codes = [rule for rule in rules if is_code(rule)]
    if not codes:
        raise UsageError(f"holidays: expected a country such as US or US-NY, with dates to add or leave out, got {', '.join(rules)}")
    found = [holidays_of(code) for code in codes]
    dates = {day for named in found for day in named.dates}
    first, last = max(named.years[0] for named in found), min(named.years[1] for named in found)
    for rule in rules:
        if is_code(rule):
            continue
        day = rule.removeprefix("-")
        if not is_date(day):
            raise UsageError(f"holidays: expected countries such as US-NY, dates as YYYY-MM-DD, or -YYYY-MM-DD, got {rule!r}")
        if rule == day:
            dates.add(day)
        elif day in dates:
            dates.remove(day)
        else:
            raise UsageError(
                f"holidays: {rule}: expected a holiday of {', '.join(codes)} in {first} to {last} to leave out, and it is none"
            )
    return NamedHolidays(rules, tuple(sorted(dates)), (first, last), found[0].source)


def is_date(day: object) -> bool:
    """Whether a value is a date as YYYY-MM-DD."""
    try:
        return isinstance(day, str) and date.fromisoformat(day).isoformat() == day
    except ValueError:
        return False
