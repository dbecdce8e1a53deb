"""What a scheduler appends next: leases of due runs, skipped runs, leases that ended; pure, so that every contender decides alike.

No contender compares its clock with the times in records of others: a lease has ended when its holder was silent for the length of a
lease on the own monotonic clock. A wall clock that jumps makes runs due earlier or later, and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from schemas.records.records import CatchUp, JobAbandoned, JobFailed, JobLeased, JobSkipped, Overlap, Record
from state.decide.job_runs import Job, Jobs, Run, RunState
from state.decide.schedule import MOST_DUE, NO_SLOT, Due, due_between, run_id

LATE_S = 300  # a run that is this late was missed; a scheduler looks every second
MOST_LOSSES = 10  # attempts of a run that may end without a result
SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What one scheduler sees at one moment.

    Attributes:
        owner: Its id, never used before.
        now_us: Wall-clock time.
        newest: Newest closed slot of each region.
        silent_s: Seconds since it read the newest record of each run, on its own monotonic clock.
        lease_s: Length of a lease.
        room: How many more attempts it can run.
    """

    owner: str
    now_us: int
    newest: Mapping[str, int]
    silent_s: Mapping[bytes, float]
    lease_s: float
    room: int


def next_steps(jobs: Jobs, moment: Moment) -> list[Record]:
    """What to append to a log that says this; nothing if nothing is to be done."""
    steps: list[Record] = []
    leases = 0
    for job in sorted(jobs.jobs.values(), key=_served):
        found = _of_active(jobs, job, moment) if job.active is not None else _of_idle(jobs, job, moment)
        wanted = sum(isinstance(step, JobLeased) for step in found)
        if wanted and leases + wanted > moment.room:
            # A lease that is taken away from a silent holder needs room for the next one, which another contender may have.
            continue
        steps += [_numbered(step, leases) for step in found]
        leases += wanted
    return steps


def _served(job: Job) -> int:
    """Order of jobs that compete for room: the one that was served longest ago comes first.

    In the order of their definitions, jobs that are due again and again would take the room from those behind them for ever.
    """
    return -1 if job.run is None else job.run.mark


def lease_of(jobs: Jobs, name: str, interval: str, moment: Moment) -> JobLeased:
    """The lease of the next attempt of a run."""
    run = run_id(name, interval)
    before = jobs.run_of(run)
    return JobLeased(
        run=run,
        name=name,
        interval=interval,
        owner=moment.owner,
        token=jobs.token + 1,
        attempt=1 if before is None else before.attempt + 1,
        at_us=moment.now_us,
        until_us=moment.now_us + round(moment.lease_s * SECOND_US),
    )


def leases_by_command(jobs: Jobs, name: str, interval: str, moment: Moment) -> list[Record]:
    """What a person appends who wants a run of a job now: the next attempt of a run that has not ended, else a new run.

    The caller has made sure that nobody works on such a run: a lease that is in force is ended here.
    """
    run = jobs.jobs[name].active
    if run is None:
        return [lease_of(jobs, name, interval, moment)]
    ended = [_end(run, "its lease had run out, and a command takes it", moment, last=False)] if run.held else []
    return [*ended, lease_of(jobs, name, run.interval, moment)]


def _numbered(step: Record, leases: int) -> Record:
    """A lease with the next token when others are appended before it."""
    if not isinstance(step, JobLeased) or not leases:
        return step
    return replace(step, token=step.token + leases)


def _of_idle(jobs: Jobs, job: Job, moment: Moment) -> list[Record]:
    """A job without a run that has not ended: skip what was missed, lease the next run."""
    if job.paused is not None:
        return []
    due = _due(job, moment)
    newest = due[-1] if due and len(due) < MOST_DUE else None  # else there may be newer ones
    missed = [one for one in due if _missed(job, one, newest, moment)]
    match job.definition.catch_up:
        case CatchUp.ONCE:
            skipped = [one for one in missed if one is not newest]
        case CatchUp.SKIP:
            skipped = missed
        case _:
            skipped = []
    # What is skipped stands before what runs: the place up to which a job is decided is one time.
    count = 0
    while count < len(due) and count < len(skipped) and due[count] is skipped[count]:
        count += 1
    steps: list[Record] = [_skip(job, due[:count], "missed: no scheduler ran it in time", moment)] if count else []
    if count < len(due):
        steps.append(lease_of(jobs, job.definition.name, due[count].interval, moment))
    return steps


