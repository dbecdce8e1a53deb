"""One scheduler with real processes: what succeeds, fails, takes too long, is taken over or stopped is a record."""

import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from dataflows.jobs.attempt import TAIL_BYTES, Attempt
from dataflows.jobs.defining import check_placeholders, past_runs, require_idle
from dataflows.jobs.job_log import job_log
from dataflows.jobs.scheduler import STOPPED, Scheduler, Surroundings
from ledger.store.log import Ledger
from schemas.errors import StoreUnavailable, UsageError
from schemas.records.records import JOBS_LOG, JobAbandoned, JobFailed, JobLeased, JobScheduled, JobStarted, JobSucceeded
from state.decide.job_runs import Jobs
from tests.ledger.places import Place
from tests.state.decide.test_job_steps import FIRST_US, HOUR_US, HOURLY

WITHIN_S = 20.0


@dataclass
class Bench:
    """A ledger, a clock that stands still until it is moved, and what the jobs run."""

    ledger: Ledger
    program: str = "print('done')"
    now_us: int = FIRST_US
    refused: str = ""
    away: bool = False  # a store that a job needs before it starts
    made: list[Scheduler] = field(default_factory=list)

    def scheduler(self, owner: str = "me", lease_s: float = 30.0) -> Scheduler:
        """A scheduler on this ledger."""

        def command_of(job: JobScheduled) -> Sequence[str]:
            if self.away:
                raise StoreUnavailable("the database does not answer")
            if self.refused:
                raise UsageError(self.refused)
            return [sys.executable, "-I", "-S", "-c", self.program]

        around = Surroundings(
            owner=owner,
            command_of=command_of,
            environment=dict(os.environ),
            now_us=lambda: self.now_us,
            monotonic=time.monotonic,
            chance=random.Random(7),
            lease_s=lease_s,
        )
        self.made.append(Scheduler(self.ledger, around))
        return self.made[-1]

    def define(self, job: JobScheduled = HOURLY) -> None:
        """Record a job, and move the clock to its first due time."""
        job_log(self.ledger).append(lambda jobs: [job])
        self.now_us = FIRST_US + HOUR_US


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench on an empty embedded ledger; what its schedulers run is ended."""
    place = Place(tmp_path)
    found = Bench(place.open())
    yield found
    for scheduler in found.made:
        scheduler.close()
    place.close()


def until_idle(scheduler: Scheduler) -> None:
    """Turn until nothing runs."""
    end_s = time.monotonic() + WITHIN_S
    scheduler.turn()
    while scheduler.running:
        assert time.monotonic() < end_s, "an attempt goes on"
        time.sleep(0.01)
        scheduler.turn()


def gone(pid: int) -> bool:
    """Whether a process has ended, within a few seconds."""
    for _ in range(300):
        try:
            if Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_a_due_run_is_leased_started_and_succeeds(bench: Bench) -> None:
    """The log tells the lease, the start with its command, and the success with the output; the child knows its run and token."""
    bench.program = "import os; print(os.environ['JOB_RUN'], os.environ['JOB_TOKEN'])"
    bench.define()
    until_idle(bench.scheduler())
    [leased] = bench.ledger.records(JOBS_LOG, JobLeased)
    [started] = bench.ledger.records(JOBS_LOG, JobStarted)
    [done] = bench.ledger.records(JOBS_LOG, JobSucceeded)
    assert (leased.run, leased.token, bench.program) == (started.run, started.token, started.command[-1])
    assert (leased.run, f"{leased.run.hex()} 1") == (done.run, done.tail)
    [past] = past_runs(bench.ledger)
    assert ("nightly", "succeeded", 1, "me") == (past.name, past.state, past.attempts, past.owner)


def test_a_job_that_raises_is_a_record(bench: Bench) -> None:
    """Its exit code and last line are in the record with the end of its output, which is bounded; after its retries it has failed."""
    bench.program = "print('x' * 100_000); raise ValueError('no such city')"
    bench.define(replace(HOURLY, retries=1))
    scheduler = bench.scheduler()
    until_idle(scheduler)
    bench.now_us += 80_000_000
    until_idle(scheduler)
    first, second = bench.ledger.records(JOBS_LOG, JobFailed)
    assert "exit code 1: ValueError: no such city" == first.error == second.error
    assert TAIL_BYTES - 100 < len(first.tail) <= TAIL_BYTES
    assert 60 <= first.retry_after_s <= 75
    assert (1, 2, -1) == (first.attempt, second.attempt, second.retry_after_s)
    assert not scheduler.turn()


def test_a_job_that_cannot_run_is_a_record(bench: Bench) -> None:
    """A job that is refused, as one of a region that is gone, has failed with the reason and without a retry."""
    bench.refused = "region paris: expected a region of this home"
    bench.define()
    until_idle(bench.scheduler())
    [failed] = bench.ledger.records(JOBS_LOG, JobFailed)
    assert (bench.refused, -1) == (failed.error, failed.retry_after_s)


def test_a_store_that_is_away_at_the_start_costs_one_attempt(bench: Bench) -> None:
    """A job that cannot be started because a store does not answer is tried again, and succeeds when it does."""
    bench.define()
    scheduler = bench.scheduler()
    bench.away = True
    until_idle(scheduler)
    [failed] = bench.ledger.records(JOBS_LOG, JobFailed)
    assert ("the database does not answer", 1) == (failed.error, failed.attempt)
    assert 60 <= failed.retry_after_s <= 75
    bench.away, bench.now_us = False, bench.now_us + 80_000_000
    until_idle(scheduler)
    assert 1 == len(list(bench.ledger.records(JOBS_LOG, JobSucceeded)))


def test_a_time_limit_ends_the_whole_group(bench: Bench, tmp_path: Path) -> None:
    """At its limit an attempt is stopped with what it has started, and the record says so."""
    bench.program = f"""
