"""Converts trips to ride events: one event per row of a trip file, with an id that every rerun reproduces."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from dataflows.connectors.trips.coordinates import degrees
from dataflows.connectors.trips.files import TripTable
from dataflows.connectors.trips.guesses import guess_calendar, guess_place, guess_time
from dataflows.connectors.trips.local_times import Reasons, TimeFault, known_zone, zones_of
from dataflows.connectors.trips.time_formats import Order, TimeRules
from dataflows.connectors.trips.times import TimeColumn, time_column, utc_times
from schemas.errors import UsageError
from schemas.events.codec import EventColumns
from schemas.events.measures import KINDS, RideKind
from schemas.events.rides import Float64s, Int64s, UInt8s

STARTED = KINDS.index(RideKind.STARTED)
MAX_ID_BYTES = 64  # as in `schemas.events.rides.Reason.BAD_ID`
EXAMPLES = 3  # of each reason, in messages


class RowFault(StrEnum):
    """Why a row gives no event, in addition to `TimeFault`."""

    UNREADABLE_ROW = "unreadable_row"  # not as many fields as the heading
    BAD_COORDINATES = "bad_coordinates"  # missing, not a number, or not degrees
    BAD_ID = "bad_id"  # the id column is empty or holds more than 64 bytes
    REPEATED_ID = "repeated_id"  # an earlier, different row has this id
    STRAY_TIME = "stray_time"  # far from all other times, and left out on request


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that gives no event.

    Attributes:
        row: Its number from 1 without the heading.
        text: The whole row.
        place: Line or row in the file, for messages.
        value: What is wrong, as it is written.
    """

    path: Path
    row: int
    reason: TimeFault | RowFault
    text: str
    place: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Trips:
    """The valid rows of several files, ascending by time, equal times in the files' order.

    Attributes:
        id: n texts, ids of the ride and of its only event.
        occurred_at_us: int64[n], UTC.
        lat, lon: float64[n], degrees.
        file, row: int64[n], index into `tables`, and the row of that table.
        received: Rows in the files: the sum of accepted, duplicate and rejected rows.
        repeated: Accepted rows that equal an earlier row; they count as different rides.
        duplicates: Rows with the id, time and place of an earlier row; they are the same ride, and left out.
        shared: Per file after the first, accepted rows that equal a row of an earlier file.
        rejected: The rejected rows, in the files' order.
        how: Per file, how it was read: columns, format of times, zone.
        tables: The files.
    """

    id: list[str]
    occurred_at_us: Int64s
    lat: Float64s
    lon: Float64s
    file: Int64s
    row: Int64s
    received: int
    repeated: int
    duplicates: int
    shared: dict[Path, int]
    rejected: list[RejectedRow]
    how: tuple[str, ...]
    tables: tuple[TripTable, ...]

    def __len__(self) -> int:
        return len(self.id)

    def events(self, region: str, start: int, stop: int, kind: int = STARTED) -> EventColumns:
        """Rows start to stop as ride events of a kind, an index into `KINDS`."""
        ids = self.id[start:stop]
        kinds: UInt8s = np.full(len(ids), kind, np.uint8)
        return EventColumns(ids, ids, kinds, self.occurred_at_us[start:stop], region, self.lat[start:stop], self.lon[start:stop])

    def place(self, ride: int) -> str:
        """File, line and time of a ride, for messages."""
        table, row = self.tables[int(self.file[ride])], int(self.row[ride])
        return f"{table.path.name} {table.place(row)}: {_text_of(table, table.time, row)!r}"

    def without(self, rides: Int64s, reason: RowFault) -> "Trips":
        """The same without some rides, which are rejected."""
        keep = np.ones(len(self), np.bool_)
        keep[rides] = False
        rejected = list(self.rejected)
        for file, table in enumerate(self.tables):
            rows = np.sort(self.row[rides[self.file[rides] == file]])
            rejected += _rejects(table, dict.fromkeys(rows.tolist(), reason))
        order = {table.path: number for number, table in enumerate(self.tables)}
        return replace(
            self,
            id=[self.id[ride] for ride in np.flatnonzero(keep).tolist()],
            occurred_at_us=self.occurred_at_us[keep],
            lat=self.lat[keep],
            lon=self.lon[keep],
            file=self.file[keep],
            row=self.row[keep],
            rejected=sorted(rejected, key=lambda row: (order[row.path], row.row)),
        )