def _of_active(jobs: Jobs, job: Job, moment: Moment) -> list[Record]:
    """A job with a run that has not ended: end a lease of a silent holder, retry, and treat what overlaps."""
    run = job.active
    assert run is not None
    overlapping = _overlapping(job, run, moment) if job.paused is None else []
    if overlapping and job.definition.overlap == Overlap.REPLACE:
        steps: list[Record] = [_end(run, f"replaced by the run of {overlapping[-1].interval}", moment, last=True)]
        if len(overlapping) > 1:
            steps.append(_skip(job, overlapping[:-1], "a newer run takes their place", moment))
        return [*steps, lease_of(jobs, job.definition.name, overlapping[-1].interval, moment)]
    steps = []
    if overlapping and job.definition.overlap == Overlap.SKIP:
        steps.append(_skip(job, overlapping, "an earlier run had not ended", moment))
    silent_s = moment.silent_s.get(run.run, 0.0)
    if run.held and silent_s >= moment.lease_s:  # also an own one: an append that seemed to fail, and did not
        if run.losses + 1 >= MOST_LOSSES:
            return [*steps, _give_up(run, moment)]
        ended = _end(run, f"its holder {run.owner} was silent for the length of a lease", moment, last=False)
        again = [] if job.paused is not None else [lease_of(jobs, job.definition.name, run.interval, moment)]
        return [*steps, ended, *again]
    waited = silent_s >= run.retry_after_s or moment.now_us - run.at_us >= run.retry_after_s * SECOND_US
    ready = run.state is RunState.ABANDONED or (run.state is RunState.RETRYING and waited)
    if ready and job.paused is None:
        steps.append(lease_of(jobs, job.definition.name, run.interval, moment))
    return steps


def _due(job: Job, moment: Moment) -> list[Due]:
    newest = moment.newest.get(job.definition.region, NO_SLOT)
    return due_between(job.definition, job.done, moment.now_us, newest)


def _missed(job: Job, one: Due, newest: Due | None, moment: Moment) -> bool:
    """Whether a run was due while no scheduler looked; one that waited for the run before it was not."""
    if one.slot != NO_SLOT:
        return one is not newest
    first_us, until_us = job.waiting_us
    waited = job.definition.overlap == Overlap.QUEUE and first_us <= one.at_us <= until_us
    return not waited and (one is not newest or moment.now_us - one.at_us >= LATE_S * SECOND_US)


def _overlapping(job: Job, run: Run, moment: Moment) -> list[Due]:
    """Runs that became due while this one had not ended, if none from before it waits to be caught up."""
    if job.definition.overlap == Overlap.QUEUE:
        return []
    due = _due(job, moment)
    if not due or (due[0].slot != NO_SLOT and job.definition.catch_up == CatchUp.ALL):
        return []
    return due if due[0].slot != NO_SLOT or due[0].at_us >= run.begun_us else []


def _skip(job: Job, due: Sequence[Due], why: str, moment: Moment) -> JobSkipped:
    return JobSkipped(name=job.definition.name, first=due[0].interval, last=due[-1].interval, count=len(due), at_us=moment.now_us, why=why)


def _end(run: Run, why: str, moment: Moment, *, last: bool) -> JobAbandoned:
    return JobAbandoned(run=run.run, token=run.token, at_us=moment.now_us, by=moment.owner, last=last, why=why)


def _give_up(run: Run, moment: Moment) -> JobFailed:
    return JobFailed(
        run=run.run,
        token=run.token,
        attempt=run.attempt,
        at_us=moment.now_us,
        duration_ms=0,
        error=f"{MOST_LOSSES} attempts ended without a result: their holders were killed or lost the ledger",
        tail="",
        retry_after_s=-1,
    )
