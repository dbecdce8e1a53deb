"""Reads files of covariates: one row per value, with the time that it is for and the time at which it became known.

A file is refused as a whole if any of its rows cannot be used: a feed that is half taken would look like one that works.
"""

import hashlib
import math
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from dataflows.connectors.trips.csv_text import CsvRules, read_csv
from schemas.errors import UsageError
from schemas.events.covariates import COVARIATES, MILLI, NAMES, Covariate
from schemas.events.rides import Int64s
from schemas.regions import US_PER_S, Region
from schemas.times import parse_time

COLUMNS = ("valid_at", "known_at", "name", "value")
MOST_BYTES = 64 << 20
MOST_ROWS = 250_000  # a year of four covariates by the hour, each forecast six times; all of them stay in memory
EXPECTED = f"expected a CSV or Parquet file with the columns {', '.join(COLUMNS)}"
PARQUET_MAGIC = b"PAR1"
ROWS_PER_TURN = 10_000

_BY_NAME = {row.name: row for row in COVARIATES}


@dataclass(frozen=True, slots=True)
class CovariateRows:
    """The values of a file, n rows, each (name, valid_s, known_s) once, ascending.

    Attributes:
        source: SHA-256 of the file.
        name: int64[n], place in `schemas.events.covariates.NAMES`.
        valid_s, known_s: int64[n], seconds since 1970.
        values_milli: int64[n], 1/1000 of the unit.
    """

    source: bytes
    name: Int64s
    valid_s: Int64s
    known_s: Int64s
    values_milli: Int64s

    def __len__(self) -> int:
        return len(self.name)


def read_covariates(path: Path, region: Region, on_share: Callable[[float], None] = lambda share: None) -> CovariateRows:
    """Read a file; a time without an offset is the region's local time.

    Raises:
        UsageError: no such file, too large, not a table, or a row that cannot be used; says which line or row.
    """
    data = _content(path)
    columns, where = _parquet(path, data) if data.startswith(PARQUET_MAGIC) else _csv(path, data)
    count = len(columns[0])
    if not count:
        raise UsageError(f"{path}: {EXPECTED}, got no rows")
    if count > MOST_ROWS:
        raise UsageError(f"{path}: expected at most {MOST_ROWS:,} rows, got {count:,}", remedy="split the file")
    times: dict[str, int] = {}
    rows = np.empty((4, count), np.int64)
    for i, (valid, known, name, value) in enumerate(zip(*columns, strict=True)):
        if i % ROWS_PER_TURN == 0:
            on_share(i / count)
        try:
            covariate = _BY_NAME[name]
            valid_us, known_us = _time(times, valid, region), _time(times, known, region)
            # A value counts from a whole second at which it was known already.
            rows[:, i] = NAMES.index(name), valid_us // US_PER_S, -(-known_us // US_PER_S), _milli(covariate, value)
        except KeyError:
            raise UsageError(f"{path}: {where(i)}: name: expected one of {', '.join(NAMES)}, got {name[:60]!r}") from None
        except UsageError as cause:
            raise UsageError(f"{path}: {where(i)}: {cause}") from cause
    return _ordered(path, data, rows, where)


def _content(path: Path) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path}: {EXPECTED}, got {'a directory' if path.is_dir() else 'a pipe or a device'}")
        if found.st_size > MOST_BYTES:
            raise UsageError(f"{path}: expected at most {MOST_BYTES >> 20} MiB, got {found.st_size >> 20} MiB", remedy="split the file")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)  # It may have grown since.
    except OSError as cause:
        raise UsageError(f"{path}: {EXPECTED}: {cause.strerror}") from cause
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path}: expected at most {MOST_BYTES >> 20} MiB, got more", remedy="split the file")
    return data


def _csv(path: Path, data: bytes) -> tuple[list[list[str]], Callable[[int], str]]:
    try:
        text = read_csv(path, data, CsvRules())
    except pa.ArrowInvalid as cause:
        raise UsageError(f"{path}: {EXPECTED}: {' '.join(str(cause).split())[:200]}") from cause
    if text.bad:
        raise UsageError(f"{path}: line {text.bad[0].line}: {text.bad[0].detail}")
    _check_names(path, text.table.column_names)
    return [[value.strip() for value in text.table[name].to_pylist()] for name in COLUMNS], lambda i: f"line {text.line[i]}"


