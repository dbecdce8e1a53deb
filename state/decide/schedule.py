"""When is a job due? By a cron in a timezone, or by an interval of event time; a pure function of its definition.

Changes of clocks follow Debian's cron, which the package `cronsim` reproduces. A cron with a fixed minute and hour means local times:
one that a change skips is due at the first minute after the change, one that occurs twice is due the first time only, and two
times that fall on the same minute are due once. A cron whose minute or hour begins with `*` means elapsed time: nothing in the
skipped hour, and both passes of the doubled one.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from schemas.errors import UsageError
from schemas.records.records import CatchUp, JobScheduled, Overlap
from schemas.times import EPOCH, MICROSECOND, iso

NO_SLOT = -1
MOST_DUE = 1_000  # due times that are looked at together; what is beyond is found when these are decided
LONGEST_TIMEOUT_S = 7 * 86_400
MOST_RETRIES = 20
LONGEST_BACKOFF_S = 86_400
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
RUN_BYTES = 16
BY_COMMAND = "by command "
SLOT = "slot "


@dataclass(frozen=True, slots=True)
class Due:
    """One interval of a job: when it is due.

    Attributes:
        interval: Its text, which names the run together with the job's name.
        at_us: Wall-clock time, 0 for event time.
        slot: Newest closed slot of the region at which it is due, NO_SLOT for a cron.
    """

    interval: str
    at_us: int = 0
    slot: int = NO_SLOT


def run_id(name: str, interval: str) -> bytes:
    """Which run it is, the same for everyone who computes it.

    >>> run_id("nightly", "2026-11-28T05:00:00Z").hex()
    'e23ef658df52088c488fa535c7a69b61'
    """
    return hashlib.sha256(b"\0".join(part.encode() for part in ("ridecast job", name, interval))).digest()[:RUN_BYTES]


def due_of(interval: str) -> Due:
    """The interval that a record names.

    >>> due_of("slot 4663151").slot, due_of("2014-05-01T12:00:00Z").at_us
    (4663151, 1398945600000000)
    """
    if interval.startswith(SLOT):
        return Due(interval, slot=int(interval.removeprefix(SLOT)))
    if interval.startswith(BY_COMMAND):
        return Due(interval)
    return Due(interval, at_us=(datetime.fromisoformat(interval) - EPOCH) // MICROSECOND)


def cron_times(cron: str, timezone: str, after_us: int) -> Iterator[int]:
    """Due times of a cron after a time, ascending, each once; whole seconds in microseconds UTC. They end with the calendar.

    Raises:
        UsageError: it is not a cron, or the timezone is unknown.

    >>> [iso(at_us) for at_us in islice(cron_times("30 2 * * *", "America/New_York", 1_394_236_800_000_000), 2)]
    ['2014-03-08T07:30:00Z', '2014-03-09T07:00:00Z']
    """
    times = _parsed(cron, (EPOCH + after_us * MICROSECOND).astimezone(zone_of(timezone)))
    last_us = after_us
    while True:
        try:
            at_us = (next(times).astimezone(UTC) - EPOCH) // MICROSECOND
        except (StopIteration, OverflowError):
            return
        if at_us > last_us:  # begun in the second pass of a doubled hour, cronsim answers with times of the first
            last_us = at_us
            yield at_us


def zone_of(timezone: str) -> ZoneInfo:
    """A timezone by its name.

    Raises:
        UsageError: there is none of this name.
    """
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as cause:
        raise UsageError(f"timezone: expected a name such as America/New_York or UTC, got {timezone!r}") from cause


def _parsed(cron: str, start: datetime) -> CronSim:
    fields = cron.split()
    if len(fields) != 5:
        raise UsageError(f"cron: expected five fields (minute, hour, day of the month, month, day of the week), got {cron!r}")
    try:
        return CronSim(" ".join(fields), start)
    except (CronSimError, ValueError, OverflowError) as cause:
        raise UsageError(f"cron {cron!r}: expected times that exist: {str(cause)[:1].lower()}{str(cause)[1:]}") from cause


def due_between(job: JobScheduled, after: Due, now_us: int, newest_slot: int, limit: int = MOST_DUE) -> list[Due]:
    """Intervals of a job after one place, up to now, in order; at most `limit`.

    Args:
        after: Time and slot up to which the job is decided.
        now_us: Wall-clock time; what is due at it counts.
        newest_slot: Newest closed slot of the job's region, NO_SLOT if it has none.
    """
    if job.cron:
        found: list[Due] = []
        for at_us in cron_times(job.cron, job.timezone, after.at_us):
            if at_us > now_us or len(found) >= limit:
                break
            found.append(Due(iso(at_us), at_us=at_us))
        return found
    first = after.slot + 1 + (-(after.slot + 2)) % job.every_slots  # slots s with s + 1 a multiple of the interval
    return [Due(f"{SLOT}{slot}", slot=slot) for slot in islice(range(first, newest_slot + 1, job.every_slots), limit)]


def schedule_text(job: JobScheduled) -> str:
    """When a job is due, in words."""
    return f"cron {job.cron}, {job.timezone}" if job.cron else f"every {job.every_slots} slots of {job.region}"


def next_due_us(job: JobScheduled, after_us: int) -> int | None:
    """The first due time of a cron after a time; None if it has none, or is an interval of event time."""
    return next(cron_times(job.cron, job.timezone, after_us), None) if job.cron else None


def why_unusable(job: JobScheduled) -> str:
    """Why nobody here can say when a job is due; empty if it can be said.

    A definition was checked where it was made; another machine may know fewer timezones, an older version may know less of crons.

    >>> nightly = JobScheduled(name="n", job="verify", arguments=(), cron="30 3 * * *", timezone="Mars/Olympus", region="", every_slots=0,
    ...     overlap="skip", catch_up="once", timeout_s=60, retries=0, backoff_s=60, from_us=0, from_slot=-1, author="", reason="")
    >>> why_unusable(nightly)
    "timezone: expected a name such as America/New_York or UTC, got 'Mars/Olympus'"
    """
    try:
        if job.cron:
            _parsed(job.cron, EPOCH.astimezone(zone_of(job.timezone)))
    except UsageError as error:
        return str(error)
    return ""


def check_job(job: JobScheduled) -> None:
    """Refuse a definition that cannot work.

    Raises:
        UsageError: which field, what was expected and what came.
    """
    if not NAME.fullmatch(job.name):
        raise UsageError(f"name: expected at most 63 lower-case letters, digits, - and _, got {job.name!r}")
    if bool(job.cron) == bool(job.every_slots):
        raise UsageError("expected a cron or an interval of event time, got " + ("both" if job.cron else "neither"))
    if job.every_slots < 0:
        raise UsageError(f"interval: expected at least 1 slot, got {job.every_slots}")
    if job.every_slots and not job.region:
        raise UsageError("interval of event time: expected a region whose slots count, got none")
    zone_of(job.timezone)
    if job.cron and next_due_us(job, job.from_us) is None:
        raise UsageError(f"cron {job.cron!r}: expected times that exist: it is not due once in 50 years")
    for what, values, value in (("overlap", tuple(Overlap), job.overlap), ("catch-up", tuple(CatchUp), job.catch_up)):
        if value not in values:
            raise UsageError(f"{what}: expected one of {', '.join(values)}, got {value!r}")
    for what, least, most, number in (
        ("timeout", 1, LONGEST_TIMEOUT_S, job.timeout_s),
        ("retries", 0, MOST_RETRIES, job.retries),
        ("backoff", 1, LONGEST_BACKOFF_S, job.backoff_s),
    ):
        if not least <= number <= most:
            unit = "" if what == "retries" else " seconds"
            raise UsageError(f"{what}: expected {least} to {most}{unit}, got {number}")
    if sum(len(word) for word in job.arguments) > 4_000:
        raise UsageError("arguments: expected at most 4,000 characters")


def retry_after_s(job: JobScheduled, failures: int, chance: float) -> int:
    """Seconds before the next attempt, -1 if there is none: doubled with each failure, up to a quarter longer by chance.

    Args:
        failures: Attempts that have failed, from 1.
        chance: Uniform in [0, 1), so that jobs that failed together do not start together.
    """
    if failures > job.retries:
        return -1
    return int(min(job.backoff_s << failures - 1, LONGEST_BACKOFF_S) * (1 + chance / 4))
