"""Three schedulers on one ledger, killed and with clocks that jump: each run happens exactly once, and none is missed."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dataflows.jobs.defining import past_runs
from dataflows.jobs.job_log import job_log
from ledger.store.log import Ledger
from schemas.records.records import JOBS_LOG, JobAbandoned, JobLeased, JobScheduled, JobSucceeded
from schemas.times import EPOCH, MICROSECOND, iso
from state.decide.schedule import run_id
from tests.ledger.places import Place
from tests.tree import ROOT

FIRST = datetime(2014, 3, 29, 12, tzinfo=UTC)  # Berlin's clocks go forward on 30 March, Sydney's go back on 6 April
LAST = datetime(2014, 4, 7, 12, tzinfo=UTC)
STOPS = LAST + timedelta(days=1)  # the clock: a contender that is a day behind still comes to LAST, and then nothing more is due
SPEED = 110_000  # 9 days in 7 seconds
SUCCESSES = 3  # between two faults, at least: on a slow machine faults would else come faster than runs can end
CONTENDERS = ("a", "b", "c")
JOBS = (  # name, cron, timezone, and the same as (minutes, hours), all local
    ("berlin", "0 */3 * * *", "Europe/Berlin"),
    ("night", "30 2 * * *", "Europe/Berlin"),
    ("sydney", "30 2 * * *", "Australia/Sydney"),
    ("utc", "0 */4 * * *", "UTC"),
    ("elapsed", "*/30 0-1 * * *", "Australia/Sydney"),
    ("hours", "15 */5 * * *", "UTC"),
)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty ledger's place."""
    found = Place(tmp_path / "home", request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
    yield found
    found.close()


def plain_due(cron: str, timezone: str) -> set[str]:
    """Due times between FIRST and LAST, by looking at every minute; the skipped hour runs right after it, the doubled one once."""
    minutes, hours = cron.split()[:2]
    fixed = not minutes.startswith("*") and not hours.startswith("*")
    found, seen = set(), set()
    at, before = FIRST, FIRST.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
    while at < LAST:
        at += timedelta(minutes=1)
        local = at.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
        meant = [local]
        if fixed and local - before > timedelta(minutes=1):  # what the change has skipped
            meant += [before + timedelta(minutes=step) for step in range(1, (local - before) // timedelta(minutes=1))]
        if any(fits(minutes, one.minute) and fits(hours, one.hour) and (not fixed or one not in seen) for one in meant):
            found.add(iso((at - EPOCH) // MICROSECOND))
        seen |= set(meant)
        before = local
    return found


def fits(text: str, value: int) -> bool:
    """Whether a field of a cron, of the few forms that are used here, has a value."""
    first, _, step = text.partition("/")
    if first == "*":
        return value % int(step or 1) == 0
    low, _, high = first.partition("-")
    return int(low) <= value <= int(high or low)


def start(folder: Path, place: Place, who: str, seed: int) -> subprocess.Popen[bytes]:
    """Start one contender."""
    words = [sys.executable, "-m", "tests.dataflows.jobs.contender", str(folder), place.url, who, str(seed)]
    return subprocess.Popen(words, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL)


def define(ledger: Ledger) -> None:
    """Record the jobs as of FIRST."""
    found = []
    for name, cron, timezone in JOBS:
        job = JobScheduled(
            name=name,
            job="verify",
            arguments=(),
            region="",
            cron=cron,
            every_slots=0,
            timezone=timezone,
            overlap="queue",
            catch_up="all",
            timeout_s=60,
            retries=2,
            backoff_s=1,
            from_us=(FIRST - EPOCH) // MICROSECOND,
            from_slot=-1,
            author="test",
            reason="test",
        )
        found.append(job)
    job_log(ledger).append(lambda jobs: found)


def contend(folder: Path, place: Place, wanted: set[bytes], chance: random.Random, within_s: float) -> Counter[str]:
    """Run the contenders, kill them and let their clocks jump, until all wanted runs have succeeded."""
    did: Counter[str] = Counter()
    ledger = place.open(instance="test")
    (folder / "effects").mkdir()
    first_us, last_us = ((at - EPOCH) // MICROSECOND for at in (FIRST, STOPS))
    (folder / "clock").write_text(f"{time.monotonic_ns() + 1_500_000_000} {first_us} {SPEED} {last_us}", "utf-8")
    seeds = iter(range(1, 10_000))
    alive = {who: start(folder, place, who, next(seeds)) for who in CONTENDERS}
    end_s, next_s = time.monotonic() + within_s, time.monotonic() + 2.0
    succeeded, read, enough = set[bytes](), 0, SUCCESSES
    try:
        while time.monotonic() < end_s:
            time.sleep(0.1)
            for stored in ledger.scan(JOBS_LOG, read, kind=JobSucceeded):
                succeeded.add(stored.record.run)
                read = stored.index + 1
            if wanted <= succeeded:
                break
            assert [] == [who for who, process in alive.items() if process.poll() is not None]  # they end only by kill
            if time.monotonic() < next_s or len(succeeded) < enough or sum(did.values()) >= 20:
                continue
            next_s, enough = time.monotonic() + 0.5, len(succeeded) + SUCCESSES
            who = chance.choice(CONTENDERS)
            if chance.random() < 0.4:
                did["kill -9"] += 1
                alive[who].send_signal(signal.SIGKILL)
                alive[who].wait()
                alive[who] = start(folder, place, who, next(seeds))
            else:
                did["jump"] += 1
                (folder / f"jump-{who}").write_text(str(chance.choice((-1, 0, 1))), "utf-8")
    finally:
        for process in alive.values():
            process.kill()
            process.wait()
    return did


@pytest.mark.alone
def test_each_run_happens_exactly_once(place: Place, tmp_path: Path) -> None:
    """With kill -9 and clocks that jump by a day, over both changes of clocks, every due run succeeds once and takes effect once."""
    due = {(name, interval) for name, cron, timezone in JOBS for interval in plain_due(cron, timezone)}
    wanted = {run_id(name, interval) for name, interval in due}
    assert len(wanted) >= 200
    define(place.open(instance="test"))
    seed = 20_140_330
    did = contend(tmp_path, place, wanted, random.Random(seed), within_s=100)
    ledger = place.open(instance="test")
    succeeded = Counter(record.run for record in ledger.records(JOBS_LOG, JobSucceeded))
    leased = {record.token: record for record in ledger.records(JOBS_LOG, JobLeased)}
    attempts = [line.split() for line in (tmp_path / "attempts").read_text("utf-8").splitlines()]
    losses = sum(1 for _ in ledger.records(JOBS_LOG, JobAbandoned))
    print(f"seed {seed}: {len(wanted)} due runs, {dict(did)}, {losses} leases ended, {len(leased)} leases, {len(attempts)} attempts")
    assert {} == {run.interval: (run.state, run.error) for run in past_runs(ledger) if bytes.fromhex(run.run) in wanted - succeeded.keys()}
    assert wanted - succeeded.keys() == set()
    assert {1} == set(succeeded.values())
    assert {run.run for run in past_runs(ledger) if run.state == "skipped"} == set()
    inside = {(record.name, record.interval) for record in leased.values() if record.interval <= iso((LAST - EPOCH) // MICROSECOND)}
    assert due == inside  # nothing else ran, but what clocks a day ahead made due after LAST
    effects = {bytes.fromhex(path.name): int(os.readlink(path)) for path in (tmp_path / "effects").iterdir()}
    assert succeeded.keys() <= effects.keys()
    assert [run for run, token in effects.items() if leased[token].run != run] == []
    assert did["kill -9"] >= 3
    assert did["jump"] >= 3
