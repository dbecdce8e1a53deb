"""Kinds of trip files that an import refuses, and the words that help: where, what, and what to do."""

import json
from datetime import datetime

import pyarrow as pa  # type: ignore[import-untyped]

from tests.ridecast.commands.trip_writers import (
    EARLY,
    TRIPS,
    Kind,
    changed,
    csv,
    cut,
    epoch,
    ids,
    iso,
    local_times,
    one,
    parquet,
    rows,
    strf,
    text,
    us,
    zipped,
)

DAY_13 = next(trip.number + 2 for trip in TRIPS if trip.local.day == 13)

REFUSED = [
    Kind(
        "day or month first",
        one(csv(strf("%d/%m/%Y %H:%M"), EARLY)),
        says=["'01/04/2014 00:15' (line 2)", "fits day first, month first; give --day-first or --month-first"],
    ),
    Kind(
        "day first and month first",
        one(csv(lambda at: us(at) if at.day > 20 else strf("%d/%m/%Y %H:%M")(at))),
        says=[f"only day first (line {DAY_13}: '13/04/2014", "only month first (line", "'4/21/2014", "give --day-first"],
    ),
    Kind(
        "two formats",
        one(csv(lambda at: us(at) if at.day > 20 else iso(at))),
        says=["ISO 8601 (line 2: '2014-04-01 00:15:00', ", "dates of three numbers with / (line", "'4/21/2014", "give --time-format"],
    ),
    Kind(
        "some times with a zone",
        one(csv(lambda at: iso(at) + ("Z" if at.day > 20 else ""))),
        says=["ISO 8601 with a zone (line", "give --timezone for the times without a zone"],
    ),
    Kind(
        "seconds and milliseconds",
        one(csv(lambda at: epoch(1_000 if at.day > 20 else 1)(at))),
        says=["epoch-s (line 2: '1396325700')", "epoch-ms (line", "give --time-format"],
    ),
    Kind(
        "serial numbers of Excel",
        one(csv(lambda at: f"{(at.replace(tzinfo=None) - datetime(1899, 12, 30)).total_seconds() / 86_400:.5f}")),
        says=["300 bad_time (trips.csv line 2: '41730.01042'", "serial number of a spreadsheet"],
    ),
    Kind(
        "the Persian calendar",
        one(csv(lambda at: f"1393-01-{at.day:02d} {at:%H:%M}")),
        says=["line 2: '1393-01-01 00:15'", "Persian calendar"],
    ),
    Kind("dates without times", one(csv(strf("%Y-%m-%d"))), says=["a date without a time of day: line 2: '2014-04-01'", "--time"]),
    Kind(
        "times without dates",
        one(csv(strf("%H:%M:%S"))),
        says=["a time of day without a date: line 2: '00:15:00'", "join date and time of day"],
    ),
    Kind("an unknown format", one(csv(strf("%H.%M on %d %m %Y"))), says=["line 2: '00.15 on 01 04 2014'", "give --time-format"]),
    Kind(
        "the short name of another zone's time",
        one(csv(lambda at: iso(at) + " CST")),
        says=["bad_timezone (trips.csv line 2: '2014-04-01 00:15:00 CST'"],
    ),
    Kind(
        "many bad rows",
        one(changed({line: f"x{line},40.7,-74" for line in range(2, 40)})),
        says=["expected at most 10% of the rows rejected, got 38 of 300 (13%): 38 bad_time (trips.csv line 2: 'x2'", "--max-rejected"],
    ),
    Kind(
        "many places that are no degrees",
        one(text([f"{iso(t.local)},{f'{t.lat}' if t.number % 4 else f'{t.lat * 1e6:.0f}'},{t.lon}" for t in TRIPS])),
        says=["75 bad_coordinates (trips.csv line 2: '40700000, -73.9'", "looks like millionths of degrees"],
    ),
    Kind(
        "many dates of another calendar",
        one(csv(lambda at: iso(at) if at.day > 9 else f"2557-04-{at:%d %H:%M}")),
        says=["91 time_out_of_bounds (trips.csv line 2: '2557-04-01 00:15'", "looks like the Buddhist calendar"],
    ),
    Kind(
        "many times that are texts",
        one(csv(lambda at: iso(at) if at.day > 9 else f"{at:%d} Farvardin")),
        says=["bad_time (trips.csv line 2: '01 Farvardin'", "give --time-format if it is a time"],
    ),
    Kind(
        "empty ids",
        one(ids(lambda t: f"T{t.number}" if t.number % 2 else "")),
        says=["150 bad_id (trips.csv line 2: ''", "or give --derive-ids"],
    ),
    Kind(
        "zones that are none",
        one(text(rows(more=lambda t: "New York" if t.number % 2 else "America/New_York"), "time,lat,lon,tz")),
        says=["150 bad_timezone (trips.csv line 3: '2014-04-01 02:38:00 New York'", "give --timezone with an IANA name"],
    ),
    Kind(
        "numbers that are no times",
        one(parquet(pa.array([1.5] * 300)), "trips.parquet"),
        says=["got double, whose values are no seconds", "row 1: 1.5"],
    ),
    Kind(
        "times that are flags",
        one(parquet(pa.array([True] * 300)), "trips.parquet"),
        says=["expected timestamps or text, got bool; name another column"],
    ),
    Kind("an unknown name of a format", one(csv()), ["--time-format", "us"], says=["--time-format: expected iso, epoch-s,", "got 'us'"]),
    Kind(
        "a pattern that does not exist", one(csv()), ["--time-format", "%Q"], says=["--time-format: expected a pattern such as", "got '%Q'"]
    ),
    Kind("a long delimiter", one(csv()), ["--delimiter", "::"], says=["--delimiter: expected one character, or tab", "got '::'"]),
    Kind(
        "a quote that swallows a long file",
        one(text(['2014-04-01 00:15,40.7,-74,"x', *rows(more=lambda _: "x" * 600)], "time,lat,lon,note")),
        says=["line 2: a double quote opens and does not close"],
    ),
    Kind(
        "a date in 2084",
        one(changed({302: "2084-04-30 00:00:00,40.7,-74"})),
        says=[
            "1 ride is far from all others, which are from 2014-04-01 to 2014-04-30: trips.csv line 302: '2084-04-30 00:00:00'",
            "--drop-strays",
            "--allow-strays",
        ],
    ),
    Kind(
        "a date a year early",
        one(changed({2: "2013-04-01 00:15:00,40.7,-74"})),
        says=["trips.csv line 2: '2013-04-01 00:15:00'", "--drop-strays"],
    ),
    Kind(
        "two dates, seventy years apart",
        one(text(["2014-04-01 00:15:00,40.7,-74", "2084-04-01 00:15:00,40.7,-74"])),
        says=["rides on 2 of 25,569 days: trips.csv line 2: '2014-04-01 00:15:00' to trips.csv line 3: '2084-"],
    ),
    Kind(
        "a quote that swallows the file",
        one(text(rows(more=lambda t: '"x' if t.number == 7 else "x"), "time,lat,lon,note")),
        says=["line 9: a double quote opens and does not close: '2014-04-01 16:56:00", "close or remove the quote, or give --no-quotes"],
    ),
    Kind(
        "two quotes that swallow rows",
        one(text(rows(more=lambda t: '"x' if t.number in (7, 200) else "x"), "time,lat,lon,note")),
        says=["line 9: a double quote opens, closes on line 202, and swallows rows"],
    ),
    Kind(
        "Latin-1",
        one(text(rows(more=lambda t: "Café" if t.number == 7 else "x"), "time,lat,lon,note").decode().encode("latin-1")),
        says=["line 9: expected utf-8 text, got the byte 0xE9 in b'2014-04-01 16:56:00,40.7007,-73.9007,Caf\\xe9'", "--encoding"],
    ),
    Kind("an unknown encoding", one(csv()), ["--encoding", "latin-x"], says=["--encoding: expected a name such as", "'latin-x'"]),
    Kind("the wrong delimiter", one(csv()), ["--delimiter", ";"], says=["found no time column", "its columns are time,lat,lon"]),
    Kind("the same id everywhere", one(ids(lambda _: "car")), says=["299 repeated_id (trips.csv line 3: 'car'", "--derive-ids"]),
    Kind("ids of vehicles", one(ids(lambda trip: trip.number % 9)), says=["291 repeated_id (trips.csv line 11: '0'", "--id"]),
    Kind(
        "latitude and longitude swapped",
        one(text(rows(), "time,lon,lat")),
        says=["300 of 300 outside it", "latitude and longitude look swapped"],
    ),
    Kind(
        "swapped, beyond 90 degrees",
        one(text([f"{iso(t.local)},{100 + t.lat},{t.lat}" for t in TRIPS])),
        says=["300 bad_coordinates (trips.csv line 2: '140.7, 40.7'", "swapped"],
    ),
    Kind(
        "metres of a projection",
        one(text([f"{iso(t.local)},{4_507_000 + t.number},{583_000 + t.number}.5" for t in TRIPS])),
        says=["line 2: '4507000, 583000.5'", "map projection"],
    ),
    Kind(
        "degrees and minutes",
        one(text([f"{iso(t.local)},40°42'N,74°00'W" for t in TRIPS])),
        says=["line 2: \"40°42'N, 74°00'W\"", "decimal degrees"],
    ),
    Kind(
        "longitudes without their sign",
        one(text([f"{iso(t.local)},{t.lat},{-t.lon}" for t in TRIPS])),
        says=["300 of 300 outside it", "the sign of longitude looks wrong: west and south are negative"],
    ),
    Kind("an empty file", one(b""), says=["expected a CSV file with a heading, got an empty file"]),
    Kind("a heading alone", one(text([])), says=["expected at least one valid trip, got no rows"]),
    Kind("no heading", one(csv().split(b"\n", 1)[1]), says=["the first line looks like a row: add a line with the names of the columns"]),
    Kind(
        "a column that is missing",
        one(text(rows(), "when,lat,lon")),
        says=["found no time column; name it with --time; its columns are when, lat, lon", "looked for time, pickup_datetime"],
    ),
    Kind("a column with a slip", one(text(rows(), "time,lattitude,lon")), says=["found no lat column", "is it 'lattitude'?"]),
    Kind(
        "a column twice",
        one(text(rows(more=lambda t: str(t.lat)), "time,lat,lon,lat")),
        says=["expected every column once, got 'lat' twice"],
    ),
    Kind(
        "a column in two spellings",
        one(text(rows(more=lambda t: str(t.lat)), "time,lat,lon,Lat")),
        says=["expected every column once, got 'lat' and 'Lat'"],
    ),
    Kind("half a gzip file", one(cut(csv()), "trips.csv.gz"), says=["damaged or incomplete"]),
    Kind(
        "an Excel workbook",
        one(zipped(**{"[Content_Types]__xml": b"<x/>"}), "trips.xlsx"),
        says=["an Excel workbook; save the sheet as CSV"],
    ),
    Kind(
        "two files in a zip",
        one(zipped(a__csv=csv(), b__csv=csv()), "trips.zip"),
        says=["expected one file in the archive, got 2: a.csv, b.csv; unpack it"],
    ),
    Kind("JSON", one(json.dumps([{"time": 1}]).encode(), "trips.csv"), says=["looks like JSON; convert it to CSV"]),
    Kind("a web page", one(b"<!DOCTYPE html><html>", "trips.csv"), says=["looks like a web page"]),
    Kind("half a Parquet file", one(parquet(local_times("us"))[:900], "trips.parquet"), says=["cannot be read"]),
    Kind("Parquet without times", one(parquet(pa.nulls(300)), "trips.parquet"), says=["300 bad_time (trips.parquet row 1: ''"]),
    Kind(
        "Parquet with dates",
        one(parquet(pa.array([t.local.date() for t in TRIPS])), "trips.parquet"),
        says=["a date without a time of day: date32"],
    ),
    Kind(
        "Parquet with the year 9999",
        one(parquet(pa.array([datetime(9999, 12, 31, 23, 59)] * 300)), "trips.parquet"),
        says=["300 time_out_of_bounds (trips.parquet row 1: '9999-12-31"],
    ),
    Kind(
        "Parquet with absurd years",
        one(parquet(pa.array([10**15] * 300).cast(pa.timestamp("s"))), "trips.parquet"),
        says=["300 time_out_of_bounds (trips.parquet row 1"],
    ),
    Kind(
        "a directory without trips",
        {"in/notes.md": b"#"},
        words=["in"],
        says=["expected a directory with files named", "got one that holds notes.md"],
    ),
    Kind(
        "a glob without a match",
        {"a.csv": csv()},
        words=["*.parquet"],
        says=["*.parquet: expected a Parquet or CSV file of trips, found no file that matches"],
    ),
]
