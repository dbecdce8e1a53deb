"""Files of covariates: what their rows become, and the one line that refuses each file that cannot be used."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from dataflows.connectors import covariate_files
from dataflows.connectors.covariate_files import CovariateRows, read_covariates
from schemas.errors import UsageError
from schemas.events.covariates import NAMES
from schemas.regions import load_region

NYC = load_region("nyc")
HEADING = "valid_at,known_at,name,value\n"
NOON = 1_396_368_000  # 2014-04-01 12:00 in New York, seconds since 1970


def read(folder: Path, text: str | bytes) -> CovariateRows:
    """The rows of a file with this content."""
    path = folder / "weather.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_covariates(path, NYC)


def plain(rows: CovariateRows) -> list[tuple[str, int, int, int]]:
    """(name, valid_s, known_s, value_milli) of each row."""
    columns = (rows.name.tolist(), rows.valid_s.tolist(), rows.known_s.tolist(), rows.values_milli.tolist())
    return [(NAMES[name], *rest) for name, *rest in zip(*columns, strict=True)]


def test_rows_are_ordered_and_kept_once(tmp_path: Path) -> None:
    """Times with an offset, in UTC and in local time are the same moments; equal rows count once; a part of a second counts late."""
    found = read(
        tmp_path,
        HEADING
        + "2014-04-01T13:00,2014-04-01T12:00:00.25-04:00,temperature_c,-1.2345\n"
        + "2014-04-01T16:00Z,2014-04-01T12:00-04:00,temperature_c, 7\n"
        + "2014-04-01 12:00,2014-04-01 12:00,temperature_c,7.0\n"
        + "2014-04-01T16:00:00+00:00,2014-04-01T16:00Z,precipitation_mm,0.254\n",
    )
    assert [
        ("precipitation_mm", NOON, NOON, 254),
        ("temperature_c", NOON, NOON, 7_000),
        ("temperature_c", NOON + 3_600, NOON + 1, -1_234),
    ] == plain(found)
    assert 32 == len(found.source)


@pytest.mark.parametrize("kind", [pa.timestamp("ns", tz="Europe/Berlin"), pa.timestamp("us", tz="UTC"), pa.timestamp("ms"), pa.string()])
def test_parquet_gives_the_rows_of_csv(tmp_path: Path, kind: pa.DataType) -> None:
    """Timestamps with a zone are moments, others and texts are local times, numbers are numbers."""
    at = datetime.fromtimestamp(NOON, UTC)
    local = datetime(2014, 4, 1, 12)
    value = local.isoformat() if kind == pa.string() else at if kind.tz else local
    times = pa.array([value, value], kind)
    table = pa.table({"value": [1.5, 2.5], "name": ["wind_m_s", "snow_mm"], "known_at": times, "valid_at": times})
    pq.write_table(table, tmp_path / "weather.parquet")
    assert [("snow_mm", NOON, NOON, 2_500), ("wind_m_s", NOON, NOON, 1_500)] == plain(read_covariates(tmp_path / "weather.parquet", NYC))


ROW = "2014-04-01T12:00,2014-04-01T12:00,wind_m_s,1\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a CSV file with a heading, got an empty file"),
        (HEADING, "got no rows"),
        ("valid_at,name,value\n1,2,3\n", "known_at is missing"),
        ("valid_at,known_at,name,value,cell\n1,2,3,4,5\n", "got also cell; remove it: each value is for the whole region"),
        (HEADING + ROW + "2014-04-01T12:00,yesterday,wind_m_s,1\n", "line 3: expected an ISO time such as"),
        (HEADING + "2014-04-01 12:00 EST,2014-04-01T12:00,wind_m_s,1\n", "line 2: expected an ISO time such as"),
        (HEADING + "2014-11-02T01:30,2014-11-02T12:00,wind_m_s,1\n", "is ambiguous in America/New_York; add the offset from UTC, or Z"),
        (HEADING + "1914-04-01T12:00,2014-04-01T12:00,wind_m_s,1\n", "expected a year from 2000"),
        (HEADING + "2014-04-01T12:00,2014-04-01T12:00,moon,1\n", "line 2: name: expected one of precipitation_mm"),
        (HEADING + "2014-04-01T12:00,2014-04-01T12:00,wind_m_s,nan\n", "expected 0 to 120 m/s, got nan; leave out the rows"),
        (HEADING + "2014-04-01T12:00,2014-04-01T12:00,temperature_c,75\n", "expected -90 to 60 degrees Celsius, got 75; check the unit"),
        (HEADING + "2014-04-01T12:00,2014-04-01T12:00,wind_m_s,1_0\n", "expected a number, got '1_0'"),
        (HEADING + "2014-04-01T12:00,2014-04-01T12:00,wind_m_s,\u0661\u0662\n", "expected a number, got"),
        (HEADING + "2014-04-01,2014-04-01,wind_m_s,1\n", "line 2: expected a date and a time such as 2014-05-01T08:00, got '2014-04-01'"),
        (HEADING + "2014-04-01T12:00,20140401,wind_m_s,1\n", "got '20140401'; give the time as well; a value of a whole day is known only"),
        (HEADING + "2014-04-01T12:00,2014-04-01T12:00,wind_m_s,1e999\n", "expected 0 to 120 m/s"),
        (HEADING + "2014-04-01T12:00,2014-04-01T12:00,precipitation_mm,-1\n", "expected 0 to 500 mm, got -1"),
        (HEADING + '2014-04-01T12:00,2014-04-01T12:00,wind_m_s,"1,5"\n', "expected a number, got '1,5'"),
        (HEADING + "2014-04-01T12:00,2014-04-01T12:00,wind_m_s\n", "line 2: expected 4 fields, got 3"),
        (
            HEADING + ROW + ROW.replace("s,1", "s,2"),
            "line 3: expected one value of wind_m_s for each valid_at and known_at, got 1 in",
        ),
        (b"\x00\x01\x02\x03", "expected a CSV file with a heading, got binary data"),
        (b"PAR1 and then nothing", "got Parquet that cannot be read"),
        (HEADING.encode() + b"\xff\xfe\n", "expected utf-8 text"),
    ],
)
def test_what_cannot_be_used_is_refused_whole(tmp_path: Path, text: str | bytes, words: str) -> None:
    """One line says what was expected, what came, where, and what to do."""
    with pytest.raises(UsageError) as refused:
        read(tmp_path, text)
    said = str(refused.value)
    assert words in said
    assert said.startswith(str(tmp_path / "weather.csv"))
    assert "\n" not in said


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A missing file, a directory and a pipe are refused at once, and nothing waits for the pipe's writer."""
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("nothing.csv", "No such file"), (".", "got a directory"), ("pipe", "got a pipe or a device")):
        with pytest.raises(UsageError, match=words):
            read_covariates(tmp_path / name, NYC)


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of too many bytes, and one of too many rows, in either format."""
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(covariate_files.MOST_BYTES + 1)
    with pytest.raises(UsageError, match="expected at most 64 MiB, got 64 MiB; split the file"):
        read_covariates(tmp_path / "large.csv", NYC)
    monkeypatch.setattr(covariate_files, "MOST_ROWS", 1)
    with pytest.raises(UsageError, match="expected at most 1 rows, got 2; split the file"):
        read(tmp_path, HEADING + ROW + ROW)
    pq.write_table(pa.table({name: ["1", "2"] for name in covariate_files.COLUMNS}), tmp_path / "weather.parquet")
    with pytest.raises(UsageError, match="expected at most 1 rows, got 2; split the file"):
        read_covariates(tmp_path / "weather.parquet", NYC)


def test_a_time_outside_of_every_calendar_is_refused(tmp_path: Path) -> None:
    """A timestamp of the year 148,000 is one line, not an unexpected error."""
    times = pa.array([1 << 62], pa.timestamp("us"))
    pq.write_table(pa.table({"valid_at": times, "known_at": times, "name": ["wind_m_s"], "value": [1.0]}), tmp_path / "weather.parquet")
    with pytest.raises(UsageError, match="got Parquet that cannot be read: date value out of range"):
        read_covariates(tmp_path / "weather.parquet", NYC)


def test_a_parquet_column_of_another_type_is_refused(tmp_path: Path) -> None:
    """Times as numbers have no stated unit, and a value that is a list is none."""
    good = {name: ["1"] for name in covariate_files.COLUMNS}
    for name, column, words in (
        ("valid_at", [1], "expected timestamps or text"),
        ("value", [[1.0]], "expected numbers"),
        ("name", [1], "text"),
    ):
        pq.write_table(pa.table({**good, name: column}), tmp_path / "weather.parquet")
        with pytest.raises(UsageError, match=words):
            read_covariates(tmp_path / "weather.parquet", NYC)
