"""Local times and times with a zone of their own in UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from schemas.events.rides import NO_TIME, Int64s
from state.counting.intake import YEAR_2000_US, YEAR_2100_US

Reasons = npt.NDArray[np.object_]

US_PER_S = 1_000_000
LARGEST_OFFSET_H = 14  # Kiribati
OFFSET = re.compile(r"(?:UTC|GMT)?[+-]\d\d?(?::?\d\d)?")
DAY_US = 86_400 * US_PER_S
LIMITS = (YEAR_2000_US - DAY_US, YEAR_2100_US + DAY_US)  # local times may lie a day outside the bounds


class TimeFault(StrEnum):
    """Why a row has no valid time."""

    BAD_TIME = "bad_time"  # missing, or not a time
    BAD_TIMEZONE = "bad_timezone"  # the row's own zone is not an IANA name
    AMBIGUOUS_LOCAL_TIME = "ambiguous_local_time"  # occurs twice: the clocks were set back
    NONEXISTENT_LOCAL_TIME = "nonexistent_local_time"  # skipped: the clocks were set forward
    TIME_OUT_OF_BOUNDS = "time_out_of_bounds"  # outside 2000 to 2100


@dataclass(frozen=True, slots=True)
class Zones:
    """The zone of the local times of each row.

    Attributes:
        names: Different zones; an empty text where a row names none.
        code: int64[n], index into `names`; None if all rows have the first.
    """

    names: list[str]
    code: Int64s | None = None

    def of(self, row: int) -> str:
        """The zone of one row."""
        return self.names[0 if self.code is None else int(self.code[row])]


def zones_of(column: pa.ChunkedArray) -> Zones:
    """The zones that a column names.

    >>> zones_of(pa.chunked_array([["UTC", None, "UTC"]])).names
    ['UTC', '']
    """
    encoded = pc.fill_null(column.cast(pa.string()), "").combine_chunks().dictionary_encode()
    return Zones(
        [name.strip() for name in encoded.dictionary.to_pylist()], np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)
    )


def to_us(values: "pd.Series[pd.Timestamp]") -> Int64s:
    raw = values.to_numpy("datetime64[us]")
    return np.where(np.isnat(raw), NO_TIME, raw.astype(np.int64))


def zoned_times(at: Int64s, names: pa.Array, zones: Zones, rows: Int64s) -> tuple[Int64s, Reasons]:
    """UTC of times that name their own offset or zone; `rows` are their rows in the column."""
    faults: Reasons = np.full(len(at), None, np.object_)
    encoded = names.dictionary_encode()
    codes = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)
    for code, name in enumerate(encoded.dictionary.to_pylist()):
        mine = np.flatnonzero((codes == code) & (at != NO_TIME) & (at >= LIMITS[0]) & (at < LIMITS[1]))
        offset_min = _offset_min(name)
        if offset_min is not None:
            at[mine] -= offset_min * 60 * US_PER_S
        elif "/" in name:
            at[mine], faults[mine] = localised(at[mine], name.strip("[]"))
        else:
            # CST is in America, Cuba and China: a short name means what it means in the zone of the local times.
            for row in mine.tolist():
                short_min = _short_names(zones.of(int(rows[row]))).get(name)
                if short_min is None:
                    faults[row] = TimeFault.BAD_TIMEZONE
                else:
                    at[row] -= short_min * 60 * US_PER_S
    return at, faults


def _offset_min(name: str) -> int | None:
    """Minutes east of Greenwich, or None for another kind of name."""
    digits = name.upper().removeprefix("UTC").removeprefix("GMT")
    if digits in ("", "Z"):
        return 0
    if digits[0] not in "+-":
        return None
    number = digits[1:].replace(":", "")
    hours, minutes = (int(number), 0) if len(number) <= 2 else (int(number[:-2]), int(number[-2:]))
    if hours > LARGEST_OFFSET_H or minutes >= 60:
        return None
    return (hours * 60 + minutes) * (-1 if digits[0] == "-" else 1)


@lru_cache(maxsize=64)
def _short_names(zone: str) -> dict[str, int]:
    """Short names of a zone's times from 2000 on, such as EDT, with their offsets in minutes; without those that had several."""
    if not known_zone(zone):
        return {}
    found: dict[str, set[int]] = {}
    for month in range(12 * 40):
        at = datetime(2000 + month // 12, month % 12 + 1, 15, tzinfo=UTC).astimezone(ZoneInfo(zone))
        offset = at.utcoffset()
        found.setdefault(at.tzname() or "", set()).add(0 if offset is None else int(offset.total_seconds()) // 60)
    return {name: offsets.pop() for name, offsets in found.items() if len(offsets) == 1}


def localised(at: Int64s, zone: str) -> tuple[Int64s, Reasons]:
    """Local times of one zone in UTC."""
    faults: Reasons = np.full(len(at), None, np.object_)
    offset_min = _offset_min(zone) if OFFSET.fullmatch(zone) else None  # a column of offsets
    if offset_min is not None:
        return at - offset_min * 60 * US_PER_S, faults
    if not known_zone(zone):
        faults[:] = TimeFault.BAD_TIMEZONE
        return np.full(len(at), NO_TIME), faults
    index = pd.DatetimeIndex(at.astype("datetime64[us]"))
    exact = index.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    unclear = np.flatnonzero(exact.isna())
    if len(unclear):
        first = index[unclear].tz_localize(zone, ambiguous=np.ones(len(unclear), np.bool_), nonexistent="NaT").isna()
        faults[unclear] = TimeFault.AMBIGUOUS_LOCAL_TIME
        faults[unclear[first]] = TimeFault.NONEXISTENT_LOCAL_TIME
    return to_us(exact.tz_convert("UTC").tz_localize(None).to_series()), faults


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
