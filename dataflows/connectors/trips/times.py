"""Converts start times of trips, text or local time, to microseconds UTC, or gives the reason why it cannot."""

from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]

from schemas.errors import UsageError
from schemas.events.rides import NO_TIME, Int64s
from state.counting.intake import YEAR_2000_US, YEAR_2100_US

# Month before day, as in the files of American cities; files with the day first must use ISO 8601.
TEXT_FORMATS = ("ISO8601", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p")
SAMPLE_ROWS = 1_000
WITH_ZONE = r"(?:[zZ]|[+-]\d{2}:?(?:\d{2})?)\s*$"

Reasons = npt.NDArray[np.object_]


class TimeFault(StrEnum):
    """Why a row has no valid time."""

    BAD_TIME = "bad_time"  # missing, or not a time
    BAD_TIMEZONE = "bad_timezone"  # the row's own zone is not an IANA name
    AMBIGUOUS_LOCAL_TIME = "ambiguous_local_time"  # occurs twice: the clocks were set back
    NONEXISTENT_LOCAL_TIME = "nonexistent_local_time"  # skipped: the clocks were set forward
    TIME_OUT_OF_BOUNDS = "time_out_of_bounds"  # outside 2000 to 2100


def utc_times(column: pa.ChunkedArray, zones: list[str | None] | str, *, where: str) -> tuple[Int64s, Reasons]:
    """Times of a column in UTC.

    Args:
        column: n timestamps or texts; those without a zone are local.
        zones: IANA zone of local times: one for all, or one per row.
        where: File and column, for errors.
    Returns:
        int64[n] microseconds, NO_TIME for an invalid time; and a TimeFault or None per row.
    Raises:
        UsageError: the column has neither timestamps nor text.

    >>> utc_times(pa.chunked_array([["2014-04-01 00:30"]]), "America/New_York", where="t")[0].tolist()
    [1396326600000000]
    """
    faults: Reasons = np.full(len(column), None, np.object_)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        values = pd.Series(column.cast(pa.timestamp("us", column.type.tz), safe=False).to_numpy())
        local = np.full(len(column), column.type.tz is None)
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        values, local = _parse(column.to_pandas().astype(object))
    else:
        raise UsageError(f"{where}: expected timestamps or text, got {column.type}")
    times = _to_us(values)
    faults[times == NO_TIME] = TimeFault.BAD_TIME
    rows = np.flatnonzero(local & (times != NO_TIME))
    if isinstance(zones, str):
        times[rows], faults[rows] = _localise(values.iloc[rows], zones)
    else:
        names = np.array(zones, np.object_)[rows]
        for name in sorted({str(name) for name in names}):
            mine = rows[names == name] if name != "None" else rows[[value is None for value in names]]
            times[mine], faults[mine] = _localise(values.iloc[mine], name)
    outside = (faults == None) & ((times < YEAR_2000_US) | (times >= YEAR_2100_US))  # noqa: E711  elementwise
    faults[outside] = TimeFault.TIME_OUT_OF_BOUNDS
    times[faults != None] = NO_TIME  # noqa: E711
    return times, faults


def _parse(texts: "pd.Series[str]") -> "tuple[pd.Series[pd.Timestamp], npt.NDArray[np.bool_]]":
    """Times without zone (in UTC if the text has a zone), and which of them are local."""
    texts = texts.fillna("").str.strip()
    zoned = texts.str.contains(WITH_ZONE, regex=True) & texts.str.contains(":", regex=False)
    values = pd.Series(np.full(len(texts), np.datetime64("NaT"), "datetime64[us]"))
    if zoned.any():
        parsed = pd.to_datetime(texts[zoned], format="ISO8601", errors="coerce", utc=True)
        values[zoned] = parsed.dt.tz_localize(None).astype("datetime64[us]")
    naive = texts[~zoned]
    if len(naive):
        sample = naive.iloc[:SAMPLE_ROWS]
        read = [int(pd.to_datetime(sample, format=form, errors="coerce").notna().sum()) for form in TEXT_FORMATS]
        values[~zoned] = pd.to_datetime(naive, format=TEXT_FORMATS[int(np.argmax(read))], errors="coerce").astype("datetime64[us]")
    return values, ~zoned.to_numpy(np.bool_)


def _to_us(values: "pd.Series[pd.Timestamp]") -> Int64s:
    raw = values.to_numpy("datetime64[us]")
    return np.where(np.isnat(raw), NO_TIME, raw.astype(np.int64))


def _localise(values: "pd.Series[pd.Timestamp]", zone: str) -> tuple[Int64s, Reasons]:
    """Local times of one zone in UTC."""
    faults: Reasons = np.full(len(values), None, np.object_)
    if not known_zone(zone):
        faults[:] = TimeFault.BAD_TIMEZONE
        return np.full(len(values), NO_TIME), faults
    index = pd.DatetimeIndex(values)
    exact = index.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    first = index.tz_localize(zone, ambiguous=np.ones(len(index), np.bool_), nonexistent="NaT")
    faults[exact.isna()] = TimeFault.AMBIGUOUS_LOCAL_TIME
    faults[first.isna()] = TimeFault.NONEXISTENT_LOCAL_TIME
    return _to_us(exact.tz_convert("UTC").tz_localize(None).to_series(index=values.index)), faults


def known_zone(name: str) -> bool:
    """Whether the name is an IANA zone.

    >>> known_zone("America/New_York"), known_zone("New York")
    (True, False)
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
