"""Trip files as ride events: columns, times, ids and rejected rows."""

import gzip
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from dataflows.connectors.trips.files import ColumnNames, read_trips
from dataflows.connectors.trips.rides import STARTED, Trips, to_trips
from dataflows.connectors.trips.time_formats import Order, TimeRules
from dataflows.connectors.trips.times import time_column, utc_times
from schemas.errors import UsageError

NEW_YORK = "America/New_York"
MIDNIGHT_US = 1_396_324_800_000_000  # 2014-04-01 00:00 in New York


def csv_trips(folder: Path, text: str, names: ColumnNames | None = None, name: str = "trips.csv") -> Trips:
    """The trips of a CSV file with that text."""
    (folder / name).write_text(text, "utf-8")
    return to_trips([read_trips(folder / name, names or ColumnNames(), NEW_YORK)])


def reasons(trips: Trips) -> list[tuple[int, str]]:
    """(row, reason) of the rejected rows."""
    return [(row.row, row.reason.value) for row in trips.rejected]


def test_all_of_new_york_is_accepted(shared: Path) -> None:
    """Every row of April and May 2014 becomes its own ride, including the 17,824 exact repeats."""
    found = []
    for month in ("04", "05"):
        trips = to_trips([read_trips(shared / "data" / f"uber_nyc_2014-{month}.parquet", ColumnNames(), NEW_YORK)])
        found.append((len(trips), len(set(trips.id)), trips.repeated, len(trips.rejected)))
    assert found == [(564_516, 564_516, 7_749, 0), (652_435, 652_435, 10_075, 0)]
    assert sum(repeated for _, _, repeated, _ in found) == 17_824


@pytest.mark.parametrize(
    "heading",
    [
        "time,lat,lon",
        "Date/Time,Lat,Lon",
        "pickup_datetime,pickup_latitude,pickup_longitude",
        "tpep_pickup_datetime, Pickup Latitude,PICKUP_LONGITUDE",
        "started_at,start_lat,start_lng",
        "\ufefftime,lat,lon",
    ],
)
def test_columns_are_found_by_their_usual_names(tmp_path: Path, heading: str) -> None:
    """Columns of time and place are found by the names that cities use."""
    trips = csv_trips(tmp_path, f"{heading}\n2014-04-01 00:00,40.7,-74.0\n")
    assert (trips.occurred_at_us.tolist(), trips.lat.tolist(), trips.lon.tolist()) == ([MIDNIGHT_US], [40.7], [-74.0])


def test_columns_can_be_named(tmp_path: Path) -> None:
    """Given names override known names; an id column gives the ids."""
    text = "time,begin,lat,y,lon,x,key\nno,2014-04-01 00:00,no,40.7,no,-74,ride-1\n"
    trips = csv_trips(tmp_path, text, ColumnNames("begin", "y", "x", "key"))
    assert (trips.id, trips.occurred_at_us.tolist(), trips.lat.tolist()) == (["ride-1"], [MIDNIGHT_US], [40.7])


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("2014-04-01 00:00:00", MIDNIGHT_US),
        ("2014-04-01T00:00", MIDNIGHT_US),
        (" 2014-04-01 00:00:00.250001 ", MIDNIGHT_US + 250_001),
        ("2014-04-01T04:00:00Z", MIDNIGHT_US),
        ("2014-04-01T06:00:00+02:00", MIDNIGHT_US),
        ("2014-03-31 23:00:00-0500", MIDNIGHT_US),
        ("4/1/2014 0:00:00", MIDNIGHT_US),
        ("4/1/2014 0:00", MIDNIGHT_US),
        ("04/01/2014 12:00:00 AM", MIDNIGHT_US),
    ],
)
def test_ways_to_write_a_time(text: str, time_us: int) -> None:
    """Local times are in the given zone, times with a zone in their own."""
    rules = TimeRules(order=Order.MONTH_FIRST)
    times = utc_times(time_column(pa.chunked_array([[text]]), rules, where="t"), NEW_YORK, rules)
    assert (times.at.tolist(), times.faults.tolist()) == ([time_us], [None])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2014-11-02 01:30", "ambiguous_local_time"),
        ("2014-03-09 02:30", "nonexistent_local_time"),
        ("1999-12-31 00:00", "time_out_of_bounds"),
        ("2100-01-02 00:00", "time_out_of_bounds"),
        ("1960-01-01 00:00", "time_out_of_bounds"),
        ("2014-13-01 00:00", "bad_time"),
        ("yesterday", "bad_time"),
        ("", "bad_time"),
        ("99999999-01-01 00:00", "bad_time"),
    ],
)
def test_invalid_times(tmp_path: Path, text: str, reason: str) -> None:
    """A time that is ambiguous, skipped or unreadable is a rejected row with its reason."""
    trips = csv_trips(tmp_path, f"time,lat,lon\n2014-04-01 00:00,40.7,-74\n{text},40.7,-74\n")
    assert (len(trips), trips.received, reasons(trips)) == (1, 2, [(2, reason)])


