"""Converts trips to ride events: one `started` event per row of a trip file, with an id that every rerun reproduces."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from dataflows.connectors.trips.files import TripTable
from dataflows.connectors.trips.times import Reasons, TimeFault, known_zone, utc_times
from schemas.errors import UsageError
from schemas.events.codec import EventColumns
from schemas.events.measures import KINDS, RideKind
from schemas.events.rides import NO_TIME, Float64s, Int64s, UInt8s

STARTED = KINDS.index(RideKind.STARTED)
MAX_ID_BYTES = 64  # as in `schemas.events.rides.Reason.BAD_ID`
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


class RowFault(StrEnum):
    """Why a row gives no event, in addition to `TimeFault`."""

    UNREADABLE_ROW = "unreadable_row"  # not as many fields as the heading
    BAD_COORDINATES = "bad_coordinates"  # missing, not a number, or not degrees
    BAD_ID = "bad_id"  # the id column is empty or holds more than 64 bytes


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that gives no event; `row` counts from 1 without the heading."""

    path: Path
    row: int
    reason: TimeFault | RowFault
    text: str


@dataclass(frozen=True, slots=True)
class Trips:
    """The valid rows of several files, ascending by time, equal times in the files' order.

    Attributes:
        id: n texts, ids of the ride and of its only event.
        occurred_at_us: int64[n], UTC.
        lat, lon: float64[n], degrees.
        received: Rows in the files: the sum of accepted and rejected rows.
        repeated: Accepted rows that equal an earlier row; they count as different rides.
        rejected: The rejected rows, in the files' order.
    """

    id: list[str]
    occurred_at_us: Int64s
    lat: Float64s
    lon: Float64s
    received: int
    repeated: int
    rejected: list[RejectedRow]

    def __len__(self) -> int:
        return len(self.id)

    def events(self, region: str, start: int, stop: int) -> EventColumns:
        """Rows start to stop as ride events."""
        ids = self.id[start:stop]
        kind: UInt8s = np.full(len(ids), STARTED, np.uint8)
        return EventColumns(ids, ids, kind, self.occurred_at_us[start:stop], region, self.lat[start:stop], self.lon[start:stop])


def to_trips(tables: Sequence[TripTable]) -> Trips:
    """The trips of several files, merged.

    Raises:
        UsageError: a column has the wrong type, or no row is valid.
    """
    times, lats, lons, rejected, received = [], [], [], list[RejectedRow](), 0
    ids, seen = list[str](), Counter[str]()
    for trips in tables:
        at, lat, lon, faults = _columns(trips)
        own_ids = None if trips.id is None else _texts(trips.table[trips.id])
        if own_ids is not None:
            for row, text in enumerate(own_ids):
                if faults[row] is None and not 0 < len(text.encode()) <= MAX_ID_BYTES:
                    faults[row] = RowFault.BAD_ID
        good = np.array([fault is None for fault in faults], np.bool_)
        valid = np.flatnonzero(good)
        at, lat, lon = at[valid], lat[valid], lon[valid]
        rejected += _rejects(trips, faults, np.flatnonzero(~good))
        received += len(good) + len(trips.unreadable)
        if own_ids is not None:
            ids += [own_ids[row] for row in valid.tolist()]
            seen.update(ids[len(ids) - len(valid) :])
        else:
            ids += _derived_ids(at, lat, lon, _other_columns(trips, valid), seen)
        times.append(at)
        lats.append(lat)
        lons.append(lon)
    if not ids:
        reasons = Counter(row.reason.value for row in rejected)
        summary = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "no rows"
        raise UsageError(f"{', '.join(str(trips.path) for trips in tables)}: expected at least one valid trip, got {summary}")
    all_times = np.concatenate(times)
    order = np.argsort(all_times, kind="stable")
    return Trips(
        id=[ids[row] for row in order.tolist()],
        occurred_at_us=all_times[order],
        lat=np.concatenate(lats)[order],
        lon=np.concatenate(lons)[order],
        received=received,
        repeated=len(ids) - len(seen),
        rejected=rejected,
    )


