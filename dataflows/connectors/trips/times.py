"""Converts start times of trips to microseconds UTC, or gives the reason why it cannot."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from dataflows.connectors.trips.guesses import guess_time
from dataflows.connectors.trips.local_times import LIMITS, US_PER_S, Reasons, TimeFault, Zones, localised, to_us, zoned_times
from dataflows.connectors.trips.time_formats import (
    DATE_ONLY,
    EPOCH,
    EPOCHS,
    ISO,
    TIME_ONLY,
    ZONE,
    DateOrder,
    Order,
    TimeRules,
    WrittenTimes,
    date_order,
    written_times,
)
from schemas.errors import UsageError
from schemas.events.rides import NO_TIME, Float64s, Int64s
from state.counting.intake import YEAR_2000_US, YEAR_2100_US

Place = Callable[[int], str]  # row of a column -> "line 12"

_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_ORDERS = "give --day-first or --month-first"


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """A column of times before they are read.

    Attributes:
        column: n timestamps, numbers or texts.
        where: File and column, for errors.
        place: Where a row is, for errors.
        written: How the texts are written; None for timestamps and numbers.
        order: What dates of three numbers say; None if there are none.
    """

    column: pa.ChunkedArray
    where: str
    place: Place
    written: WrittenTimes | None = None
    order: DateOrder | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """Times of a column in UTC.

    Attributes:
        at: int64[n] microseconds, NO_TIME for an invalid time.
        faults: A TimeFault or None per row.
        how: How the times are written, for the user.
        local: Whether any time is in local time.
    """

    at: Int64s
    faults: Reasons
    how: str
    local: bool


def time_column(column: pa.ChunkedArray, rules: TimeRules, *, where: str, place: Place | None = None) -> TimeColumn:
    """Look at how a column is written, without deciding.

    Raises:
        UsageError: the column has a type that cannot hold times of rides.
    """
    place = place or (lambda row: f"row {row + 1}")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_date(kind) or pa.types.is_time(kind):
        raise _no_clock(where, DATE_ONLY if pa.types.is_date(kind) else TIME_ONLY, kind)
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if numeric and rules.format is not None and "%" in rules.format:
        column = column.cast(pa.string())  # such as 20140401001500
    elif numeric or pa.types.is_timestamp(kind):
        return TimeColumn(column, where, place)
    if pa.types.is_null(kind):
        column = column.cast(pa.string())
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or str(column.type) == "string_view"):
        raise UsageError(f"{where}: expected timestamps or text, got {kind}", remedy="name another column with --time")
    written = written_times(column)
    return TimeColumn(column, where, place, written, date_order(written))


def utc_times(column: TimeColumn, zones: Zones | str, rules: TimeRules, others: frozenset[Order] = frozenset()) -> Times:
    """Times of a column in UTC.

    Args:
        column: n times; those without a zone are local.
        zones: IANA zone of local times: one for all, or one per row.
        rules: What the user said about the format.
        others: Orders of day and month found in other files of the import, for a column that fits both.
    Raises:
        UsageError: the column mixes formats, or day and month cannot be told apart.

    >>> column = time_column(pa.chunked_array([["2014-04-01 00:30"]]), TimeRules(), where="t")
    >>> utc_times(column, "America/New_York", TimeRules()).at.tolist()
    [1396326600000000]
    """
    zones = Zones([zones]) if isinstance(zones, str) else zones
    faults: Reasons = np.full(len(column.column), None, np.object_)
    if column.written is not None:
        at, local, how = _from_texts(column, column.written, zones, rules, others, faults)
    elif pa.types.is_timestamp(column.column.type):
        at, how = _from_timestamps(column.column, faults), str(column.column.type)
        local = np.full(len(at), column.column.type.tz is None)
    else:
        at, how = _from_numbers(column, _numbers(column.column), np.arange(len(column.column)), rules, faults)
        local = np.zeros(len(at), np.bool_)
    faults[(at == NO_TIME) & (faults == None)] = TimeFault.BAD_TIME  # noqa: E711  elementwise
    outside = (faults == None) & ((at < LIMITS[0]) | (at >= LIMITS[1]))  # noqa: E711  before conversion, which has bounds of its own
    faults[outside] = TimeFault.TIME_OUT_OF_BOUNDS
    rows = np.flatnonzero(local & (faults == None))  # noqa: E711
    for code, name in enumerate(zones.names):
        mine = rows if zones.code is None else rows[zones.code[rows] == code]
        at[mine], faults[mine] = localised(at[mine], name)
    outside = (faults == None) & ((at < YEAR_2000_US) | (at >= YEAR_2100_US))  # noqa: E711
    faults[outside] = TimeFault.TIME_OUT_OF_BOUNDS
    at[faults != None] = NO_TIME  # noqa: E711
    return Times(at, faults, how, bool(local.any()))


def _from_timestamps(column: pa.ChunkedArray, faults: Reasons) -> Int64s:
    """Microseconds of timestamps; those outside the bounds are not converted, since they may not fit."""
    raw = np.asarray(pc.fill_null(column.cast(pa.int64()), 0).to_numpy(), np.int64)
    missing = np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False), np.bool_)
    return _scaled(raw, missing, _UNITS[column.type.unit], faults)


def _scaled(raw: Int64s | Float64s, missing: npt.NDArray[np.bool_], per_s: int, faults: Reasons) -> Int64s:
    """Microseconds of times that are counted in another unit; faults of those out of bounds."""
    low, high = (limit // US_PER_S * per_s for limit in LIMITS)
    inside = (raw >= low) & (raw < high) & ~missing
    faults[~inside & ~missing] = TimeFault.TIME_OUT_OF_BOUNDS
    kept = np.where(inside, raw, 0)
    if kept.dtype.kind == "f":
        scaled = np.round(kept * (US_PER_S / per_s)).astype(np.int64)
    else:
        scaled = kept * (US_PER_S // per_s) if per_s <= US_PER_S else kept // (per_s // US_PER_S)
    return np.where(inside, scaled, NO_TIME)


def _numbers(column: pa.ChunkedArray) -> Int64s | Float64s:
    """Numbers of a column; whole numbers exactly, unless some are missing."""
    if pa.types.is_integer(column.type) and not column.null_count:
        return np.asarray(column.cast(pa.int64(), safe=False).to_numpy(), np.int64)
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)


def _from_numbers(column: TimeColumn, values: Int64s | Float64s, rows: Int64s, rules: TimeRules, faults: Reasons) -> tuple[Int64s, str]:
    """Microseconds of numbers since 1970 in the one unit that fits; `rows` are their rows in the column."""
    missing = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(len(values), np.bool_)
    if rules.format in EPOCHS:
        unit = str(rules.format)
    else:
        fits = {
            name: (values >= YEAR_2000_US // US_PER_S * per_s) & (values < YEAR_2100_US // US_PER_S * per_s)
            for name, per_s in EPOCHS.items()
        }
        examples = {name: int(rows[np.argmax(mask)]) for name, mask in fits.items() if mask.any()}
        if not examples:
            if missing.all():
                return np.full(len(values), NO_TIME), "nothing"
            first = int(np.argmax(~missing))
            raise UsageError(
                f"{column.where}: expected timestamps or text, got {column.column.type}, whose values are no seconds, milli-, micro- or "
                f"nanoseconds since 1970: {column.place(int(rows[first]))}: {values[first]}",
                remedy=guess_time(str(values[first])) or "name another column with --time, or give --time-format",
            )
        if len(examples) > 1:
            raise UsageError(
                f"{column.where}: expected one unit of time, got {_each(column, examples)}",
                remedy=f"give --time-format, one of {', '.join(EPOCHS)}",
            )
        [unit] = examples
    own: Reasons = np.full(len(values), None, np.object_)
    at = _scaled(values, missing, EPOCHS[unit], own)
    faults[rows] = own
    return at, f"numbers since 1970 ({unit})"


def _each(column: TimeColumn, examples: Mapping[str, int], counts: Mapping[str, int] | None = None) -> str:
    shown = []
    for name, row in examples.items():
        count = f", {counts[name]:,} values" if counts else ""
        shown.append(f"{name} ({column.place(row)}: {str(column.column[row].as_py()).strip()!r}{count})")
    return " and ".join(shown)


def _from_texts(
    column: TimeColumn, written: WrittenTimes, zones: Zones, rules: TimeRules, others: frozenset[Order], faults: Reasons
) -> tuple[Int64s, npt.NDArray[np.bool_], str]:
    at, local = np.full(len(written.texts), NO_TIME), np.zeros(len(written.texts), np.bool_)
    if rules.format is not None and "%" in rules.format:
        return _by_pattern(written.texts, rules.format)
    families = written.families()
    if rules.format == ISO:
        families = {name: rows for name, rows in families.items() if name.startswith("ISO 8601") or name == DATE_ONLY}
    elif rules.format is not None:
        families = {name: rows for name, rows in families.items() if name == EPOCH}
    else:
        _check_one_family(column, families, rules)
    how = " and ".join(families) or "no known format"
    order = None
    if column.order is not None and rules.format is None:
        order = rules.order or _order(column, column.order, others)
        how = f"{how}, {order}"
    for place, way in enumerate(written.ways):
        if way.family not in families or (way.mark and order is None and way.family == DATE_ONLY):
            continue
        rows = np.flatnonzero(written.way == place)
        texts = written.texts.take(pa.array(rows))
        if way.family == EPOCH:
            whole = not pc.any(pc.match_substring(texts, ".")).as_py()
            numbers = _numbers(pa.chunked_array([texts]).cast(pa.int64() if whole and _short(texts) else pa.float64()))
            at[rows], how = _from_numbers(column, numbers, rows, rules, faults)
        elif way.zoned:
            parts = pc.extract_regex(texts, rf"^(?P<body>.*?)\s?(?P<zone>{ZONE})$")
            read = _parsed(parts.field("body"), way.strptime(order))
            at[rows], faults[rows] = zoned_times(read, parts.field("zone"), zones, rows)
        else:
            at[rows], local[rows] = _parsed(texts, way.strptime(order)), True
    return at, local, how


def _short(texts: pa.Array) -> bool:
    return bool(pc.max(pc.utf8_length(texts)).as_py() <= 18)


def _check_one_family(column: TimeColumn, families: dict[str, Int64s], rules: TimeRules) -> None:
    names = list(families)
    if rules.zone_given and len(names) == 2 and {names[0] + " with a zone", names[1] + " with a zone"} & set(names):
        return
    if len(names) > 1:
        examples, counts = {name: int(rows[0]) for name, rows in families.items()}, {name: len(rows) for name, rows in families.items()}
        remedy = "write all times in one way, or give --time-format: values that do not fit it are rejected"
        if any(name.endswith(" with a zone") for name in names) and len(names) == 2:
            remedy = "give --timezone for the times without a zone, or --time-format"
        raise UsageError(f"{column.where}: expected times in one format, got {_each(column, examples, counts)}", remedy=remedy)
    if names and names[0] in (DATE_ONLY, TIME_ONLY):
        row = int(families[names[0]][0])
        raise _no_clock(column.where, names[0], f"{column.place(row)}: {column.column[row].as_py()!r}")


def _no_clock(where: str, what: str, found: object) -> UsageError:
    remedy = "name the column with --time, or join date and time of day in one column"
    return UsageError(f"{where}: expected times with date and time of day, got {what}: {found}", remedy=remedy)


def _order(column: TimeColumn, found: DateOrder, others: frozenset[Order]) -> Order:
    """The one order of day and month that fits.

    Raises:
        UsageError: several do, or none.
    """
    if len(found.orders) == 1:
        return next(iter(found.orders))
    if len(found.orders & others) == 1:
        return next(iter(found.orders & others))
    if found.orders:
        text = str(column.column[found.example].as_py()).strip()
        fitting = ", ".join(sorted(found.orders))
        raise UsageError(
            f"{column.where}: {text!r} ({column.place(found.example)}) is ambiguous: every date of the column fits {fitting}",
            remedy=_ORDERS,
        )
    if len(found.examples) > 1:
        both = _each(column, {f"only {order}": row for order, row in found.examples.items()})
        raise UsageError(
            f"{column.where}: expected dates in one order, got dates that fit {both}",
            remedy=f"{_ORDERS}: dates that do not fit are rejected",
        )
    return Order.MONTH_FIRST  # no date is valid in any order: all are rejected


def _parsed(texts: pa.Array, pattern: str) -> Int64s:
    """Microseconds of texts as if they were UTC, NO_TIME for what is no time."""
    encoded = texts.dictionary_encode()
    different = encoded.dictionary
    if "%p" in pattern:
        different = pc.replace_substring_regex(different, r"(?i) ?([ap])\.?m\.?$", r" \1M")
    at = to_us(pd.to_datetime(pd.Series(different.to_pylist(), dtype=object), format=pattern, errors="coerce"))
    return at[np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)]


def _by_pattern(texts: pa.Array, pattern: str) -> tuple[Int64s, npt.NDArray[np.bool_], str]:
    """Times of texts by the user's own pattern."""
    aware = "%z" in pattern or "%Z" in pattern
    try:
        read = pd.to_datetime(pd.Series(texts.to_pylist(), dtype=object), format=pattern, errors="coerce", utc=aware)
    except ValueError as cause:
        raise UsageError(f"--time-format: expected a pattern such as %d.%m.%Y %H:%M, got {pattern!r}: {cause}") from cause
    return to_us(read.dt.tz_localize(None) if aware else read), np.full(len(texts), not aware), pattern
