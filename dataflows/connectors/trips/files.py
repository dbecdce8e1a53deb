"""Reads trip files as tables: Parquet or CSV, and finds their columns of time and place."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pacsv  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from schemas.errors import UsageError

# Names are compared in lower case with everything but letters and digits as one "_": "Date/Time" is date_time.
TIME_NAMES = (
    "time", "pickup_datetime", "tpep_pickup_datetime", "lpep_pickup_datetime", "pickup_time", "date_time", "datetime",
    "occurred_at", "started_at", "start_time", "starttime", "trip_start_timestamp", "timestamp",
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
PARQUET_MAGIC = b"PAR1"


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
class UnreadableRow:
    """A malformed row: its number from 1 without the heading, what is wrong, and its text."""

    row: int
    detail: str
    text: str


@dataclass(frozen=True, slots=True)
class TripTable:
    """One file's rows and the selected columns.

    Attributes:
        path: The file.
        table: All columns; CSV columns are text.
        time, lat, lon: Names of columns.
        id, zone: Names of columns, or None.
        timezone: Zone of all rows, or None.
        unreadable: Malformed rows, which are not in the table.
    """

    path: Path
    table: pa.Table
    time: str
    lat: str
    lon: str
    id: str | None
    zone: str | None
    timezone: str | None
    unreadable: list[UnreadableRow] = field(default_factory=list)

    def row_numbers(self) -> list[int]:
        """Number in the file of each row of the table, from 1 without the heading."""
        skipped = {bad.row for bad in self.unreadable}
        numbers = range(1, self.table.num_rows + len(skipped) + 1)
        return [number for number in numbers if number not in skipped] if skipped else list(numbers)


def read_trips(path: Path | str, names: ColumnNames, default_timezone: str) -> TripTable:
    """Read a trip file and select its columns.

    Args:
        path: Parquet if it has Parquet's magic bytes, else CSV (also .gz, .bz2, .zst).
        names: Columns that the user gave.
        default_timezone: Zone of local times without another one.
    Raises:
        UsageError: no such file, not readable, empty, or a required column is missing.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"{path}: expected a Parquet or CSV file of trips, found no such file")
    if path.is_dir():
        raise UsageError(f"{path}: expected a Parquet or CSV file of trips, got a directory")
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == PARQUET_MAGIC
        if not is_parquet and path.suffix.lower() in (".parquet", ".pq"):
            raise UsageError(f"{path}: expected Parquet as its name says, got something else; is the download complete?")
        if is_parquet:
            table, unreadable = pq.ParquetFile(path).read(), list[UnreadableRow]()
        else:
            table, unreadable = _read_csv(path)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UnicodeDecodeError, csv.Error) as cause:
        raise UsageError(f"{path}: cannot be read: {_one_line(cause)}") from cause
    except OSError as cause:
        raise UsageError(f"{path}: cannot be read: {cause.strerror or _one_line(cause)}") from cause
    return _choose(path, table, unreadable, names, default_timezone)


def _read_csv(path: Path) -> tuple[pa.Table, list[UnreadableRow]]:
    with pa.input_stream(str(path), compression="detect") as stream:
        data = stream.read()
    data = data.removeprefix(b"\xef\xbb\xbf")
    heading_bytes = data[: data.find(b"\n") + 1] or data
    if b"\x00" in heading_bytes or not heading_bytes.strip():
        raise UsageError(f"{path}: expected a CSV file with a heading, got {'an empty file' if not data.strip() else 'binary data'}")
    heading = next(csv.reader([heading_bytes.decode("utf-8")]))
    twice = sorted({name for name in heading if heading.count(name) > 1})
    if twice:
        raise UsageError(f"{path}: expected every column once, got {twice[0]!r} twice")
    unreadable: list[UnreadableRow] = []

    def skip(row: pacsv.InvalidRow) -> str:
        detail = f"expected {row.expected_columns} fields, got {row.actual_columns}"
        unreadable.append(UnreadableRow((row.number or 1) - 1, detail, row.text))
        return "skip"

    table = pacsv.read_csv(
        io.BytesIO(data),
        read_options=pacsv.ReadOptions(use_threads=False),  # with threads, rows are not numbered
        parse_options=pacsv.ParseOptions(invalid_row_handler=skip, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(column_types={name: pa.string() for name in heading}, strings_can_be_null=False),
    )
    return table, unreadable


def _choose(path: Path, table: pa.Table, unreadable: list[UnreadableRow], names: ColumnNames, default_timezone: str) -> TripTable:
    columns = list(table.column_names)
    find: Callable[[str, str | None, Sequence[str]], str | None] = lambda option, given, known: _find(path, columns, option, given, known)  # noqa: E731
    chosen = {
        "time": find("--time", names.time, TIME_NAMES),
        "lat": find("--lat", names.lat, LAT_NAMES),
        "lon": find("--lon", names.lon, LON_NAMES),
    }
    for option, name in chosen.items():
        if name is None:
            raise UsageError(f"{path}: found no {option} column; name it with --{option}; its columns are {', '.join(columns)}")
    zone_is_column = names.timezone is not None and names.timezone in columns
    zone = names.timezone if zone_is_column else None if names.timezone else find("--timezone", None, ZONE_NAMES)
    given = None if zone_is_column or names.timezone is None else names.timezone
    return TripTable(
        path=path,
        table=table,
        time=str(chosen["time"]),
        lat=str(chosen["lat"]),
        lon=str(chosen["lon"]),
        id=find("--id", names.id, ID_NAMES),
        zone=zone,
        timezone=given or (None if zone else default_timezone),
        unreadable=unreadable,
    )


def _find(path: Path, columns: list[str], option: str, given: str | None, known: Sequence[str]) -> str | None:
    if given is not None:
        if given not in columns:
            raise UsageError(f"{path}: {option}: expected one of the columns {', '.join(columns)}, got {given!r}")
        return given
    plain = {plain_name(name): name for name in reversed(columns)}
    return next((plain[name] for name in known if name in plain), None)


def plain_name(name: str) -> str:
    """A column's name, normalised for comparison.

    >>> plain_name(" Date/Time")
    'date_time'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")


def _one_line(cause: Exception) -> str:
    return " ".join(str(cause).split())[:300]