@pytest.mark.parametrize("place", ["91,-74", "40.7,-181", "nan,-74", ",-74", "north,-74", "40.7,inf", "1e400,-74", "0x10,-74"])
def test_invalid_coordinates(tmp_path: Path, place: str) -> None:
    """Coordinates out of range are a rejected row."""
    trips = csv_trips(tmp_path, f"time,lat,lon\n2014-04-01 00:00,40.7,-74\n2014-04-01 00:00,{place}\n")
    assert reasons(trips) == [(2, "bad_coordinates")]


def test_rows_with_missing_fields_keep_their_numbers(tmp_path: Path) -> None:
    """Rows of another length are rejected, and later rows keep their own numbers."""
    text = "time,lat,lon\n2014-04-01 00:00,40.7,-74\n2014-04-01 00:00,40.7\n2014-04-01 00:00,40.7,-74,9\nnever,40.7,-74\n"
    trips = csv_trips(tmp_path, text)
    assert reasons(trips) == [(2, "unreadable_row"), (3, "unreadable_row"), (4, "bad_time")]
    assert trips.rejected[0].text == "expected 3 fields, got 2: 2014-04-01 00:00,40.7"
    assert trips.rejected[2].text == "never,40.7,-74"
    assert trips.received == len(trips) + len(trips.rejected)


def test_invalid_ids(tmp_path: Path) -> None:
    """An empty id, or one of more than 64 bytes, is a rejected row."""
    text = "time,lat,lon,ride_id\n" + "".join(f"2014-04-01 00:00,40.7,-74,{name}\n" for name in ("a", "", "é" * 33, "é" * 32))
    trips = csv_trips(tmp_path, text)
    assert (trips.id, reasons(trips)) == (["a", "é" * 32], [(2, "bad_id"), (3, "bad_id")])


def test_equal_rows_are_different_rides(tmp_path: Path) -> None:
    """The n-th occurrence of a row has its own id, independent of its position in the file."""
    row, other = "2014-04-01 00:00,40.7,-74,B1\n", "2014-04-01 00:00,40.7,-74,B2\n"
    first = csv_trips(tmp_path, "time,lat,lon,base\n" + row + row + other)
    second = csv_trips(tmp_path, "time,lat,lon,base\n" + other + row + row)
    assert len(set(first.id)) == 3
    assert set(first.id) == set(second.id)
    assert first.repeated == 1
    assert first.id[0] != csv_trips(tmp_path, "time,lat,lon,base\n" + other).id[0]


def test_parquet_and_csv_of_the_same_rows_are_equal(tmp_path: Path) -> None:
    """Neither file format nor compression changes a ride's id."""
    frame = pd.DataFrame(
        {
            "time": pd.to_datetime(["2014-04-01 00:01", "2014-04-01 00:00"]),
            "lat": [40.71, 40.7],
            "lon": [-74.0, -73.9],
            "base": ["B2", "B1"],
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes(), mtime=0))
    ids = [to_trips([read_trips(tmp_path / name, ColumnNames(), NEW_YORK)]).id for name in ("t.parquet", "t.csv", "t.csv.gz")]
    assert ids[0] == ids[1] == ids[2]


def test_rides_are_sorted_by_time_and_equal_times_keep_their_order(tmp_path: Path) -> None:
    """Files are merged by time; rows of equal time keep their order."""
    (tmp_path / "a.csv").write_text("time,lat,lon,trip_id\n2014-04-01 00:02,40.7,-74,a\n2014-04-01 00:01,40.7,-74,b\n")
    (tmp_path / "b.csv").write_text("time,lat,lon,trip_id\n2014-04-01 00:01,40.7,-74,c\n2014-04-01 00:00,40.7,-74,d\n")
    trips = to_trips([read_trips(tmp_path / name, ColumnNames(), NEW_YORK) for name in ("a.csv", "b.csv")])
    assert trips.id == ["d", "b", "c", "a"]
    events = trips.events("nyc", 1, 3)
    assert (events.event_id, events.ride_id, events.kind.tolist(), events.region) == (["b", "c"], ["b", "c"], [STARTED] * 2, "nyc")


