"""What a scheduler does next, from the log: due and missed runs, overlaps, retries, lost leases, tokens, and clocks that jump."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

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
from schemas.times import iso
from state.decide.job_runs import JobRecord, Jobs, RunState, fold_job
from state.decide.job_steps import MOST_LOSSES, Moment, next_steps
from tests.state.decide.test_schedule import JOB

HOUR_US = 3_600_000_000
FIRST_US = 1_400_000_400_000_000 // HOUR_US * HOUR_US
HOURLY = replace(JOB, cron="0 * * * *", timezone="UTC", from_us=FIRST_US, catch_up="all", overlap="queue")


@dataclass
class Log:
    """A log of jobs and one scheduler that appends to it."""

    jobs: Jobs = field(default_factory=Jobs)
    size: int = 0
    now_us: int = FIRST_US
    newest: int = -1
    silent_s: float = 0.0
    room: int = 9

    def add(self, *records: JobRecord) -> None:
        """Append records."""
        for record in records:
            self.jobs = fold_job(self.jobs, self.size, record)
            self.size += 1

    def step(self, owner: str = "me") -> Sequence[JobRecord]:
        """What a scheduler appends now; it is appended."""
        moment = Moment(
            owner=owner,
            now_us=self.now_us,
            newest={"nyc": self.newest},
            silent_s={job.run.run: self.silent_s for job in self.jobs.jobs.values() if job.run is not None},
            lease_s=30,
            room=self.room,
        )
        steps: list[JobRecord] = next_steps(self.jobs, moment)  # type: ignore[assignment]  # all are records of jobs
        self.add(*steps)
        return steps

    def lease(self, owner: str = "me") -> JobLeased:
        """The only step, which must be a lease."""
        [leased] = self.step(owner)
        assert isinstance(leased, JobLeased)
        return leased

    def succeed(self, leased: JobLeased) -> None:
        """Say that a run has succeeded."""
        self.add(JobSucceeded(run=leased.run, token=leased.token, at_us=self.now_us, duration_ms=1, tail=""))

    def fail(self, leased: JobLeased, retry_after_s: int = 60) -> None:
        """Say that an attempt has failed."""
        self.add(
            JobFailed(
                run=leased.run,
                token=leased.token,
                attempt=leased.attempt,
                at_us=self.now_us,
                duration_ms=1,
                error="no",
                tail="",
                retry_after_s=retry_after_s,
            )
        )


def log_of(job: JobScheduled = HOURLY, hours: float = 0) -> Log:
    """A log with one job, so many hours later."""
    log = Log(now_us=FIRST_US + round(hours * HOUR_US))
    log.add(job)
    return log


def at(hour: int) -> str:
    """The interval of an hour after the first."""
    return iso(FIRST_US + hour * HOUR_US)


def test_a_due_run_is_leased_once() -> None:
    """Before it is due nothing happens; then one lease with the next token; while it is held and after it succeeded, nothing."""
    log = log_of(hours=0.9)
    assert [] == log.step()
    log.now_us = FIRST_US + HOUR_US
    leased = log.lease()
    assert (at(1), 1, 1, "me") == (leased.interval, leased.token, leased.attempt, leased.owner)
    assert [] == log.step()
    assert [] == log.step("another")
    log.add(JobStarted(run=leased.run, token=1, at_us=log.now_us, command=("work",)))
    log.succeed(leased)
    assert [] == log.step()
    assert log.jobs.jobs["nightly"].run is not None
    assert RunState.SUCCEEDED is log.jobs.jobs["nightly"].run.state


@pytest.mark.parametrize(
    ("catch_up", "skipped", "ran"),
    [("all", [], [1, 2, 3]), ("once", [(1, 2, 2)], [3]), ("skip", [(1, 3, 3)], [])],
)
def test_missed_runs(catch_up: str, skipped: Sequence[tuple[int, int, int]], ran: Sequence[int]) -> None:
    """Runs that nobody ran in time all run in order, or the newest runs, or none; what does not run is recorded."""
    log = log_of(replace(HOURLY, catch_up=catch_up), hours=3.5)
    found: list[JobRecord] = []
    while steps := log.step():
        found += steps
        for step in steps:
            if isinstance(step, JobLeased):
                log.succeed(step)
    assert [(at(first), at(last), count) for first, last, count in skipped] == [
        (step.first, step.last, step.count) for step in found if isinstance(step, JobSkipped)
    ]
    assert [at(hour) for hour in ran] == [step.interval for step in found if isinstance(step, JobLeased)]


@pytest.mark.parametrize("catch_up", ["once", "skip"])
def test_a_long_time_without_a_scheduler(catch_up: str) -> None:
    """Of more missed runs than are looked at together only the newest runs, which is due now, and the others count as skipped."""
    log, found = log_of(replace(HOURLY, cron="* * * * *", catch_up=catch_up), hours=50.5), list[JobRecord]()
    while steps := log.step():
        found += steps
        for step in steps:
            if isinstance(step, JobLeased):
                log.succeed(step)
    leases = [step.interval for step in found if isinstance(step, JobLeased)]
    assert [iso(log.now_us)] == leases
    assert 3029 == sum(step.count for step in found if isinstance(step, JobSkipped))


def test_a_run_in_time_is_not_missed() -> None:
    """With the rule `skip` a run that is found seconds after it was due runs."""
    log = log_of(replace(HOURLY, catch_up="skip"), hours=1.01)
    assert at(1) == log.lease().interval


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
def test_an_overlapping_run(overlap: str) -> None:
    """A run that is due while the last one has not ended is skipped, waits, or takes its place."""
    log = log_of(replace(HOURLY, overlap=overlap, catch_up="once"), hours=1)
    first = log.lease()
    log.now_us += 3 * HOUR_US
    steps = log.step()
    match overlap:
        case "skip":
            [skipped] = steps
            assert isinstance(skipped, JobSkipped)
            assert (at(2), at(4), 3, "an earlier run had not ended") == (skipped.first, skipped.last, skipped.count, skipped.why)
            log.succeed(first)
            assert [] == log.step()
        case "queue":
            assert [] == list(steps)
            log.succeed(first)
            for hour in (2, 3, 4):
                waiting = log.lease()
                assert at(hour) == waiting.interval
                log.succeed(waiting)
        case _:
            ended, skipped, leased = steps
            assert isinstance(ended, JobAbandoned)
            assert isinstance(skipped, JobSkipped)
            assert isinstance(leased, JobLeased)
            assert (first.run, True, 2, at(4)) == (ended.run, ended.last, skipped.count, leased.interval)
            assert not log.jobs.holds(first.run, first.token)
            log.succeed(first)  # too late: it changes nothing
            assert log.jobs.holds(leased.run, leased.token)


def test_a_failed_attempt_is_retried_after_its_wait() -> None:
    """The next attempt has a new token and waits, by either clock; after the last one the run has failed, and the next is leased."""
    log = log_of(hours=1)
    first = log.lease()
    log.fail(first)
    log.silent_s = 59
    assert [] == log.step()
    log.silent_s = 60
    second = log.lease()
    assert (first.run, 2, 2) == (second.run, second.token, second.attempt)
    log.fail(second)
    log.silent_s, log.now_us = 0, log.now_us + 60_000_000
    third = log.lease()
    log.fail(third, retry_after_s=-1)
    assert [] == log.step()
    log.now_us = FIRST_US + 2 * HOUR_US
    assert at(2) == log.lease().interval


def test_a_silent_holder_loses_its_lease_and_its_token_is_refused() -> None:
    """After the length of a lease without a word another scheduler takes the run; what the old holder then says changes nothing."""
    log = log_of(hours=1)
    first = log.lease("killed")
    log.silent_s = 29.9
    assert [] == log.step()
    log.silent_s = 30
    ended, second = log.step()
    assert isinstance(ended, JobAbandoned)
    assert isinstance(second, JobLeased)
    assert (first.run, first.token, False) == (ended.run, ended.token, ended.last)
    assert (first.run, 2, 2, "me") == (second.run, second.token, second.attempt, second.owner)
    before = log.jobs
    log.succeed(first)
    log.fail(first)
    log.add(replace(first, until_us=10**18))
    assert before == log.jobs
    log.silent_s = 0
    log.add(replace(second, until_us=second.until_us + 1))
    assert log.jobs.holds(second.run, 2)
    log.succeed(second)
    assert not log.jobs.holds(second.run, 2)


def test_a_run_that_kills_its_holders_is_given_up() -> None:
    """After ten attempts without a result the run has failed, so that its job goes on."""
    log = log_of(hours=1)
    log.lease()
    log.silent_s = 30
    for _ in range(MOST_LOSSES - 1):
        assert 2 == len(log.step())
    [failed] = log.step()
    assert isinstance(failed, JobFailed)
    assert -1 == failed.retry_after_s
    assert [] == log.step()


def test_a_paused_job_begins_nothing() -> None:
    """While it is paused nothing is leased or skipped; what was due then does not run after it is resumed."""
    log = log_of(hours=1)
    log.add(JobPaused(name="nightly", at_us=log.now_us, author="test", reason="test"))
    log.now_us += 5 * HOUR_US
    assert [] == log.step()
    log.add(JobResumed(name="nightly", at_us=log.now_us, from_slot=-1, author="test", reason="test"))
    assert [] == log.step()
    log.now_us += HOUR_US
    assert at(7) == log.lease().interval


def test_clocks_that_jump_neither_lose_nor_double_a_run() -> None:
    """A clock a day ahead makes runs due early, once; back at the right time nothing runs again, and the rest runs when it is due."""
    log, ran = log_of(), list[str]()
    for hour in [*range(1, 5), 5 + 24, *range(6, 30), *range(5, 8), *range(25, 40)]:
        log.now_us = FIRST_US + hour * HOUR_US
        while steps := log.step():
            [leased] = steps
            assert isinstance(leased, JobLeased)
            ran.append(leased.interval)
            log.succeed(leased)
    assert [at(hour) for hour in range(1, 40)] == ran


def test_event_time_needs_no_clock() -> None:
    """An interval of event time follows the newest closed slot, and a region that closes none is never due."""
    log = log_of(replace(HOURLY, cron="", every_slots=12, overlap="skip"))
    assert [] == log.step()
    log.newest = 23
    for expected in ("slot 11", "slot 23"):
        leased = log.lease()
        assert expected == leased.interval
        log.succeed(leased)
    assert [] == log.step()


def test_room_limits_what_one_scheduler_leases() -> None:
    """With room for one attempt, one of two due jobs is leased; tokens of leases made together differ."""
    log = log_of(hours=1)
    log.add(replace(HOURLY, name="second"))
    log.room = 1
    assert 1 == len(log.step())
    log.room = 0
    assert [] == log.step()
    log = log_of(hours=1)
    log.add(replace(HOURLY, name="second"))
    assert [1, 2] == [step.token for step in log.step() if isinstance(step, JobLeased)]
    assert 2 == log.jobs.token


def test_jobs_that_are_always_due_leave_room_for_the_others() -> None:
    """With room for one attempt and three jobs that have many runs to catch up, each is served in turn."""
    log, ran = log_of(hours=20), list[str]()
    for name in ("second", "third"):
        log.add(replace(HOURLY, name=name))
    log.room = 1
    for _ in range(9):
        leased = log.lease()
        ran.append(leased.name)
        log.succeed(leased)
    assert 3 * ["nightly", "second", "third"] == ran


def test_a_new_definition_takes_the_place_of_the_old_one() -> None:
    """What it changes is in force at once, and what was due before it does not run."""
    log = log_of(hours=5)
    log.add(replace(HOURLY, cron="30 * * * *", from_us=log.now_us))
    assert [] == log.step()
    log.now_us += HOUR_US // 2
    assert iso(FIRST_US + 11 * HOUR_US // 2) == log.lease().interval