def _columns(trips: TripTable) -> tuple[Int64s, Float64s, Float64s, Reasons]:
    """Time, latitude and longitude of every row, and the first fault of each."""
    table, path = trips.table, trips.path
    if trips.timezone is not None and not known_zone(trips.timezone):
        raise UsageError(f"--timezone: expected a column of {path} or an IANA name such as America/New_York, got {trips.timezone!r}")
    zones = trips.timezone or [text or None for text in _texts(table[str(trips.zone)])]
    at, faults = utc_times(table[trips.time], zones, where=f"{path}: column {trips.time!r}")
    lat, lon = (_degrees(table[name], f"{path}: column {name!r}") for name in (trips.lat, trips.lon))
    # The intake alone checks whether a point is in the region.
    wrong = ~((np.abs(lat) <= 90) & (np.abs(lon) <= 180))
    for row in np.flatnonzero(wrong).tolist():
        faults[row] = faults[row] or RowFault.BAD_COORDINATES
    return at, lat, lon, faults


def _degrees(column: pa.ChunkedArray, where: str) -> Float64s:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        number = pc.match_substring_regex(column, _NUMBER)
        column = pc.utf8_trim_whitespace(pc.if_else(number, column, pa.scalar("nan", column.type)))
    try:
        numbers = column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as cause:
        raise UsageError(f"{where}: expected numbers, got {column.type}") from cause
    return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Every value as text; null as an empty string."""
    return ["" if text is None else text for text in _as_text(column).to_pylist()]


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.chunked_array([pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())])


def _other_columns(trips: TripTable, valid: Int64s) -> list[str]:
    """All columns except time and place, joined to one text per valid row."""
    used = {trips.time, trips.lat, trips.lon, trips.zone}
    others = [_as_text(trips.table[name]) for name in trips.table.column_names if name not in used]
    if not others:
        return [""] * len(valid)
    joined = pc.binary_join_element_wise(*others, "\x1f", null_handling="replace", null_replacement="")
    texts: list[str] = joined.take(pa.array(valid)).to_pylist()
    return texts


def _derived_ids(at: Int64s, lat: Float64s, lon: Float64s, others: list[str], seen: Counter[str]) -> list[str]:
    """BLAKE2b-128 of each row's canonical text and its number among equal rows.

    Without that number, rows that are equal to the minute and the metre would count as one ride; New
    York has 17,824 such rows in April and May 2014.
    """
    ids, blake2b = [], hashlib.blake2b
    for time, y, x, other in zip(at.tolist(), lat.tolist(), lon.tolist(), others, strict=True):
        row = f"{time}\x1f{y!r}\x1f{x!r}\x1f{other}"
        count = seen[row]
        seen[row] = count + 1
        ids.append(blake2b(f"{row}\x1f{count}".encode(), digest_size=16).hexdigest())
    return ids


def _rejects(trips: TripTable, faults: Reasons, bad: Int64s) -> list[RejectedRow]:
    out = [RejectedRow(trips.path, row.row, RowFault.UNREADABLE_ROW, f"{row.detail}: {row.text}") for row in trips.unreadable]
    if len(bad):
        numbers = trips.row_numbers()
        shown = trips.table.take(pa.array(bad)).to_pylist()
        for place, row in enumerate(bad.tolist()):
            text = ",".join("" if value is None else str(value) for value in shown[place].values())
            out.append(RejectedRow(trips.path, numbers[row], faults[row], text))
    return sorted(out, key=lambda row: row.row)


def time_range(trips: Trips) -> tuple[int, int]:
    """Smallest and largest time, or NO_TIME twice without trips."""
    return (int(trips.occurred_at_us[0]), int(trips.occurred_at_us[-1])) if len(trips) else (NO_TIME, NO_TIME)