import os, subprocess, time
child = subprocess.Popen(["sleep", "600"])
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
print("waiting", flush=True)
time.sleep(600)
"""
    bench.define(replace(HOURLY, timeout_s=1, retries=0))
    until_idle(bench.scheduler())
    [failed] = bench.ledger.records(JOBS_LOG, JobFailed)
    assert ("it was stopped after its time limit of 1 s", "waiting") == (failed.error, failed.tail)
    assert gone(int((tmp_path / "pid").read_text("utf-8")))


def test_a_process_that_ignores_the_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM is followed by SIGKILL; the standard input of an attempt is open as long as its scheduler lives."""
    monkeypatch.setattr("dataflows.jobs.attempt.STOP_WITHIN_S", 0.2)
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    attempt = Attempt([sys.executable, "-I", "-S", "-c", program], os.environ, b"run", 1, 600, time.monotonic)
    assert attempt.poll() is None
    time.sleep(0.3)
    attempt.stop("enough")
    outcome = attempt.finish()
    assert "enough" == outcome.error
    assert outcome is attempt.poll()


def test_a_lease_is_extended_while_its_attempt_runs(bench: Bench) -> None:
    """An attempt that takes longer than a lease keeps it, since its scheduler extends it with the same token."""
    bench.program = "import time; time.sleep(0.9)"
    bench.define()
    mine, other = bench.scheduler(lease_s=0.4), bench.scheduler("other", lease_s=0.4)
    mine.turn()
    while mine.running:
        other.turn()
        mine.turn()
        time.sleep(0.02)
    leases = list(bench.ledger.records(JOBS_LOG, JobLeased))
    assert len(leases) >= 4
    assert {("me", 1, 1)} == {(lease.owner, lease.token, lease.attempt) for lease in leases}
    assert 1 == len(list(bench.ledger.records(JOBS_LOG, JobSucceeded)))


def test_a_holder_that_comes_back_late_is_refused(bench: Bench) -> None:
    """A scheduler that was frozen longer than its lease loses the run: it stops its attempt and its result is not recorded."""
    bench.program = "import time; time.sleep(600)"
    bench.define()
    frozen = bench.scheduler("frozen")
    frozen.turn()
    bench.program = "import time; time.sleep(0.5); print('mine')"
    other = bench.scheduler("other", lease_s=0.2)
    other.turn()
    time.sleep(0.25)
    other.turn()
    until_idle(frozen)
    until_idle(other)
    [lost] = bench.ledger.records(JOBS_LOG, JobAbandoned)
    [done] = bench.ledger.records(JOBS_LOG, JobSucceeded)
    assert (1, "other", False) == (lost.token, lost.by, lost.last)
    assert (2, "mine") == (done.token, done.tail)
    assert [] == list(bench.ledger.records(JOBS_LOG, JobFailed))


def test_a_scheduler_that_stops_gives_its_runs_back(bench: Bench) -> None:
    """It ends its attempts and says so, and another one takes them without waiting for the lease."""
    bench.program = "import time; time.sleep(600)"
    bench.define()
    first = bench.scheduler()
    first.turn()
    first.close()
    [lost] = bench.ledger.records(JOBS_LOG, JobAbandoned)
    assert (STOPPED, False) == (lost.why, lost.last)
    bench.program = "print('again')"
    until_idle(bench.scheduler("other"))
    [done] = bench.ledger.records(JOBS_LOG, JobSucceeded)
    assert (lost.run, 2, "again") == (done.run, done.token, done.tail)


