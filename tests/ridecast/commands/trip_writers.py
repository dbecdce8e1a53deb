"""Trip files as people have them, written from trips that are known: what an import must read back."""

import gzip
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

NEW_YORK = ZoneInfo("America/New_York")
Write = Callable[[datetime], str]
Files = dict[str, bytes]  # name -> content


@dataclass(frozen=True, slots=True)
class Trip:
    """One trip: start in UTC, place in degrees, a number."""

    at: datetime
    lat: float
    lon: float
    number: int

    @property
    def local(self) -> datetime:
        """The start by New York's clocks."""
        return self.at.astimezone(NEW_YORK)

    @property
    def at_us(self) -> int:
        """The start in microseconds since 1970."""
        return (self.at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


# 300 trips on the thirty days of April 2014, ten a day: every day of the month, and every hour, occurs.
FIRST = datetime(2014, 4, 1, 4, 15, tzinfo=UTC)
TRIPS = tuple(Trip(FIRST + timedelta(minutes=143 * i), round(40.7 + i / 10_000, 4), round(-73.9 - i / 10_000, 4), i) for i in range(300))
EARLY = tuple(trip for trip in TRIPS if trip.local.day <= 12)  # no day says which number is the month


def iso(at: datetime) -> str:
    """2014-04-01 00:15:00."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def utc(at: datetime) -> datetime:
    """The same moment by the clocks of Greenwich."""
    return at.astimezone(UTC)


def us(at: datetime) -> str:
    """4/1/2014 0:15, as American exports write it."""
    return f"{at.month}/{at.day}/{at.year} {at.hour}:{at:%M}"


def ampm(at: datetime) -> str:
    """4/1/2014 12:15:00 AM."""
    return f"{at.month}/{at.day}/{at.year} {(at.hour + 11) % 12 + 1}:{at:%M:%S} {'AM' if at.hour < 12 else 'PM'}"


def european(at: datetime) -> str:
    """01.04.2014 00:15."""
    return f"{at:%d.%m.%Y %H:%M}"


def strf(pattern: str) -> Write:
    """A pattern of strftime."""
    return lambda at: at.strftime(pattern)


def epoch(per_s: int) -> Write:
    """Units since 1970."""
    return lambda at: str(round(at.timestamp()) * per_s)


def rows(
    write: Write = iso, trips: Sequence[Trip] = TRIPS, mark: str = ",", decimal: str = ".", more: Callable[[Trip], str] | None = None
) -> list[str]:
    """A line per trip: time, latitude, longitude, and perhaps more."""
    out = []
    for trip in trips:
        fields = [write(trip.local), f"{trip.lat}".replace(".", decimal), f"{trip.lon}".replace(".", decimal)]
        out.append(mark.join([*fields, more(trip)] if more else fields))
    return out


def text(lines: Sequence[str], heading: str = "time,lat,lon", end: str = "\n") -> bytes:
    """A CSV file in UTF-8."""
    return (end.join([heading, *lines]) + end).encode()


def csv(write: Write = iso, trips: Sequence[Trip] = TRIPS) -> bytes:
    """The usual CSV file, with times written in some way."""
    return text(rows(write, trips))


def changed(changes: dict[int, str], write: Write = iso) -> bytes:
    """The usual file with other lines, by their number from 1 with the heading; a line after the end is added."""
    lines = ["time,lat,lon", *rows(write)]
    for number, line in changes.items():
        lines[number - 1 : number] = [line]
    return ("\n".join(lines) + "\n").encode()


def parquet(times: "pa.Array", lat: "pa.Array | None" = None, **more: "pa.Array") -> bytes:
    """A Parquet file of all trips with those times."""
    columns = {
        "time": times,
        "lat": pa.array([trip.lat for trip in TRIPS]) if lat is None else lat,
        "lon": pa.array([trip.lon for trip in TRIPS]),
    }
    out = io.BytesIO()
    pq.write_table(pa.table({**columns, **more}), out)
    return out.getvalue()


def local_times(unit: str) -> "pa.Array":
    """Timestamps without a zone."""
    return pa.array([trip.local.replace(tzinfo=None) for trip in TRIPS]).cast(pa.timestamp(unit))


def zipped(**members: bytes) -> bytes:
    """A zip archive; `__` in a name stands for a full stop."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return out.getvalue()


def cut(data: bytes) -> bytes:
    """The first half of a compressed file, as of a download that broke off."""
    packed = gzip.compress(data, mtime=0)
    return packed[: len(packed) // 2]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file, and what must come of it.

    Attributes:
        name: What a person would call it.
        files: Name -> content; all are given, in this order, unless `words` name others.
        options: Of the command.
        trips: The rides that must be written, exactly; None: refused, with nothing written.
        says: What the output must say: in the report or a warning, or in the one line of the refusal.
        words: What is given instead of the files.
    """

    name: str
    files: Files
    options: Sequence[object] = ()
    trips: Sequence[Trip] | None = TRIPS
    says: Sequence[str] = ()
    words: Sequence[str] = field(default_factory=tuple)


def one(data: bytes, name: str = "trips.csv") -> Files:
    """One file."""
    return {name: data}


def ids(make: Callable[[Trip], object] = lambda trip: f"T{trip.number}", heading: str = "time,lat,lon,trip_id") -> bytes:
    """The usual file with an id column."""
    return text(rows(more=lambda trip: str(make(trip))), heading)
