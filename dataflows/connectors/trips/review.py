"""Checks what an import is about to write: rows rejected, times far from all others, days without rides."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from dataflows.connectors.trips.guesses import guess_calendar, guess_place, guess_time
from dataflows.connectors.trips.local_times import TimeFault
from dataflows.connectors.trips.rides import RejectedRow, RowFault, Trips, summary
from schemas.errors import RidecastError
from schemas.events.rides import Float64s, Int64s

DAY_US = 86_400_000_000
STRAY_SHARE = 0.01  # at most this share of the rides, and at least STRAY_ROWS, can be strays at each end
STRAY_ROWS = 3
STRAY_GAP_US = 14 * DAY_US  # a closed fortnight is possible; a wrong month or year is further away
STRAY_TIMES = 10  # and this many times the longest pause between other rides
SPARSE_DAYS, SPARSE_SHARE = 366, 0.1  # more than a year with rides on fewer days than this is no history
BUSY_RIDES = 10  # a median day with fewer rides can be followed by a day without any
QUIET_SHARE = 0.1  # a day with less than this share of the median day is quiet
MOST_SHOWN = 5
CLOCK_RIDES, CLOCK_DAYS = 100, 3  # enough to expect rides in the morning and in the afternoon


@dataclass(frozen=True, slots=True)
class Holes:
    """Local days without rides between the first and the last, as (first, last) day of each run, and days with few."""

    empty: tuple[tuple[date, date], ...]
    quiet: tuple[tuple[date, int], ...]
    median: int

    def lines(self) -> list[str]:
        """What to tell the user, one line each."""
        found = []
        if self.empty:
            days = sum((last - first).days + 1 for first, last in self.empty)
            runs = sorted(self.empty, key=lambda run: run[0] - run[1])[:MOST_SHOWN]
            shown = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in sorted(runs))
            found.append(f"no rides on {_days(days)} between the first and the last, such as {shown}; is a file missing?")
        if self.quiet:
            shown = ", ".join(f"{day}: {count:,}" for day, count in self.quiet[:MOST_SHOWN])
            found.append(f"few rides on {_days(len(self.quiet))} ({shown}; the median day has {self.median:,}); is a file incomplete?")
        return found


def strays(at: Int64s) -> Int64s:
    """Indices of the few earliest or latest times that lie far from all others.

    Args:
        at: int64[n], ascending, microseconds.

    >>> strays(np.array([0, 1, 2, 3, 70 * 365 * DAY_US])).tolist()
    [4]
    """
    most = min(max(STRAY_ROWS, int(STRAY_SHARE * len(at))), (len(at) - 1) // 2)
    if most < 1:
        return np.empty(0, np.int64)
    gaps = np.diff(at)
    inner = gaps[most : len(gaps) - most]
    limit = max(STRAY_GAP_US, STRAY_TIMES * int(inner.max(initial=0)))
    early = np.flatnonzero(gaps[:most] > limit)
    late = np.flatnonzero(gaps[len(gaps) - most :] > limit)
    first = int(early[-1]) + 1 if len(early) else 0
    last = len(at) - most + int(late[0]) if len(late) else len(at)
    return np.concatenate([np.arange(first), np.arange(last, len(at))])


def stray_words(trips: Trips, rides: Int64s) -> str:
    """The strays with file, line and value, and where all other rides lie."""
    rest = np.setdiff1d(np.arange(len(trips)), rides)
    ends = np.sort(np.concatenate([rides[:MOST_SHOWN], rides[-MOST_SHOWN:]]))
    shown = "; ".join(trips.place(ride) for ride in dict.fromkeys(ends.tolist()))
    more = f" and {len(rides) - MOST_SHOWN * 2:,} more" if len(rides) > MOST_SHOWN * 2 else ""
    first, last = (_utc(int(trips.occurred_at_us[ride])) for ride in (rest[0], rest[-1]))
    what = "1 ride is" if len(rides) == 1 else f"{len(rides):,} rides are"
    return f"{what} far from all others, which are from {first:%Y-%m-%d} to {last:%Y-%m-%d}: {shown}{more}"


def check_span(trips: Trips) -> None:
    """Refuse years with hardly a ride: a wrong date among few rows, which `strays` cannot tell from right ones.

    Raises:
        RidecastError: with the first and the last row.
    """
    days = np.unique(trips.occurred_at_us // DAY_US)
    span = int(days[-1] - days[0]) + 1
    if span > SPARSE_DAYS and len(days) < SPARSE_SHARE * span:
        raise RidecastError(
            f"expected rides on most days from the first to the last, got rides on {len(days):,} of {span:,} days: "
            f"{trips.place(0)} to {trips.place(len(trips) - 1)}; nothing was written",
            remedy="correct the dates, or use --allow-strays to import them as they are",
        )


def holes(at: Int64s, timezone: str) -> Holes:
    """Local days without rides, or with few, in a history that has rides on most days.

    Args:
        at: int64[n], ascending, microseconds UTC; n > 0.
    """
    zone = ZoneInfo(timezone)
    first, last = (_utc(int(end)).astimezone(zone).date() for end in (at[0], at[-1]))
    days = [first + timedelta(days=day) for day in range((last - first).days + 2)]
    starts = np.array([int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1_000_000 for day in days], np.int64)
    counts = np.diff(np.searchsorted(at, starts))
    median = int(np.median(counts))
    if median < BUSY_RIDES:
        return Holes((), (), median)
    empty = list[tuple[date, date]]()
    for day in np.flatnonzero(counts == 0).tolist():
        if empty and days[day - 1] == empty[-1][1]:
            empty[-1] = (empty[-1][0], days[day])
        else:
            empty.append((days[day], days[day]))
    # The first and last day may be cut off by the file.
    quiet = [day for day in np.flatnonzero((counts > 0) & (counts < QUIET_SHARE * median)).tolist() if 0 < day < len(counts) - 1]
    return Holes(tuple(empty), tuple((days[day], int(counts[day])) for day in quiet), median)


def clock_words(at: Int64s, timezone: str) -> str:
    """What is odd about the times of day of a history, or nothing."""
    if len(at) < CLOCK_RIDES or at[-1] - at[0] < CLOCK_DAYS * DAY_US:
        return ""
    local = pd.DatetimeIndex(at.astype("datetime64[us]"), tz="UTC").tz_convert(timezone)
    hours = set(local.hour.unique())
    if hours <= set(range(1, 13)):
        return "no ride starts from 13:00 to 00:59: are AM and PM missing in the file?"
    if len(hours) == 1 and local.minute.nunique() == 1:
        return f"all rides start at {local[0]:%H:%M}: is the time of day missing in the file?"
    return ""


def check_rejected(trips: Trips, most: float) -> None:
    """Refuse an import that would leave out more than a share of the rows.

    Raises:
        RidecastError: with counts, lines and values by reason, and what the values look like.
    """
    bad = len(trips.rejected)
    if bad <= most * trips.received:
        return
    hint = "; ".join(dict.fromkeys(filter(None, (_hint(trips, row) for row in _one_of_each(trips.rejected)))))
    raise RidecastError(
        f"expected at most {most:.0%} of the rows rejected, got {bad:,} of {trips.received:,} ({bad / trips.received:.0%}): "
        f"{summary(trips.rejected)}{'; ' if hint else ''}{hint}; nothing was written",
        remedy="correct the file or the options, or give --max-rejected 1 to leave out these rows",
    )


def _one_of_each(rejected: list[RejectedRow]) -> list[RejectedRow]:
    return list({row.reason: row for row in reversed(rejected)}.values())


def _hint(trips: Trips, row: RejectedRow) -> str:
    match row.reason:
        case TimeFault.BAD_TIME:
            return guess_time(row.value)
        case TimeFault.TIME_OUT_OF_BOUNDS:
            return guess_calendar(row.value)
        case RowFault.BAD_COORDINATES:
            lat, lon = row.value.rsplit(", ", 1)
            return guess_place(_number(lat), _number(lon), lat)
        case RowFault.REPEATED_ID:
            return "the ids are not those of single rides: name another column with --id, or give --derive-ids"
        case RowFault.BAD_ID:
            return "an id has 1 to 64 bytes: name another column with --id, or give --derive-ids"
        case TimeFault.BAD_TIMEZONE:
            return "give --timezone with an IANA name for all rows"
        case _:
            return ""


def _number(text: str) -> Float64s:
    try:
        return np.array([float(text.replace(",", "."))])
    except ValueError:
        return np.array([np.nan])


def _days(count: int) -> str:
    return f"{count:,} day{'' if count == 1 else 's'}"


def _utc(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1e6, UTC)
