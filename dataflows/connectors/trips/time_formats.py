"""How the times of a column are written: decided once from all of its values, never value by value."""

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from schemas.errors import UsageError
from schemas.events.rides import Int64s


class Order(StrEnum):
    """The order of day, month and year in a date of three numbers."""

    MONTH_FIRST = "month first"
    DAY_FIRST = "day first"
    YEAR_FIRST = "year first"


FIELDS = {Order.MONTH_FIRST: "%m{0}%d{0}{1}", Order.DAY_FIRST: "%d{0}%m{0}{1}", Order.YEAR_FIRST: "{1}{0}%m{0}%d"}
EPOCHS = {"epoch-s": 1, "epoch-ms": 1_000, "epoch-us": 1_000_000, "epoch-ns": 1_000_000_000}  # name -> units per second
ISO = "iso"
EPOCH, DATE_ONLY, TIME_ONLY = "seconds or fractions since 1970", "a date without a time of day", "a time of day without a date"
_PLAUSIBLE_SPANS = 10  # a two-digit year is read as such only if no other order gives a span ten times shorter


@dataclass(frozen=True, slots=True)
class TimeRules:
    """What the user says about times.

    Attributes:
        format: `iso`, a key of EPOCHS, or a pattern as of strptime; None finds it out.
        order: Of dates of three numbers; None finds it out.
        zone_given: The user named the zone of local times.
    """

    format: str | None = None
    order: Order | None = None
    zone_given: bool = False

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in (ISO, *EPOCHS) and "%" not in self.format:
            raise UsageError(f"--time-format: expected {ISO}, {', '.join(EPOCHS)} or a pattern such as %d.%m.%Y %H:%M, got {self.format!r}")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to write a time.

    Attributes:
        family: What a person calls it; a column has one.
        pattern: For strptime; `{date}` stands for a date of three numbers whose order is not known yet.
        zoned: An offset or the name of a zone follows.
        mark: Between the numbers of `{date}`.
        year: "%Y", or "%y" for two digits, of `{date}`.
    """

    family: str
    pattern: str
    zoned: bool = False
    mark: str = ""
    year: str = ""

    def strptime(self, order: Order | None) -> str:
        """The complete pattern."""
        return self.pattern if order is None else self.pattern.replace("{date}", FIELDS[order].format(self.mark, self.year))


# Patterns of shapes: every digit is a 0.
_ISO_DATE = r"(?P<iso>0000(?P<s1>[-/.])00?(?P=s1)00?)"
_COMPACT = r"(?P<compact>00000000)"
_NUMBERS = r"(?P<numbers>00?(?P<s2>[-/.])00?(?P=s2)(?P<year>0000|00))"
_DAY_MONTH = r"(?P<daymonth>00?(?P<s3>[- /])[A-Za-z]{3,9}(?P=s3)(?P<nyear>0000|00))"
_NAMED = rf"(?:(?P<weekday>[A-Za-z]{{3,9}}),? )?(?:{_DAY_MONTH}|(?P<monthday>[A-Za-z]{{3,9}} 00?,? 0000))"
_CLOCK = r"(?P<h>00?):00(?P<s>:00(?P<f>\.0{1,9})?)?(?P<ampm> ?[AaPp]\.?[Mm]\.?)?"
ZONE = r"(?:[Zz]|[+-]\d\d?(?::?\d\d)?|(?:UTC|GMT)(?:[+-]\d\d?(?::?\d\d)?)?|[A-Z]{2,5}|\[?[A-Z][A-Za-z_]+(?:/[A-Za-z_+-]+)+\]?)"
_SHAPE = re.compile(
    rf"(?:{_ISO_DATE}|{_COMPACT}|{_NUMBERS}|{_NAMED})"
    rf"(?:(?P<sep>T|, ?| +- +| +|_)(?:{_CLOCK}|(?P<digits>0000(?:00)?))(?P<zone> ?{ZONE.replace(chr(92) + 'd', '0')})?)?"
)
_DIGITS_14 = re.compile(r"0{14}")  # twelve digits may be milliseconds of 2001
_EPOCH = re.compile(r"[+-]?0{9,20}(\.0+)?")
_TIME_ONLY = re.compile(r"00?:00(:00(\.0+)?)?( ?[AaPp]\.?[Mm]\.?)?")


def way_of(shape: str) -> Way | None:
    """The way of a shape, a text whose digits are all 0; None if it is no time.

    >>> way_of("0000-00-00T00:00Z")
    Way(family='ISO 8601 with a zone', pattern='%Y-%m-%dT%H:%M', zoned=True, mark='', year='')
    """
    if _EPOCH.fullmatch(shape) and not _DIGITS_14.fullmatch(shape):
        return Way(EPOCH, "")
    if _TIME_ONLY.fullmatch(shape):
        return Way(TIME_ONLY, "")
    if _DIGITS_14.fullmatch(shape):
        return Way("digits only", "%Y%m%d%H%M%S")
    found = _SHAPE.fullmatch(shape)
    if found is None:
        return None
    mark, year = "", ""
    if found["iso"]:
        family, day = "ISO 8601", "%Y{0}%m{0}%d".format(found["s1"])
    elif found["compact"]:
        family, day = "ISO 8601", "%Y%m%d"
    elif found["numbers"]:
        mark, year = found["s2"], "%Y" if len(found["year"]) == 4 else "%y"
        family, day = f"dates of three numbers with {mark}", "{date}"
    else:
        name = found["daymonth"] or found["monthday"]
        month = "%B" if len(re.findall("[A-Za-z]+", name)[0]) > 3 else "%b"
        weekday = (
            (("%A" if len(found["weekday"]) > 3 else "%a") + ("," if "," in shape.split()[0] else "") + " ") if found["weekday"] else ""
        )
        comma = "," if "," in name else ""
        day = (
            "%d{0}{1}{0}{2}".format(found["s3"], month, "%Y" if len(found["nyear"]) == 4 else "%y")
            if found["daymonth"]
            else f"{month} %d{comma} %Y"
        )
        family, day = "dates with the month's name", weekday + day
    if found["sep"] is None:
        return Way(DATE_ONLY, day, mark=mark, year=year)
    if found["digits"]:
        clock = "%H%M%S" if len(found["digits"]) == 6 else "%H%M"
    elif found["ampm"]:
        # The text is normalised to " AM" before it is parsed.
        family, clock = f"{family}, AM or PM", "%I:%M" + (":%S" if found["s"] else "") + (".%f" if found["f"] else "") + " %p"
    else:
        clock = "%H:%M" + (":%S" if found["s"] else "") + (".%f" if found["f"] else "")
    zoned = found["zone"] is not None
    return Way(family + (" with a zone" if zoned else ""), day + found["sep"] + clock, zoned, mark, year)


@dataclass(frozen=True, slots=True)
class WrittenTimes:
    """The texts of a column and how each is written.

    Attributes:
        texts: n texts without surrounding space; null as an empty text.
        ways: All ways in use.
        way: int64[n], index into `ways`, -1 for a text that is no time, -2 for an empty one.
    """

    texts: pa.Array
    ways: tuple[Way, ...]
    way: Int64s

    def families(self) -> dict[str, Int64s]:
        """Rows of each family, the most frequent family first."""
        found = {name: np.flatnonzero(np.isin(self.way, [place for place, way in enumerate(self.ways) if way.family == name]))
                 for name in {way.family for way in self.ways}}  # fmt: skip
        return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def written_times(column: pa.ChunkedArray) -> WrittenTimes:
    """Group the texts of a column by the way in which they are written."""
    column = pc.fill_null(column.cast(pa.string()), "").combine_chunks().dictionary_encode()  # minutes repeat: look at each text once
    texts = pc.utf8_trim_whitespace(column.dictionary)
    if not pc.all(pc.string_is_ascii(texts), min_count=0).as_py():
        texts = pc.replace_substring_regex(texts, "[\u00a0\u202f]", " ")  # browsers write a narrow space before AM and PM
    shapes = pc.dictionary_encode(pc.replace_substring_regex(texts, r"\d", "0"))
    ways, index = list[Way](), dict[Way, int]()
    by_shape = []
    for shape in shapes.dictionary.to_pylist():
        way = way_of(shape) if shape else None
        if way is not None and way not in index:
            index[way] = len(ways)
            ways.append(way)
        by_shape.append(-2 if not shape else -1 if way is None else index[way])
    rows, codes = (np.asarray(found.indices.to_numpy(zero_copy_only=False), np.int64) for found in (column, shapes))
    return WrittenTimes(texts.take(column.indices), tuple(ways), np.array(by_shape, np.int64)[codes][rows])


@dataclass(frozen=True, slots=True)
class DateOrder:
    """What the dates of three numbers say about their order.

    Attributes:
        orders: Every order in which all dates are valid and plausible; none if no order fits.
        examples: Row of a date that is valid only in this order.
        example: Row of the first date.
    """

    orders: frozenset[Order]
    examples: dict[Order, int]
    example: int


def date_order(written: WrittenTimes) -> DateOrder | None:
    """Which orders fit all dates of three numbers in the column; None if there are no such dates."""
    rows = np.flatnonzero(np.isin(written.way, [place for place, way in enumerate(written.ways) if way.mark]))
    if not len(rows):
        return None
    numbers = pc.extract_regex(written.texts.take(pa.array(rows)), r"^(?P<d>\d+[-/.]\d+[-/.]\d+)").field("d").dictionary_encode()
    codes = np.asarray(numbers.indices.to_numpy(zero_copy_only=False), np.int64)
    first = {code: int(row) for code, row in zip(*np.unique(codes, return_index=True), strict=True)}
    texts = numbers.dictionary.to_pylist()
    read = {order: [_date(text, order) for text in texts] for order in Order}
    valid = [place for place in range(len(texts)) if any(days[place] for days in read.values())]
    usual = (Order.MONTH_FIRST, Order.DAY_FIRST)
    examples = {}
    for order, other in (usual, usual[::-1]):
        only = [place for place in valid if read[order][place] and not read[other][place]]
        if only:
            examples[order] = int(rows[first[only[0]]])
    fitting = [order for order in Order if valid and all(read[order][place] for place in valid)]
    days = {order: [day for place in valid if (day := read[order][place])] for order in fitting}
    if Order.YEAR_FIRST in days and len(days) > 1:
        span = {order: (max(of) - min(of)).days + 1 for order, of in days.items()}
        shortest = min(span.values())
        implausible = [order for order in days if span[order] > _PLAUSIBLE_SPANS * shortest]
        if Order.YEAR_FIRST in implausible:
            del days[Order.YEAR_FIRST]
        elif set(implausible) == set(days) - {Order.YEAR_FIRST}:
            days = {Order.YEAR_FIRST: days[Order.YEAR_FIRST]}
    if len({tuple(of) for of in days.values()}) == 1:  # such as 4/4/2014: all orders agree
        days = dict([next(iter(days.items()))])
    return DateOrder(frozenset(days), examples, int(rows[0]))


def _date(text: str, order: Order) -> date | None:
    first, second, third = re.split(r"[-/.]", text)
    if order is Order.YEAR_FIRST:
        if len(first) != 2 or len(third) > 2:
            return None
        year, month, day = first, second, third
    else:
        year, month, day = (third, first, second) if order is Order.MONTH_FIRST else (third, second, first)
    number = int(year) + (2_000 if len(year) == 2 and int(year) < 69 else 1_900 if len(year) == 2 else 0)  # as strptime
    try:
        return date(number, int(month), int(day))
    except ValueError:
        return None
