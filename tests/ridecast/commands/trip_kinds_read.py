"""Kinds of trip files that an import reads right: one row each, to be read by people."""

import bz2
import gzip
from datetime import timedelta
from decimal import Decimal

import pyarrow as pa  # type: ignore[import-untyped]

from tests.ridecast.commands.trip_writers import (
    EARLY,
    TRIPS,
    Kind,
    Trip,
    ampm,
    changed,
    csv,
    epoch,
    european,
    ids,
    iso,
    local_times,
    one,
    parquet,
    rows,
    strf,
    text,
    us,
    utc,
    zipped,
)

SEMI = "time;lat;lon"
HALF_DAYS = [Trip(t.at - timedelta(hours=t.local.hour - (t.local.hour + 11) % 12 - 1), t.lat, t.lon, t.number) for t in TRIPS]
FOLD = "2014-11-02 01:30:00,40.7,-74.0"
GAP = "2014-03-09 02:30:00,40.7,-74.0"


def but(*lines: int) -> list[Trip]:
    """All trips but those of some lines of the usual file."""
    return [trip for trip in TRIPS if trip.number + 2 not in lines]


READ = [
    # times
    Kind("ISO 8601 in local time", one(csv()), says=["time in 'time' (ISO 8601, local times of America/New_York)"]),
    Kind("ISO 8601 with T and fractions", one(csv(strf("%Y-%m-%dT%H:%M:%S.%f")))),
    Kind("ISO 8601 with Z", one(csv(lambda at: f"{utc(at):%Y-%m-%dT%H:%M:%SZ}"))),
    Kind("ISO 8601 with an offset", one(csv(strf("%Y-%m-%dT%H:%M:%S%z"))), says=["ISO 8601 with a zone"]),
    Kind("UTC written out", one(csv(lambda at: f"{utc(at):%Y-%m-%d %H:%M:%S} UTC"))),
    Kind("short name of the zone", one(csv(strf("%Y-%m-%d %H:%M:%S %Z")))),
    Kind("IANA name after the offset of Java", one(csv(lambda at: f"{at:%Y-%m-%dT%H:%M:%S}[America/New_York]"))),
    Kind("year first with slashes", one(csv(strf("%Y/%m/%d %H:%M")))),
    Kind("digits only", one(csv(strf("%Y%m%d%H%M%S")))),
    Kind("compact ISO 8601", one(csv(strf("%Y%m%dT%H%M%S")))),
    Kind("epoch seconds", one(csv(epoch(1))), says=["numbers since 1970 (epoch-s)"]),
    Kind("epoch milliseconds", one(csv(epoch(1_000))), says=["(epoch-ms)"]),
    Kind("epoch microseconds", one(csv(epoch(1_000_000))), says=["(epoch-us)"]),
    Kind("epoch nanoseconds", one(csv(epoch(1_000_000_000))), says=["(epoch-ns)"]),
    Kind("epoch seconds with a fraction", one(csv(lambda at: f"{at.timestamp():.3f}"))),
    Kind("month first", one(csv(us)), says=["month first"]),
    Kind("month first, AM and PM", one(csv(ampm)), says=["AM or PM, month first"]),
    Kind("day first", one(csv(strf("%d/%m/%Y %H:%M"))), says=["day first"]),
    Kind("day first with full stops", one(csv(european)), says=["day first"]),
    Kind("two-digit years, month first", one(csv(strf("%m/%d/%y %H:%M"))), says=["month first"]),
    Kind("two-digit years, day first", one(csv(strf("%d.%m.%y %H:%M"))), says=["day first"]),
    Kind("two-digit years, year first", one(csv(strf("%y/%m/%d %H:%M"))), says=["year first"]),
    Kind("name of the month", one(csv(strf("%d-%b-%Y %H:%M:%S")))),
    Kind("name of weekday and month", one(text(rows(strf("%a, %d %b %Y %H:%M:%S %z"), mark=";"), SEMI))),
    Kind("ambiguous days, told by option", one(csv(strf("%d/%m/%Y %H:%M"), EARLY)), ["--day-first"], EARLY),
    Kind(
        "ambiguous days, told by another file",
        {"other.csv": csv(strf("%d/%m/%Y %H:%M"), TRIPS[len(EARLY) :]), "trips.csv": csv(strf("%d/%m/%Y %H:%M"), EARLY)},
    ),
    Kind("the spaces of a browser", one(csv(lambda at: ampm(at).replace(" AM", "\u202fAM").replace(" PM", "\u202fPM"))), says=["AM or PM"]),
    Kind("a format of one's own", one(csv(strf("%H.%M on %d %m %Y"))), ["--time-format", "%H.%M on %d %m %Y"]),
    Kind(
        "two formats, told by option",
        one(changed({302: "4/30/2014 20:00,40.7,-74"})),
        ["--time-format", "iso"],
        says=["bad_time: trips.csv line 302: '4/30/2014 20:00'"],
    ),
    Kind(
        "epoch seconds, told by option",
        one(changed({302: "2014-04-30 20:00:00,40.7,-74"}, epoch(1))),
        ["--time-format", "epoch-s"],
        says=["bad_time: trips.csv line 302: '2014-04-30 20:00:00'"],
    ),
    Kind(
        "digits told by a pattern",
        one(parquet(pa.array([int(f"{t.local:%Y%m%d%H%M%S}") for t in TRIPS])), "trips.parquet"),
        ["--time-format", "%Y%m%d%H%M%S"],
    ),
    Kind("a pattern with an offset", one(csv(strf("%d %m %Y %H.%M %z"))), ["--time-format", "%d %m %Y %H.%M %z"]),
    Kind("a column of offsets", one(text(rows(more=lambda t: f"{t.local:%z}"), "time,lat,lon,timezone"))),
    Kind("a column of zones", one(text(rows(more=lambda _: "America/New_York"), "time,lat,lon,tz")), says=["the zones in column 'tz'"]),
    Kind("times of another zone", one(csv(lambda at: iso(utc(at)))), ["--timezone", "UTC"]),
    Kind(
        "some times with a zone, told by option",
        one(csv(lambda at: f"{at:%Y-%m-%d %H:%M:%S}" + ("-04:00" if at.day < 9 else ""))),
        ["--timezone", "America/New_York"],
    ),
    Kind(
        "changes of the clock",
        one(changed({302: GAP, 303: FOLD})),
        says=[
            "rejected: ambiguous_local_time",
            "rejected: nonexistent_local_time",
            "line 302: '2014-03-09 02:30:00'",
            "line 303: '2014-11-02 01:30:00'",
        ],
    ),
    Kind(
        "absurd years",
        one(changed({302: "9999-12-31 23:59:59,40.7,-74", 303: "0001-01-01 00:00:00,40.7,-74"})),
        says=["time_out_of_bounds: trips.csv line 302: '9999-12-31 23:59:59'"],
    ),
    Kind(
        "a few bad rows",
        one(changed({5: "never,40.7,-74", 9: ",,", 20: "2014-04-03 00:00:00,400,-74", 40: "x"})),
        (),
        but(5, 9, 20, 40),
        ["line 5: 'never'", "line 9: ''", "line 20: '400, -74'", "line 40: 'expected 3 fields, got 1: x'"],
    ),
    Kind(
        "a day without rides",
        one(csv(iso, [t for t in TRIPS if t.local.day != 9])),
        (),
        [t for t in TRIPS if t.local.day != 9],
        ["no rides on 1 day between the first and the last, such as 2014-04-09"],
    ),
    # files
    Kind("byte order mark", one(b"\xef\xbb\xbf" + csv())),
    Kind("UTF-16", one(csv().decode().encode("utf-16")), says=["encoding utf-16-le"]),
    Kind("UTF-16 without a mark", one(csv().decode().encode("utf-16-be"))),
    Kind(
        "Latin-1, told by option",
        one(text(rows(more=lambda _: "Café"), "time,lat,lon,café").decode().encode("latin-1")),
        ["--encoding", "latin-1"],
    ),
    Kind("line ends of Windows", one(text(rows(), end="\r\n"))),
    Kind("line ends of old Macs", one(text(rows(), end="\r"))),
    Kind("semicolons and decimal commas", one(text(rows(european, mark=";", decimal=","), SEMI)), says=["delimiter ';'"]),
    Kind("tabs", one(text(rows(mark="\t"), "time\tlat\tlon"), "trips.tsv")),
    Kind("the delimiter in the first line", one(b"sep=;\r\n" + text(rows(mark=";"), SEMI, "\r\n"))),
    Kind("line ends in quotes", one(text(rows(more=lambda t: f'"12 Main St,\n{t.number} NY"'), "time,lat,lon,address"))),
    Kind(
        "quotes that mean nothing",
        one(text(rows(more=lambda t: '"5 inches' if t.number == 7 else "x"), "time,lat,lon,note")),
        ["--no-quotes"],
    ),
    Kind(
        "empty lines",
        one(b"\n" + text([line + "\n" * (i % 3) for i, line in enumerate([*rows(), "never,40.7,-74", "x"])])),
        says=["line 603: 'never'", "line 604: 'expected 3 fields, got 1: x'"],
    ),
    Kind(
        "a short row after line ends in quotes",
        one(text([*rows(more=lambda t: '"12 Main St,\nNY"'), "x"], "time,lat,lon,address")),
        says=["line 602: 'expected 4 fields, got 1: x'"],
    ),
    Kind("columns without names", one(text(rows(more=lambda _: ","), "time,lat,lon,,"))),
    Kind("gzip", one(gzip.compress(csv(), mtime=0), "trips.csv.gz")),
    Kind("gzip in two parts", one(gzip.compress(csv()[:900], mtime=0) + gzip.compress(csv()[900:], mtime=0), "trips.csv.gz")),
    Kind("bzip2", one(bz2.compress(csv()), "trips.csv.bz2")),
    Kind("zip", one(zipped(trips__csv=csv()), "trips.zip")),
    Kind(
        "a directory",
        {"in/1.csv": csv(iso, TRIPS[:100]), "in/deep/2.csv": csv(iso, TRIPS[100:]), "in/README.md": b"#"},
        words=["in"],
        says=["1 other files of the directories were not read: README.md"],
    ),
    Kind("a glob", {"a1.csv": csv(iso, TRIPS[:100]), "a2.csv": csv(iso, TRIPS[100:]), "b.csv": b""}, words=["a*.csv"]),
    Kind(
        "a directory with an earlier import",
        {"in/1.csv": csv(), "in/old/origin.json": b"{}", "in/old/import_rejects.csv": b"file,row"},
        words=["in"],
    ),
    Kind(
        "files that overlap, without ids",
        {"1.csv": csv(iso, TRIPS[:100]), "2.csv": csv()},
        (),
        [*TRIPS[:100], *TRIPS],
        ["2.csv: 100 of 300 rides equal rides of an earlier file and were written again; do the files overlap?"],
    ),
    Kind(
        "twelve hours without AM and PM",
        one(csv(strf("%Y-%m-%d %I:%M"))),
        (),
        HALF_DAYS,
        ["no ride starts from 13:00 to 00:59: are AM and PM missing in the file?"],
    ),
    # ids
    Kind("ids", one(ids())),
    Kind(
        "files that overlap, with ids", {"1.csv": ids()[:9_000].rsplit(b"\n", 1)[0], "2.csv": ids()}, says=["left out: id of an equal row"]
    ),
    Kind("ids that repeat, told by option", one(ids(lambda trip: trip.number % 9)), ["--derive-ids"]),
    # strays
    Kind(
        "a stray, left out",
        one(changed({302: "2084-04-30 00:00:00,40.7,-74"})),
        ["--drop-strays"],
        says=["stray_time: trips.csv line 302: '2084-04-30 00:00:00'"],
    ),
    # Parquet
    *(Kind(f"Parquet, timestamps in {unit}", one(parquet(local_times(unit)), "trips.parquet")) for unit in ("s", "ms", "us", "ns")),
    Kind(
        "Parquet, timestamps with a zone",
        one(parquet(pa.array([trip.at for trip in TRIPS], pa.timestamp("us", "Asia/Tehran"))), "trips.parquet"),
    ),
    Kind("Parquet, texts", one(parquet(pa.array([iso(trip.local) for trip in TRIPS])), "trips.parquet")),
    Kind("Parquet, epoch milliseconds", one(parquet(pa.array([trip.at_us // 1_000 for trip in TRIPS])), "trips.parquet")),
    Kind(
        "Parquet, decimals and an empty column",
        one(parquet(local_times("us"), pa.array([Decimal(str(trip.lat)) for trip in TRIPS]), note=pa.nulls(300)), "trips.parquet"),
    ),
]