def to_trips(tables: Sequence[TripTable], rules: TimeRules | None = None) -> Trips:
    """The trips of several files, merged.

    Raises:
        UsageError: a column has the wrong type or cannot be understood, or no row is valid.
    """
    rules = rules or TimeRules()
    columns = [time_column(t.table[t.time], rules, where=f"{t.path}: column {t.time!r}", place=t.place) for t in tables]
    orders = frozenset(order for column in columns if column.order and len(column.order.orders) == 1 for order in column.order.orders)
    parts = _Parts()
    for number, (trips, column) in enumerate(zip(tables, columns, strict=True)):
        at, lat, lon, faults, how = _columns(trips, column, rules, orders)
        own_ids = None if trips.id is None else _texts(trips.table[trips.id])
        if own_ids is not None:
            for row, text in enumerate(own_ids):
                if faults[row] is None and not 0 < len(text.encode()) <= MAX_ID_BYTES:
                    faults[row] = RowFault.BAD_ID
        good = np.asarray(faults == None, np.bool_)  # noqa: E711  elementwise
        valid = np.flatnonzero(good)
        if not valid.size and len(faults):
            parts.hints.append(_hint(trips, faults, lat, lon))
        parts.rejected[number] = {row: faults[row] for row in np.flatnonzero(~good).tolist()}
        parts.received += len(good) + len(trips.unreadable)
        at, lat, lon = at[valid], lat[valid], lon[valid]
        if own_ids is not None:
            parts.ids += [own_ids[row] for row in valid.tolist()]
        else:
            ids, shared = _derived_ids(at, lat, lon, _other_columns(trips, valid), parts.seen)
            parts.ids += ids
            parts.derived += len(ids)
            if number and shared:
                parts.shared[trips.path] = shared
        parts.arrays.append((at, lat, lon, np.full(len(valid), number), valid))
        parts.how.append(how)
    return _merged(tuple(tables), parts)


class _Parts:
    """What has been read of the files so far."""

    def __init__(self) -> None:
        self.ids = list[str]()
        self.arrays = list[tuple[Int64s, Float64s, Float64s, Int64s, Int64s]]()
        self.rejected = dict[int, dict[int, TimeFault | RowFault]]()
        self.seen = Counter[str]()
        self.shared = dict[Path, int]()
        self.how = list[str]()
        self.hints = list[str]()
        self.received = self.derived = 0


def _merged(tables: tuple[TripTable, ...], parts: _Parts) -> Trips:
    at, lat, lon, file, row = (np.concatenate(arrays) for arrays in zip(*parts.arrays, strict=True))
    only_derived = parts.derived == len(parts.ids)  # numbered, so that none repeats
    same, other = ([], []) if only_derived else _repeated_ids(parts.ids, at, lat, lon)
    for ride in other:
        parts.rejected[int(file[ride])][int(row[ride])] = RowFault.REPEATED_ID
    rejected = [bad for number, table in enumerate(tables) for bad in _rejects(table, parts.rejected[number], with_unreadable=True)]
    if len(same) + len(other) == len(parts.ids):
        where = ", ".join(str(trips.path) for trips in tables[:5])
        hint = "; ".join(dict.fromkeys(hint for hint in parts.hints if hint))
        raise UsageError(f"{where}: expected at least one valid trip, got {summary(rejected) or 'no rows'}", remedy=hint)
    order = np.argsort(at, kind="stable")
    if same or other:
        order = order[~np.isin(order, [*same, *other])]
    return Trips(
        id=[parts.ids[place] for place in order.tolist()],
        occurred_at_us=at[order],
        lat=lat[order],
        lon=lon[order],
        file=file[order],
        row=row[order],
        received=parts.received,
        repeated=parts.derived - len(parts.seen),
        duplicates=len(same),
        shared=parts.shared,
        rejected=rejected,
        how=tuple(parts.how),
        tables=tables,
    )


def _repeated_ids(ids: list[str], at: Int64s, lat: Float64s, lon: Float64s) -> tuple[list[int], list[int]]:
    """Rows whose id occurs earlier: with the same time and place, and with others."""
    if len(set(ids)) == len(ids):
        return [], []
    first = dict[str, int]()
    same, other = list[int](), list[int]()
    for place, name in enumerate(ids):
        earlier = first.setdefault(name, place)
        if earlier != place:
            equal = at[earlier] == at[place] and lat[earlier] == lat[place] and lon[earlier] == lon[place]
            (same if equal else other).append(place)
    return same, other


def _columns(
    trips: TripTable, times: TimeColumn, rules: TimeRules, orders: frozenset[Order]
) -> tuple[Int64s, Float64s, Float64s, Reasons, str]:
    """Time, latitude and longitude of every row, the first fault of each, and how the file was read."""
    table, path = trips.table, trips.path
    if trips.timezone is not None and not known_zone(trips.timezone):
        raise UsageError(f"--timezone: expected a column of {path} or an IANA name such as America/New_York, got {trips.timezone!r}")
    zones = trips.timezone or zones_of(table[str(trips.zone)])
    found = utc_times(times, zones, rules, orders)
    lat, lon = (degrees(table[name], f"{path}: column {name!r}") for name in (trips.lat, trips.lon))
    # The intake alone checks whether a point is in the region.
    wrong = ~((np.abs(lat) <= 90) & (np.abs(lon) <= 180))
    for row in np.flatnonzero(wrong).tolist():
        found.faults[row] = found.faults[row] or RowFault.BAD_COORDINATES
    zone = f", local times of {trips.timezone or f'the zones in column {trips.zone!r}'}" if found.local else ""
    ids = f"ids in {trips.id!r}" if trips.id else "ids derived from the rows"
    written = f"; {trips.written}" if trips.written else ""
    how = f"time in {trips.time!r} ({found.how}{zone}), places in {trips.lat!r} and {trips.lon!r}, {ids}{written}"
    return found.at, lat, lon, found.faults, how


