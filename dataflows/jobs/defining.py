"""Define, pause and resume scheduled jobs, and what their past runs were; each change is a record in the `jobs` log."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from dataflows.jobs.job_log import job_log
from dataflows.jobs.job_table import words_of_job
from ledger.store.log import Ledger
from ledger.views.regions import bootstrapped_in, region_of
from schemas.errors import NotFound, UsageError
from schemas.records.records import (
    JOBS_LOG,
    JobAbandoned,
    JobFailed,
    JobLeased,
    JobPaused,
    JobResumed,
    JobScheduled,
    JobSkipped,
    JobStarted,
    JobSucceeded,
    Record,
    SlotClosed,
    region_log,
)
from schemas.times import EPOCH, MICROSECOND
from state.decide.job_runs import KINDS, Job, Jobs
from state.decide.schedule import NO_SLOT, check_job, zone_of

DAYS_AGO = re.compile(r"\{(\d{1,4}) days ago\}")


def newest_slot(ledger: Ledger, region: str) -> int:
    """Newest closed slot of a region, NO_SLOT if it has none or there is no region."""
    closed = ledger.find(region_log(region), SlotClosed) if region else None
    return NO_SLOT if closed is None else closed.slot


def define_job(ledger: Ledger, job: JobScheduled, timezone: str | None) -> JobScheduled:
    """Check and record a definition; a name that exists is defined anew. Returns what is recorded.

    Args:
        job: Without its timezone and its first slot; an empty region stands for the only one of the home.
        timezone: None for the region's.
    Raises:
        UsageError: a field is not usable, or the job is unknown.
        NotFound: the region is not in this home.
    """
    regions = bootstrapped_in(ledger)
    region = job.region or (regions[0] if len(regions) == 1 else "")
    if region:
        own = region_of(ledger, region).timezone
    else:
        own = "UTC"
    job = replace(job, region=region, timezone=own if timezone is None else timezone, from_slot=newest_slot(ledger, region))
    words_of_job(job.job, job.arguments, job.region)
    check_placeholders(job.arguments)
    check_job(job)
    job_log(ledger).append(lambda jobs: [job])
    return job


def pause_job(ledger: Ledger, name: str, now_us: int, *, author: str, reason: str) -> bool:
    """Pause a job; returns False if it was paused already.

    Raises:
        NotFound: there is no job of this name.
    """

    def decide(jobs: Jobs) -> Sequence[Record]:
        job = job_named(jobs, name)
        return [] if job.paused is not None else [JobPaused(name=name, at_us=now_us, author=author, reason=reason)]

    return bool(job_log(ledger).append(decide))


def resume_job(ledger: Ledger, name: str, now_us: int, *, author: str, reason: str) -> bool:
    """Resume a job; what was due in the meantime does not run. Returns False if it was not paused.

    Raises:
        NotFound: there is no job of this name.
    """

    def decide(jobs: Jobs) -> Sequence[Record]:
        job = job_named(jobs, name)
        slot = newest_slot(ledger, job.definition.region)
        return [] if job.paused is None else [JobResumed(name=name, at_us=now_us, from_slot=slot, author=author, reason=reason)]

    return bool(job_log(ledger).append(decide))


def check_placeholders(arguments: Sequence[str]) -> None:
    """Refuse braces that no attempt would replace.

    Raises:
        UsageError: which argument, what was expected and what came.

    >>> check_placeholders(["--until", "{90 days ago}"])
    """
    for argument in arguments:
        if set("{}") & set(DAYS_AGO.sub("", argument)):
            raise UsageError(f"argument {argument!r}: expected braces only as in {{90 days ago}}, with at most four digits")


def job_named(jobs: Jobs, name: str) -> Job:
    """The job of a name.

    Raises:
        NotFound: there is none.
    """
    try:
        return jobs.jobs[name]
    except KeyError:
        known = ", ".join(jobs.jobs) or "none"
        raise NotFound(f"job {name!r}: expected a job of this home ({known})", remedy="`ridecast jobs add` defines one") from None


def words_now(ledger: Ledger, job: JobScheduled, now_us: int) -> list[str]:
    """The words after `ridecast` of an attempt that begins now.

    Raises:
        UsageError: the job is unknown to this version.
        NotFound: its region is not in this home.
    """
    if job.region and job.region not in bootstrapped_in(ledger):
        raise NotFound(f"region {job.region}: expected a region of this home, which it is not any more", remedy="pause the job")
    today = (EPOCH + now_us * MICROSECOND).astimezone(zone_of(job.timezone)).date()
    dated = tuple(DAYS_AGO.sub(lambda found: str(today - timedelta(days=int(found[1]))), argument) for argument in job.arguments)
    return words_of_job(job.job, dated, job.region)


@dataclass(slots=True, kw_only=True)
class PastRun:
    """A run, or runs that were skipped, as the log tells it.

    Attributes:
        count: 1, or how many were skipped together.
        state: leased, running, retrying, abandoned, succeeded, failed, stopped or skipped.
        ended_us: When the newest record about it was written.
    """

    name: str
    interval: str
    run: str
    state: str
    begun_us: int
    ended_us: int
    attempts: int = 0
    count: int = 1
    duration_ms: int = 0
    error: str = ""
    tail: str = ""
    owner: str = ""
    index: int = -1


def past_runs(ledger: Ledger, name: str | None = None) -> list[PastRun]:
    """All runs of a job, or of all jobs, in the order in which they began."""
    rows: list[PastRun] = []
    by_run: dict[bytes, PastRun] = {}
    tokens: dict[bytes, int] = {}
    names = {kind.__name__ for kind in KINDS}
    for stored in ledger.scan(JOBS_LOG):
        if stored.kind not in names:
            continue
        record: object = stored.record
        match record:
            case JobSkipped():
                row = PastRun(
                    name=record.name, interval=record.first, run="", state="skipped", begun_us=record.at_us, ended_us=record.at_us
                )
                row.count, row.error, row.index = record.count, record.why, stored.index
                rows.append(row)
            case JobLeased():
                tokens[record.run] = record.token
                if record.run not in by_run:
                    by_run[record.run] = PastRun(
                        name=record.name, interval=record.interval, run=record.run.hex(), state="", begun_us=record.at_us, ended_us=0
                    )
                    rows.append(by_run[record.run])
                row = by_run[record.run]
                if record.attempt > row.attempts:
                    row.state, row.attempts, row.owner = "leased", record.attempt, record.owner
                row.ended_us, row.index = record.at_us, stored.index
            case JobStarted() | JobSucceeded() | JobFailed() | JobAbandoned() if tokens.get(record.run) == record.token:
                _tell(by_run[record.run], record)
                by_run[record.run].index = stored.index
            case _:
                pass
    return [row for row in rows if name is None or row.name == name]


def _tell(row: PastRun, record: JobStarted | JobSucceeded | JobFailed | JobAbandoned) -> None:
    row.ended_us = record.at_us
    match record:
        case JobStarted():
            row.state = "running"
        case JobSucceeded():
            row.state, row.duration_ms, row.tail, row.error = "succeeded", record.duration_ms, record.tail, ""
        case JobFailed():
            row.state = "retrying" if record.retry_after_s >= 0 else "failed"
            row.duration_ms, row.tail, row.error = record.duration_ms, record.tail, record.error
        case JobAbandoned():
            row.state, row.error = "stopped" if record.last else "abandoned", record.why


def require_idle(jobs: Jobs, name: str, now_us: int) -> None:
    """Refuse a run by command while somebody works on a run of the job.

    Raises:
        NotFound: there is no such job.
        UsageError: a lease is in force.
    """
    run = job_named(jobs, name).active
    if run is not None and run.held and now_us < run.until_us:
        raise UsageError(f"job {name}: expected no run that goes on, got the run of {run.interval}, {run.state} by {run.owner}")
