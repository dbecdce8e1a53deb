"""The scheduler of jobs: follow the `jobs` log, fold it, append what is next, and run what was leased.

Any number of schedulers may run on one ledger. An append with an expected size decides who leases a run; the fencing token of the
lease decides who may say how it ended.
"""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace

from dataflows.jobs.attempt import Attempt, Outcome
from dataflows.jobs.defining import newest_slot
from dataflows.jobs.job_log import job_log
from ledger.store.log import Ledger
from ledger.store.wakeups import Stop
from ledger.views.folded import Folded
from ledger.views.follow import Pace
from schemas.errors import RidecastError, StoreUnavailable
from schemas.records.records import (
    JOBS_LOG,
    JobAbandoned,
    JobFailed,
    JobLeased,
    JobScheduled,
    JobStarted,
    JobSucceeded,
    Record,
)
from state.decide.job_runs import Jobs, Run
from state.decide.job_steps import SECOND_US, Moment, leases_by_command, next_steps
from state.decide.schedule import BY_COMMAND, retry_after_s, why_unusable

LEASE_S = 30.0  # a scheduler that was killed is noticed after so long
ROOM = 2  # attempts that one scheduler runs at a time
LOOK_S = 0.25  # between two looks at the children while some run
STOPPED = "its scheduler was stopped"

CommandOf = Callable[[JobScheduled], Sequence[str]]
log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """What a scheduler gets from outside.

    Attributes:
        owner: Its id; no other process ever has the same.
        command_of: The program and arguments of a job; raises RidecastError if it cannot run.
        environment: Of the children.
        now_us: Wall clock. It may jump.
        monotonic: Seconds; it never jumps.
    """

    owner: str
    command_of: CommandOf
    environment: Mapping[str, str]
    now_us: Callable[[], int]
    monotonic: Callable[[], float]
    chance: random.Random
    lease_s: float = LEASE_S
    room: int = ROOM


@dataclass(slots=True)
class _Running:
    attempt: Attempt
    renewed_s: float
    lost: bool = False  # its lease is not ours any more