def test_where_the_timezone_comes_from(tmp_path: Path) -> None:
    """A given zone overrides the file's column, which overrides the region's zone; a row of an unknown zone is rejected."""
    text = "time,lat,lon,tz\n2014-04-01 00:00,40.7,-74,America/Chicago\n2014-04-01 00:00,40.7,-74,Mars/Base\n2014-04-01 00:00,40.7,-74,\n"
    hour_us = 3_600_000_000
    trips = csv_trips(tmp_path, text)
    assert (trips.occurred_at_us.tolist(), reasons(trips)) == ([MIDNIGHT_US + hour_us], [(2, "bad_timezone"), (3, "bad_timezone")])
    assert csv_trips(tmp_path, text, ColumnNames(timezone="UTC")).occurred_at_us.tolist() == [MIDNIGHT_US - 4 * hour_us] * 3
    assert csv_trips(tmp_path, text.replace("tz", "clock"), ColumnNames(timezone="clock")).occurred_at_us.tolist() == [
        MIDNIGHT_US + hour_us
    ]
    with pytest.raises(UsageError, match=r"--timezone: expected a column of .* or an IANA name .*, got 'Nowhere'"):
        csv_trips(tmp_path, text, ColumnNames(timezone="Nowhere"))


def test_parquet_with_zones_and_odd_columns(tmp_path: Path) -> None:
    """Times with a zone need no other zone; decimals, nulls and lists in other columns are accepted."""
    table = pa.table(
        {
            "time": pa.array([datetime(2014, 4, 1, 4), None], pa.timestamp("ns", "UTC")),
            "lat": pa.array(["40.7", "40.7"], pa.string()).dictionary_encode(),
            "lon": pa.array([-74, -74], pa.int32()),
            "tags": pa.array([["a"], None]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    trips = to_trips([read_trips(tmp_path / "t.parquet", ColumnNames(), "Asia/Tehran")])
    assert (trips.occurred_at_us.tolist(), trips.lat.tolist(), trips.lon.tolist()) == ([MIDNIGHT_US], [40.7], [-74.0])
    assert reasons(trips) == [(2, "bad_time")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "expected a CSV file with a heading, got an empty file"),
        ("t.csv", b"\x00\x01\x02\n", "binary data"),
        ("t.csv", b"time,lat,lat\n", "expected every column once, got 'lat' twice"),
        ("t.csv", b"when,lat,lon\n1,2,3\n", "found no time column; name it with --time; its columns are when, lat, lon"),
        ("t.csv", b"time,lat,east\n1,2,3\n", "found no lon column; name it with --lon"),
        ("t.csv", b"time,lat,lon\n", "expected at least one valid trip, got no rows"),
        ("t.csv", b"time,lat,lon\nx,1,1\ny,1,1\n", "expected at least one valid trip, got 2 bad_time"),
        ("t.csv", b"time,lat,lon\n\xff\xfe,1,1\n", "cannot be read"),
        ("t.parquet", b"time,lat,lon\n", "expected Parquet as its name says"),
        ("t.parquet", b"PAR1 and then nothing", "cannot be read"),
        ("t.csv.gz", b"no gzip", "cannot be read"),
    ],
)
def test_unusable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """The error for an unusable file is one line that names it."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        to_trips([read_trips(path, ColumnNames(), NEW_YORK)])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files(tmp_path: Path) -> None:
    """A missing file and a directory have different errors."""
    with pytest.raises(UsageError, match=r"nothing\.csv: expected a Parquet or CSV file of trips, found no such file"):
        read_trips(tmp_path / "nothing.csv", ColumnNames(), NEW_YORK)
    with pytest.raises(UsageError, match="got a directory"):
        read_trips(tmp_path, ColumnNames(), NEW_YORK)


def test_columns_that_are_missing_or_of_another_type(tmp_path: Path) -> None:
    """The error names a column that does not exist, or has the wrong type, and its file."""
    with pytest.raises(UsageError, match=r"--lat: expected one of the columns time, lat, lon, got 'y'"):
        csv_trips(tmp_path, "time,lat,lon\n", ColumnNames(lat="y"))
    pd.DataFrame({"time": [1.5], "lat": [40.7], "lon": [-74.0]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"a\.parquet: column 'time': expected timestamps or text, got double"):
        to_trips([read_trips(tmp_path / "a.parquet", ColumnNames(), NEW_YORK)])
    pd.DataFrame({"time": pd.to_datetime(["2014-04-01"]), "lat": [[40.7]], "lon": [-74.0]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(UsageError, match=r"b\.parquet: column 'lat': expected numbers"):
        to_trips([read_trips(tmp_path / "b.parquet", ColumnNames(), NEW_YORK)])
