"""Records of scheduled jobs and their runs, in the `jobs` log. `schemas.records.records` re-exports these.

No close cites this log, so wall-clock time is allowed here, as in `runs`. A run is named by the hash of its job's name and its
interval: whoever computes it anew finds the same run.
"""

from dataclasses import dataclass
from enum import StrEnum


class Overlap(StrEnum):
    """What becomes of a run that is due while an earlier run of its job has not ended."""

    SKIP = "skip"  # it is recorded as skipped
    QUEUE = "queue"  # it waits
    REPLACE = "replace"  # the earlier run is ended, and it runs


class CatchUp(StrEnum):
    """What becomes of runs that were due while no scheduler ran."""

    ALL = "all"  # each runs, in order
    ONCE = "once"  # the newest runs, the others are recorded as skipped
    SKIP = "skip"  # all are recorded as skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class JobScheduled:
    """A job is defined, or defined anew: what runs, when, and by which rules. The newest definition of a name is in force."""

    name: str  # of this definition
    job: str  # of the table of jobs
    arguments: tuple[str, ...]  # beside those that the table gives
    region: str  # whose event time counts; empty if none does
    cron: str  # five fields; empty for an interval of event time
    every_slots: int  # the interval of event time; 0 with a cron
    timezone: str  # of the cron
    overlap: str
    catch_up: str
    timeout_s: int  # of one attempt
    retries: int  # attempts after the first one failed
    backoff_s: int  # before the first retry; twice as long before each further one
    from_us: int  # wall-clock time of the definition: runs are due after it
    from_slot: int  # the region's newest slot then, -1 without: runs are due after it
    author: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPaused:
    """No attempt of a job begins, until it is resumed. One that runs goes on."""

    name: str
    at_us: int
    author: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResumed:
    """A paused job goes on. What was due in the meantime does not run."""

    name: str
    at_us: int
    from_slot: int  # the region's newest slot, -1 without: runs are due after it
    author: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLeased:
    """An owner may run one attempt of a run, until some time; with the same token again, the lease is extended."""

    run: bytes  # the first 16 bytes of SHA-256("ridecast job", name, interval), separated by zero bytes
    name: str
    interval: str  # the time that it was due, UTC; `slot N`; or `by command` and a time
    owner: str
    token: int  # the fencing token: larger than all before it in this log
    attempt: int  # from 1
    at_us: int
    until_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted:
    """The process of an attempt was started."""

    run: bytes
    token: int
    at_us: int
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSucceeded:
    """A run has ended with success; there is one such record per run."""

    run: bytes
    token: int
    at_us: int
    duration_ms: int
    tail: str  # the end of its output


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed:
    """An attempt has failed."""

    run: bytes
    token: int
    attempt: int
    at_us: int
    duration_ms: int
    error: str  # one line
    tail: str  # the end of its output
    retry_after_s: int  # -1 if it was the last attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSkipped:
    """Runs of a job that do not happen, next to each other in its schedule."""

    name: str
    first: str  # interval of the first one
    last: str  # and of the last one
    count: int
    at_us: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAbandoned:
    """An attempt ended without a result: its owner did not extend the lease, stopped, or a newer run took its place."""

    run: bytes
    token: int
    at_us: int
    by: str  # who noticed it
    last: bool  # no other attempt follows
    why: str