@dataclass(slots=True)
class Scheduler:
    """Leases due runs, runs them as child processes, and records how they ended."""

    ledger: Ledger
    around: Surroundings
    jobs: Folded[Jobs] = field(init=False)
    running: dict[tuple[bytes, int], _Running] = field(default_factory=dict)
    _unusable: dict[str, str] = field(default_factory=dict)  # name of a job -> why this scheduler cannot run it
    _heard: dict[bytes, tuple[int, float]] = field(default_factory=dict)  # run -> (mark of its newest record, when it was read)

    def __post_init__(self) -> None:
        self.jobs = job_log(self.ledger)

    def run(self, stop: Stop) -> None:
        """Work until told to stop, then end what runs. Waits while the ledger does not answer."""
        with closing(self.ledger.wakeup(JOBS_LOG)) as wakeup:
            pace = Pace(wakeup)
            log.info("the scheduler %s looks for jobs that are due", self.around.owner)
            while not stop.is_set():
                try:
                    if self.turn():
                        pace.restart()
                except StoreUnavailable as error:
                    log.warning("the scheduler waits: %s", error)
                    self._without_ledger()
                if self.running:
                    stop.wait(LOOK_S)
                else:
                    pace.wait(stop)
        self.close()

    def turn(self) -> bool:
        """One turn: look at the children, extend leases, lease and start what is due. Returns whether something changed."""
        changed = self._look()
        appended = self.jobs.append(lambda jobs: next_steps(self._usable(jobs), self._moment(jobs)))
        for record in appended:
            if isinstance(record, JobLeased):
                self._start(record)
        return changed or bool(appended)

    def run_now(self, name: str, interval: str, check: Callable[[Jobs], None]) -> bytes:
        """Lease and start a run of a job by command, or the next attempt of one that has not ended; returns its id.

        Args:
            interval: Of a new run.
            check: Raises if the jobs, as the log has them when the lease is appended, do not allow it.
        """

        def decide(jobs: Jobs) -> Sequence[Record]:
            check(jobs)
            return leases_by_command(jobs, name, interval, self._moment(jobs))

        leased = self.jobs.append(decide)[-1]
        assert isinstance(leased, JobLeased)
        self._start(leased)
        return leased.run

    def wait(self, stop: Stop) -> None:
        """Wait until all attempts have ended, or until told to stop."""
        while self.running and not stop.is_set():
            try:
                self._look()
            except StoreUnavailable as error:
                log.warning("the scheduler waits: %s", error)
                self._without_ledger()
            if self.running:
                stop.wait(LOOK_S)

    def close(self) -> None:
        """End all attempts, and say so in the log: another scheduler takes them at once, but not a run by command."""
        with suppress(StoreUnavailable):
            self._look()
        for running in self.running.values():
            running.attempt.stop(STOPPED)
        for (run, token), running in list(self.running.items()):
            running.attempt.finish()
            del self.running[run, token]
            try:
                found = self.jobs.latest().run_of(run)
                last = found is not None and found.interval.startswith(BY_COMMAND)
                now_us = self.around.now_us()
                self._say(JobAbandoned(run=run, token=token, at_us=now_us, by=self.around.owner, last=last, why=STOPPED))
            except StoreUnavailable as error:
                log.warning("an attempt that was stopped is not recorded: %s", error)

    def _usable(self, jobs: Jobs) -> Jobs:
        """The jobs of which this scheduler can say when they are due; it warns of each other one once, and runs the rest."""
        unusable = {name: why for name, job in jobs.jobs.items() if (why := why_unusable(job.definition))}
        for name, why in unusable.items():
            if self._unusable.get(name) != why:
                log.error("job %s: not run by this scheduler: %s", name, why)
        self._unusable = unusable
        return jobs if not unusable else replace(jobs, jobs={name: job for name, job in jobs.jobs.items() if name not in unusable})

    def _moment(self, jobs: Jobs) -> Moment:
        now_s = self.around.monotonic()
        silent: dict[bytes, float] = {}
        for job in jobs.jobs.values():
            if (run := job.active) is not None:
                mark, heard_s = self._heard.get(run.run, (-1, 0.0))
                if mark != run.mark:
                    heard_s = now_s
                self._heard[run.run] = run.mark, heard_s
                silent[run.run] = now_s - heard_s
        self._heard = {run: heard for run, heard in self._heard.items() if run in silent}
        watched = {job.definition.region for job in jobs.jobs.values() if job.definition.every_slots}
        return Moment(
            owner=self.around.owner,
            now_us=self.around.now_us(),
            newest={region: newest_slot(self.ledger, region) for region in watched},
            silent_s=silent,
            lease_s=self.around.lease_s,
            room=self.around.room - len(self.running),
        )

    def _start(self, leased: JobLeased) -> None:
        run = self.jobs.latest().run_of(leased.run)
        if run is None or run.token != leased.token:
            return  # replaced at once
        try:
            command = list(self.around.command_of(run.job))
            attempt = Attempt(command, self.around.environment, leased.run, leased.token, run.job.timeout_s, self.around.monotonic)
        except StoreUnavailable as error:  # it passes; the job is not to blame
            self._fail(run, Outcome(str(error), "", 0))
            return
        except RidecastError as error:
            self._fail(run, Outcome(str(error), "", 0), last=True)
            return
        except OSError as error:
            self._fail(run, Outcome(f"the system did not start it: {error.strerror}", "", 0))
            return
        self.running[leased.run, leased.token] = _Running(attempt, self.around.monotonic())
        self._say(JobStarted(run=leased.run, token=leased.token, at_us=self.around.now_us(), command=tuple(command)))
        log.info("job %s: run of %s started, attempt %d", leased.name, leased.interval, leased.attempt)

    def _look(self) -> bool:
        """Look at every child: record what has ended, stop what is not ours any more, extend the other leases."""
        jobs = self.jobs.latest() if self.running else Jobs()
        changed = False
        for key, running in list(self.running.items()):
            if not running.lost and not jobs.holds(*key):
                running.lost = True
                running.attempt.stop("another attempt took its place")
            outcome = running.attempt.poll()
            if outcome is not None:
                self._finish(key, outcome)
                del self.running[key]
                changed = True
            elif not running.lost and self.around.monotonic() - running.renewed_s >= self.around.lease_s / 3:
                self._renew(key, running)
        return changed

    def _finish(self, key: tuple[bytes, int], outcome: Outcome) -> None:
        run = self.jobs.latest().run_of(key[0])
        if run is None or run.token != key[1]:
            return  # another attempt took its place: nothing may be said in its name
        if outcome.error:
            self._fail(run, outcome)
            return
        at_us = self.around.now_us()
        self._say(JobSucceeded(run=key[0], token=key[1], at_us=at_us, duration_ms=outcome.duration_ms, tail=outcome.tail))

    def _fail(self, run: Run, outcome: Outcome, *, last: bool = False) -> None:
        last = last or run.interval.startswith(BY_COMMAND)  # a person sees that it failed, and decides
        again_s = -1 if last else retry_after_s(run.job, run.failures + 1, self.around.chance.random())
        log.warning("job %s: run of %s failed: %s", run.job.name, run.interval, outcome.error)
        self._say(
            JobFailed(
                run=run.run,
                token=run.token,
                attempt=run.attempt,
                at_us=self.around.now_us(),
                duration_ms=outcome.duration_ms,
                error=" ".join(outcome.error.split())[:1_000],
                tail=outcome.tail,
                retry_after_s=again_s,
            )
        )

    def _renew(self, key: tuple[bytes, int], running: _Running) -> None:
        begun_s = self.around.monotonic()

        def decide(jobs: Jobs) -> Sequence[Record]:
            run = jobs.run_of(key[0])
            if run is None or not jobs.holds(*key):
                return []
            now_us = self.around.now_us()
            return [
                JobLeased(
                    run=run.run,
                    name=run.job.name,
                    interval=run.interval,
                    owner=run.owner,
                    token=run.token,
                    attempt=run.attempt,
                    at_us=now_us,
                    until_us=now_us + round(self.around.lease_s * SECOND_US),
                )
            ]

        if self.jobs.append(decide):
            running.renewed_s = begun_s

    def _say(self, record: JobStarted | JobSucceeded | JobFailed | JobAbandoned) -> bool:
        """Append what the holder of a run says; an older token is refused. Returns whether it was appended."""

        def decide(jobs: Jobs) -> Sequence[Record]:
            return [record] if jobs.holds(record.run, record.token) else []

        return bool(self.jobs.append(decide))

    def _without_ledger(self) -> None:
        """The ledger does not answer: an attempt whose lease cannot be extended is stopped before others may take it."""
        for running in self.running.values():
            if not running.lost and self.around.monotonic() - running.renewed_s >= self.around.lease_s * 2 / 3:
                running.attempt.stop("its lease could not be extended: the ledger did not answer")