def _hint(trips: TripTable, faults: Reasons, lat: Float64s, lon: Float64s) -> str:
    """What a file without a valid row looks like."""
    row = 0
    if faults[row] is RowFault.BAD_COORDINATES:
        return guess_place(lat, lon, _text_of(trips, trips.lat, row))
    text = _text_of(trips, trips.time, row)
    if faults[row] is TimeFault.BAD_TIMEZONE:
        return "give --timezone with an IANA name for all rows"
    return guess_time(text) if faults[row] is TimeFault.BAD_TIME else guess_calendar(text)


def summary(rejected: Sequence[RejectedRow]) -> str:
    """Counts by reason, each with examples.

    >>> bad = RejectedRow(Path("t.csv"), 1, TimeFault.BAD_TIME, "never,1,2", "line 2", "never")
    >>> summary([bad, bad])
    "2 bad_time (t.csv line 2: 'never', line 2: 'never')"
    """
    shown = []
    for reason, count in Counter(row.reason for row in rejected).most_common():
        examples = [row for row in rejected if row.reason is reason][:EXAMPLES]
        texts = [
            f"{'' if n and row.path == examples[n - 1].path else f'{row.path.name} '}{row.place}: {row.value!r}"
            for n, row in enumerate(examples)
        ]
        shown.append(f"{count:,} {reason.value} ({', '.join(texts)})")
    return ", ".join(shown)


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Every value as text; null as an empty string."""
    return ["" if text is None else text for text in _as_text(column).to_pylist()]


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.chunked_array([pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())])


def _text_of(trips: TripTable, column: str, row: int) -> str:
    return _texts(trips.table[column].slice(row, 1))[0]


def _other_columns(trips: TripTable, valid: Int64s) -> list[str]:
    """All columns except time and place, joined to one text per valid row."""
    used = {trips.time, trips.lat, trips.lon, trips.zone}
    others = [_as_text(trips.table[name]) for name in trips.table.column_names if name not in used]
    if not others:
        return [""] * len(valid)
    joined = pc.binary_join_element_wise(*others, "\x1f", null_handling="replace", null_replacement="")
    return [str(text) for text in joined.take(pa.array(valid)).to_pylist()]


def _derived_ids(at: Int64s, lat: Float64s, lon: Float64s, others: list[str], seen: Counter[str]) -> tuple[list[str], int]:
    """BLAKE2b-128 of each row's canonical text and its number among equal rows; and how many rows equal one of an earlier file.

    Without that number, rows that are equal to the minute and the metre would count as one ride; New
    York has 17,824 such rows in April and May 2014.
    """
    ids, blake2b, earlier, shared = [], hashlib.blake2b, frozenset(seen), 0
    for time, y, x, other in zip(at.tolist(), lat.tolist(), lon.tolist(), others, strict=True):
        row = f"{time}\x1f{y!r}\x1f{x!r}\x1f{other}"
        count = seen[row]
        seen[row] = count + 1
        ids.append(blake2b(f"{row}\x1f{count}".encode(), digest_size=16).hexdigest())
        if count and row in earlier:
            shared += 1
    return ids, shared


def _rejects(trips: TripTable, faults: dict[int, TimeFault | RowFault], *, with_unreadable: bool = False) -> list[RejectedRow]:
    out = []
    if with_unreadable:
        out = [
            RejectedRow(
                trips.path, row.row, RowFault.UNREADABLE_ROW, f"{row.detail}: {row.text}", f"line {row.line}", f"{row.detail}: {row.text}"
            )
            for row in trips.unreadable
        ]
    rows = sorted(faults)
    shown = trips.table.take(pa.array(rows, pa.int64()))
    texts = {name: _texts(shown[name]) for name in shown.column_names}
    for place, row in enumerate(rows):
        text = ",".join(values[place] for values in texts.values())
        match faults[row]:
            case RowFault.BAD_COORDINATES:
                value = f"{texts[trips.lat][place]}, {texts[trips.lon][place]}"
            case RowFault.BAD_ID | RowFault.REPEATED_ID:
                value = texts[str(trips.id)][place]
            case TimeFault.BAD_TIMEZONE if trips.zone:
                value = f"{texts[trips.time][place]} {texts[trips.zone][place]}"
            case _:
                value = texts[trips.time][place]
        out.append(RejectedRow(trips.path, int(trips.row[row]), faults[row], text, trips.place(row), value))
    return sorted(out, key=lambda bad: bad.row)
