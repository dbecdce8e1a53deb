"""Reads trip files as tables: Parquet or CSV, and finds their columns of time and place."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from dataflows.connectors.trips.csv_text import BadRow, CsvRules, read_csv
from dataflows.connectors.trips.inputs import EXPECTED, PARQUET_MAGIC, read_bytes
from schemas.errors import UsageError
from schemas.events.rides import Int64s

# Names are compared in lower case with everything but letters and digits as one "_": "Date/Time" is date_time.
TIME_NAMES = (
    "time", "pickup_datetime", "tpep_pickup_datetime", "lpep_pickup_datetime", "pickup_time", "date_time", "datetime",
    "occurred_at", "started_at", "start_time", "starttime", "trip_start_timestamp", "timestamp",
    "pickup_at", "pickup", "start_datetime", "start_timestamp", "trip_start_time", "begin_time", "request_time", "requested_at",
)  # fmt: skip
LAT_NAMES = (
    "lat",
    "latitude",
    "pickup_latitude",
    "pickup_lat",
    "start_lat",
    "start_latitude",
    "start_station_latitude",
    "pickup_centroid_latitude",
)
LON_NAMES = ("lon", "lng", "long", "longitude", "pickup_longitude", "pickup_lon", "pickup_lng", "start_lng", "start_lon", "start_longitude",
    "start_station_longitude", "pickup_centroid_longitude")  # fmt: skip
ZONE_NAMES = ("tz", "timezone", "time_zone")
ID_NAMES = ("event_id", "ride_id", "trip_id")


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """Names of the columns to use; None selects a column by its usual names.

    Attributes:
        timezone: Name of a column, or an IANA zone for all rows.
    """

    time: str | None = None
    lat: str | None = None
    lon: str | None = None
    id: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class TripTable:
    """One file's rows and the selected columns.

    Attributes:
        path: The file.
        table: All columns; CSV columns are text.
        time, lat, lon: Names of columns.
        id, zone: Names of columns, or None.
        timezone: Zone of all rows, or None.
        row: int64[n], number in the file of each row of the table, from 1 without the heading.
        line: int64[n], line of the file where each row starts, from 1; None for Parquet.
        unreadable: Malformed rows, which are not in the table.
        written: Delimiter and encoding of a CSV file that are not the usual ones, for the user.
    """

    path: Path
    table: pa.Table
    time: str
    lat: str
    lon: str
    id: str | None
    zone: str | None
    timezone: str | None
    row: Int64s
    line: Int64s | None = None
    unreadable: list[BadRow] = field(default_factory=list)
    written: str = ""

    def place(self, row: int) -> str:
        """Where a row of the table is in the file."""
        return f"row {self.row[row]}" if self.line is None else f"line {self.line[row]}"


def read_trips(
    path: Path | str, names: ColumnNames, default_timezone: str, rules: CsvRules | None = None, *, derive_ids: bool = False
) -> TripTable:
    """Read a trip file and select its columns.

    Args:
        path: Parquet if it has Parquet's magic bytes, else CSV; may be compressed.
        names: Columns that the user gave.
        default_timezone: Zone of local times without another one.
        rules: How a CSV file is written.
        derive_ids: Use no id column.
    Raises:
        UsageError: no such file, not readable, empty, or a required column is missing.
    """
    path, rules = Path(path), rules or CsvRules()
    if not path.exists():
        raise UsageError(f"{path}: {EXPECTED}, found no such file")
    if path.is_dir():
        raise UsageError(f"{path}: {EXPECTED}, got a directory")
    try:
        with path.open("rb") as file:
            magic = file.read(len(PARQUET_MAGIC))
        if not magic:
            raise UsageError(f"{path}: expected a CSV file with a heading, got an empty file")
        data = b"" if magic == PARQUET_MAGIC else read_bytes(path)
        is_parquet = PARQUET_MAGIC in (magic, data[: len(PARQUET_MAGIC)])
        if not is_parquet and path.suffix.lower() in (".parquet", ".pq"):
            raise UsageError(f"{path}: expected Parquet as its name says, got something else; is the download complete?")
        if is_parquet:
            table = pq.ParquetFile(pa.BufferReader(data) if data else path).read()
            columns = table.column_names
            twice = frozenset(name for name in columns if columns.count(name) > 1)
            table = table.rename_columns(
                [name if name not in columns[:i] else f"{name} (column {i + 1})" for i, name in enumerate(columns)]
            )
            chosen = _Columns(path, list(table.column_names), twice)
            return _choose(chosen, table, names, default_timezone, derive_ids, np.arange(1, table.num_rows + 1))
        found = read_csv(path, data, rules)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UnicodeDecodeError, csv.Error) as cause:
        raise UsageError(f"{path}: cannot be read: {_one_line(cause)}") from cause
    except OSError as cause:
        raise UsageError(f"{path}: cannot be read: {cause.strerror or _one_line(cause)}") from cause
    chosen = _Columns(path, list(found.table.column_names), found.twice)
    usual = found.delimiter == "," and found.encoding == "utf-8"
    written = "" if usual else f"delimiter {found.delimiter!r}, encoding {found.encoding}"
    return _choose(chosen, found.table, names, default_timezone, derive_ids, found.row, found.line, found.bad, written)


def _choose(
    columns: "_Columns",
    table: pa.Table,
    names: ColumnNames,
    default_timezone: str,
    derive_ids: bool,
    row: Int64s,
    line: Int64s | None = None,
    unreadable: list[BadRow] | None = None,
    written: str = "",
) -> TripTable:
    required = [("time", names.time, TIME_NAMES), ("lat", names.lat, LAT_NAMES), ("lon", names.lon, LON_NAMES)]
    time, lat, lon = (columns.required(*each) for each in required)
    zone_is_column = names.timezone is not None and names.timezone in columns.names
    zone = names.timezone if zone_is_column else None if names.timezone else columns.find("timezone", None, ZONE_NAMES)
    given = None if zone_is_column or names.timezone is None else names.timezone
    return TripTable(
        path=columns.path,
        table=table,
        time=time,
        lat=lat,
        lon=lon,
        id=None if derive_ids else columns.find("id", names.id, ID_NAMES),
        zone=zone,
        timezone=given or (None if zone else default_timezone),
        row=row,
        line=line,
        unreadable=unreadable or [],
        written=written,
    )


@dataclass(frozen=True, slots=True)
class _Columns:
    """The names of a file's columns, and those that occur twice."""

    path: Path
    names: list[str]
    twice: frozenset[str]

    def required(self, option: str, given: str | None, known: Sequence[str]) -> str:
        """The column for that option.

        Raises:
            UsageError: there is none; says what was looked for and what is similar.
        """
        name = self.find(option, given, known)
        if name is not None:
            return name
        plain = {plain_name(name): name for name in self.names}
        similar = [plain[close] for close in get_close_matches(option, plain, 1, 0.6)]
        similar += [plain[close] for wanted in known for close in get_close_matches(wanted, plain, 1, 0.8) if plain[close] not in similar]
        hint = f"; is it {', '.join(map(repr, similar[:3]))}?" if similar else ""
        if self.names and sum(re.fullmatch(r"\s*[+-]?\d[\d.,:/ -]*", name) is not None for name in self.names) >= 2:
            hint = "; the first line looks like a row: add a line with the names of the columns above it"
        raise UsageError(
            f"{self.path}: found no {option} column; name it with --{option}; its columns are {', '.join(self.names)}{hint}"
            f"; looked for {', '.join(known)}"
        )

    def find(self, option: str, given: str | None, known: Sequence[str]) -> str | None:
        """The column that was given, or the first one with a usual name."""
        if given is not None:
            if given not in self.names:
                raise UsageError(f"{self.path}: --{option}: expected one of the columns {', '.join(self.names)}, got {given!r}")
            self._check_once(given, [given] if given in self.twice else [])
            return given
        for name in known:
            found = [column for column in self.names if plain_name(column) == name]
            if found:
                self._check_once(found[0], found if len(found) > 1 or found[0] in self.twice else [])
                return found[0]
        return None

    def _check_once(self, name: str, same: list[str]) -> None:
        if same:
            shown = f"{name!r} twice" if name in self.twice else " and ".join(map(repr, same))
            raise UsageError(f"{self.path}: expected every column once, got {shown}", remedy="rename or remove one of them")


def plain_name(name: str) -> str:
    """A column's name, normalised for comparison.

    >>> plain_name(" Date/Time")
    'date_time'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")


def _one_line(cause: Exception) -> str:
    return " ".join(str(cause).split())[:300]