def test_a_ledger_that_does_not_answer_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that ends meanwhile is recorded once the ledger answers, with what it was."""
    bench.define()
    scheduler = bench.scheduler()
    scheduler.turn()

    def silent(*_: object) -> None:
        raise StoreUnavailable("the database does not answer")

    time.sleep(0.3)
    with monkeypatch.context() as patch:
        patch.setattr(bench.ledger, "append", silent)
        with pytest.raises(StoreUnavailable):
            scheduler.turn()
    until_idle(scheduler)
    [done] = bench.ledger.records(JOBS_LOG, JobSucceeded)
    assert "done" == done.tail


def test_two_writers_decide_on_the_same_log(bench: Bench) -> None:
    """Of two that lease the same run at the same size, the second decides again on what the first appended."""
    bench.define()
    one, other = bench.scheduler(), bench.scheduler("other")
    seen: list[int] = []

    def check(jobs: Jobs) -> None:
        seen.append(jobs.token)
        if len(seen) == 1:
            other.turn()
        elif jobs.jobs["nightly"].active is not None:
            raise UsageError("taken")

    with pytest.raises(UsageError, match="taken"):
        one.run_now("nightly", "by command 2014-05-13T17:00:00Z", check)
    assert [0, 1] == seen
    assert {"other"} == {lease.owner for lease in bench.ledger.records(JOBS_LOG, JobLeased)}


def test_a_run_by_command_is_not_retried(bench: Bench) -> None:
    """It fails at once, or is stopped for good with its scheduler; the schedule is as it was."""
    bench.program = "raise SystemExit(3)"
    bench.define(replace(HOURLY, retries=5))
    bench.now_us = FIRST_US
    scheduler = bench.scheduler()
    scheduler.run_now("nightly", "by command 2014-05-13T17:00:00Z", lambda jobs: None)
    until_idle(scheduler)
    [failed] = bench.ledger.records(JOBS_LOG, JobFailed)
    assert ("exit code 3", -1) == (failed.error, failed.retry_after_s)
    bench.program = "import time; time.sleep(600)"
    scheduler.run_now("nightly", "by command 2014-05-13T18:00:00Z", lambda jobs: None)
    scheduler.close()
    assert ["failed", "stopped"] == [past.state for past in past_runs(bench.ledger)]
    assert not bench.scheduler("other").turn()


def test_a_command_goes_on_with_a_run_that_nobody_works_on(bench: Bench) -> None:
    """A lease in force is refused; one that ran out, as that of a killed process, is taken with the next token."""
    bench.program = "import time; time.sleep(600)"
    bench.define()
    killed = bench.scheduler("killed")
    killed.turn()
    bench.program = "print('mine')"
    mine = bench.scheduler()
    with pytest.raises(UsageError, match="expected no run that goes on"):
        mine.run_now("nightly", "by command x", lambda jobs: require_idle(jobs, "nightly", bench.now_us))
    bench.now_us += 31_000_000
    mine.run_now("nightly", "by command x", lambda jobs: require_idle(jobs, "nightly", bench.now_us))
    until_idle(mine)
    [past] = past_runs(bench.ledger)
    assert ("succeeded", 2, "mine", "me") == (past.state, past.attempts, past.tail, past.owner)


def test_a_job_with_an_unknown_timezone_blocks_nobody(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A job that this machine cannot time is said once and not run; the others run."""
    bench.program = "print(7)"
    job_log(bench.ledger).append(lambda jobs: [replace(HOURLY, name="mars", timezone="Mars/Olympus")])
    bench.define()
    one = bench.scheduler()
    until_idle(one)
    until_idle(one)
    assert ["nightly"] == [past.name for past in past_runs(bench.ledger)]
    assert 1 == sum("job mars: not run by this scheduler: timezone" in record.message for record in caplog.records)


@pytest.mark.parametrize("argument", ["{90 days}", "{days ago}", "{12345 days ago}", "{90 days ago", "a}b"])
def test_braces_that_nobody_replaces_are_refused(argument: str) -> None:
    """A misspelled date is refused when the job is defined, not at night when it runs."""
    with pytest.raises(UsageError, match="expected braces only as in"):
        check_placeholders([argument])
