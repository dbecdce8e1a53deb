"""What the `jobs` log says: definitions, and for each job its newest run; a pure fold, entry by entry."""

import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from schemas.records.records import (
    JobAbandoned,
    JobFailed,
    JobLeased,
    JobPaused,
    JobResumed,
    JobScheduled,
    JobSkipped,
    JobStarted,
    JobSucceeded,
)
from state.decide.schedule import NO_SLOT, Due, due_of

JobRecord = JobScheduled | JobPaused | JobResumed | JobLeased | JobStarted | JobSucceeded | JobFailed | JobSkipped | JobAbandoned


class RunState(StrEnum):
    """How far a run has come."""

    LEASED = "leased"
    RUNNING = "running"
    RETRYING = "retrying"  # an attempt has failed, and another one follows
    ABANDONED = "abandoned"  # an attempt ended without a result, and another one follows
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"  # ended without a result, for good


ENDED = frozenset((RunState.SUCCEEDED, RunState.FAILED, RunState.STOPPED))
HELD = frozenset((RunState.LEASED, RunState.RUNNING))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a job.

    Attributes:
        job: Its definition when it was first leased.
        begun_us: When it was first leased.
        at_us: When the newest record about it was written, and `mark` its index.
        failures, losses: Attempts that failed, and that ended without a result.
    """

    run: bytes
    job: JobScheduled
    interval: str
    owner: str
    token: int
    attempt: int
    begun_us: int
    at_us: int
    mark: int
    until_us: int = 0
    state: RunState = RunState.LEASED
    failures: int = 0
    losses: int = 0
    retry_after_s: int = 0
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether no attempt follows."""
        return self.state in ENDED

    @property
    def held(self) -> bool:
        """Whether an owner has a lease."""
        return self.state in HELD


@dataclass(frozen=True, slots=True)
class Job:
    """A job: its definition in force, whether it is paused, up to where its intervals are decided, and its newest run.

    Attributes:
        waiting_us: From when until when runs went on without a gap: what became due in it waited, and was not missed.
    """

    definition: JobScheduled
    done: Due
    paused: JobPaused | None = None
    run: Run | None = None
    skipped: JobSkipped | None = None
    waiting_us: tuple[int, int] = (0, 0)

    @property
    def active(self) -> Run | None:
        """The run that has not ended."""
        return self.run if self.run is not None and not self.run.ended else None


@dataclass(frozen=True, slots=True)
class Jobs:
    """All jobs by name, and the largest fencing token of the log."""

    jobs: Mapping[str, Job] = field(default_factory=dict)
    token: int = 0

    def run_of(self, run: bytes) -> Run | None:
        """The run of this id, if it is the newest of its job."""
        return next((job.run for job in self.jobs.values() if job.run is not None and job.run.run == run), None)

    def holds(self, run: bytes, token: int) -> bool:
        """Whether a token is still the one that may speak for a run: an older one is refused."""
        found = self.run_of(run)
        return found is not None and found.held and found.token == token


KINDS: tuple[type[JobRecord], ...] = typing.get_args(JobRecord)


def fold_job(jobs: Jobs, index: int, record: JobRecord) -> Jobs:
    """The jobs after one more entry. Entries of a token that is not in force change nothing.

    Args:
        index: Of the entry.
    """
    match record:
        case JobScheduled():
            before = jobs.jobs.get(record.name)
            done = Due("", record.from_us, record.from_slot)
            job = Job(record, done) if before is None else replace(before, definition=record, done=_later(before.done, done))
            return _with(jobs, job)
        case JobPaused():
            return _changed(jobs, record.name, lambda job: replace(job, paused=record))
        case JobResumed():
            place = Due("", record.at_us, record.from_slot)
            return _changed(jobs, record.name, lambda job: replace(job, paused=None, done=_later(job.done, place)))
        case JobSkipped():
            return _changed(jobs, record.name, lambda job: replace(job, done=_later(job.done, due_of(record.last)), skipped=record))
        case JobLeased():
            return _leased(jobs, index, record)
        case JobStarted():
            return _told(jobs, index, record, {"state": RunState.RUNNING})
        case JobSucceeded():
            return _told(jobs, index, record, {"state": RunState.SUCCEEDED, "error": ""})
        case JobFailed():
            state = RunState.RETRYING if record.retry_after_s >= 0 else RunState.FAILED
            return _told(jobs, index, record, {"state": state, "error": record.error, "retry_after_s": record.retry_after_s})
        case JobAbandoned():
            return _told(jobs, index, record, {"state": RunState.STOPPED if record.last else RunState.ABANDONED, "error": record.why})


def _leased(jobs: Jobs, index: int, record: JobLeased) -> Jobs:
    job = jobs.jobs.get(record.name)
    if job is None:
        return jobs
    run = job.run
    if run is not None and run.run == record.run:
        if run.ended or record.token < run.token:
            return jobs
        new = record.token > run.token
        run = replace(
            run,
            owner=record.owner,
            token=record.token,
            attempt=record.attempt,
            at_us=record.at_us,
            mark=index,
            until_us=record.until_us,
            state=RunState.LEASED if new else run.state,
        )
    else:
        run = Run(
            run=record.run,
            job=job.definition,
            interval=record.interval,
            owner=record.owner,
            token=record.token,
            attempt=record.attempt,
            begun_us=record.at_us,
            at_us=record.at_us,
            mark=index,
            until_us=record.until_us,
        )
    job = replace(job, run=run, done=_later(job.done, due_of(record.interval)))
    return replace(_with(jobs, job), token=max(jobs.token, record.token))


def _told(jobs: Jobs, index: int, record: JobStarted | JobSucceeded | JobFailed | JobAbandoned, change: dict[str, object]) -> Jobs:
    """What the holder of a run says about it, or somebody who ended its lease."""
    run = jobs.run_of(record.run)
    if run is None or run.ended or record.token != run.token:
        return jobs
    failures = run.failures + isinstance(record, JobFailed)
    losses = run.losses + isinstance(record, JobAbandoned)
    job = jobs.jobs[run.job.name]
    told = replace(run, at_us=record.at_us, mark=index, failures=failures, losses=losses, **change)  # type: ignore[arg-type]
    if told.ended:
        first_us, until_us = job.waiting_us if job.done.at_us < job.waiting_us[1] else (told.begun_us, told.begun_us)
        job = replace(job, waiting_us=(first_us, max(until_us, told.at_us)))
    return _with(jobs, replace(job, run=told))


def _later(one: Due, other: Due) -> Due:
    """The later of two places, in wall-clock time and in event time."""
    return Due("", max(one.at_us, other.at_us), max(one.slot, other.slot, NO_SLOT))


def _with(jobs: Jobs, job: Job) -> Jobs:
    return replace(jobs, jobs={**jobs.jobs, job.definition.name: job})


def _changed(jobs: Jobs, name: str, change: Callable[[Job], Job]) -> Jobs:
    job = jobs.jobs.get(name)
    return jobs if job is None else _with(jobs, change(job))