def _parquet(path: Path, data: bytes) -> tuple[list[list[str]], Callable[[int], str]]:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        _check_names(path, file.schema_arrow.names)
        if file.metadata.num_rows > MOST_ROWS:
            raise UsageError(f"{path}: expected at most {MOST_ROWS:,} rows, got {file.metadata.num_rows:,}", remedy="split the file")
        table = file.read()
        return [_texts(path, name, table[name]) for name in COLUMNS], lambda i: f"row {i + 1}"
    except (pa.ArrowException, OSError, OverflowError) as cause:  # the last: a time that no calendar has
        raise UsageError(f"{path}: {EXPECTED}, got Parquet that cannot be read: {' '.join(str(cause).split())[:200]}") from cause


def _texts(path: Path, name: str, column: pa.ChunkedArray) -> list[str]:
    """A column of a Parquet file as it would stand in a CSV file."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    time = name in ("valid_at", "known_at")
    if time and pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", tz="UTC" if kind.tz else None), safe=False)
        return ["" if at is None else _iso(at) for at in column.to_pylist()]
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or (name == "value" and number)):
        wanted = "timestamps or text" if time else "numbers" if name == "value" else "text"
        raise UsageError(f"{path}: column {name!r}: expected {wanted}, got {kind}")
    return ["" if value is None else str(value) for value in column.to_pylist()]


def _iso(at: datetime) -> str:
    return at.isoformat()


def _check_names(path: Path, names: Sequence[str]) -> None:
    """Require exactly the four columns: a value per cell, say, must not be taken for one of the whole region."""
    missing, more = [name for name in COLUMNS if name not in names], [name for name in names if name not in COLUMNS]
    if missing:
        raise UsageError(f"{path}: {EXPECTED}; {', '.join(missing)} is missing, its columns are {', '.join(names)[:200]}")
    if more:
        remedy = "remove it: each value is for the whole region" if len(more) == 1 else "remove them: each value is for the whole region"
        raise UsageError(f"{path}: {EXPECTED}, got also {', '.join(more)[:200]}", remedy=remedy)


def _time(known: dict[str, int], text: str, region: Region) -> int:
    """Microseconds UTC of a text; many rows share one."""
    if text not in known:
        if _is_date(text):
            raise UsageError(
                f"expected a date and a time such as 2014-05-01T08:00, got {text!r}",
                remedy="give the time as well; a value of a whole day is known only after the day",
            )
        known[text] = parse_time(text, region)
    return known[text]


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _milli(covariate: Covariate, text: str) -> int:
    try:
        # Python takes 1_0 and digits of other scripts as numbers, other readers of the file do not.
        value = float(text if text.isascii() and "_" not in text else "")
    except ValueError:
        raise UsageError(f"{covariate.name}: expected a number, got {text[:60]!r}") from None
    if not math.isfinite(value) or not covariate.least <= value <= covariate.most:
        raise UsageError(
            f"{covariate.name}: expected {covariate.least:g} to {covariate.most:g} {covariate.unit}, got {text[:60]}",
            remedy="check the unit" if math.isfinite(value) else "leave out the rows of what is not known",
        )
    return round(value * MILLI)


def _ordered(path: Path, data: bytes, rows: Int64s, where: Callable[[int], str]) -> CovariateRows:
    """The rows in order, each once.

    Raises:
        UsageError: two rows contradict each other.
    """
    order = np.lexsort((rows[2], rows[1], rows[0]))
    same = (np.diff(rows[:3, order], axis=1) == 0).all(axis=0)
    values = rows[3, order]
    wrong = np.flatnonzero(same & (np.diff(values) != 0))
    if len(wrong):
        one, other = sorted((int(order[wrong[0]]), int(order[wrong[0] + 1])))
        raise UsageError(
            f"{path}: {where(other)}: expected one value of {NAMES[rows[0, one]]} for each valid_at and known_at, got "
            f"{rows[3, one] / MILLI:g} in {where(one)} and {rows[3, other] / MILLI:g}",
            remedy="give a corrected value the time at which it was corrected as its known_at",
        )
    kept = order[np.concatenate([[True], ~same])]
    return CovariateRows(hashlib.sha256(data).digest(), *rows[:, kept])
