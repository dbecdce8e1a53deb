"""`ridecast jobs`: defines, lists, runs, pauses, and says what became of each run."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from tests.ridecast.calls import environment
from tests.ridecast.conftest import Call, Small


@pytest.fixture
def home(copy: Small, monkeypatch: pytest.MonkeyPatch) -> Small:
    """A copy of the small home, beside which commands run."""
    monkeypatch.chdir(copy.folder)
    return copy


def test_a_job_is_defined_run_and_shown(home: Small, call: Call) -> None:
    """A home without jobs says so; a job that is defined is listed with its next due times, and a run of it with its result."""
    assert "no jobs are defined; `ridecast jobs add` defines one\n" == call("jobs", "list", "--home", "home").out
    assert "jobs:" not in call("status", "--home", "home").out
    added = call("jobs", "add", "nightly", "verify", "--cron", "30 3 * * *", "--home", "home")
    assert (0, "") == (added.status, added.err)
    assert added.out.startswith("nightly: cron 30 3 * * *, Asia/Tehran; next: ")
    assert added.out.endswith(f" 03:30 +0330 ({added.out.rpartition('(')[2].split()[0]} 00:00 UTC)\n")
    [row] = json.loads(call("jobs", "list", "--home", "home", "--json").out)
    assert ("nightly", "verify", "tehran", "") == (row["name"], row["job"], row["region"], row["last_run"])
    done = call("jobs", "run", "nightly", "--home", "home")
    assert (0, "") == (done.status, done.err)
    assert done.out.endswith(": clean\nnightly: succeeded\n")
    [past] = json.loads(call("jobs", "history", "nightly", "--home", "home", "--json").out)
    assert ("succeeded", 1, "by command") == (past["state"], past["attempts"], past["interval"][:10])
    assert "region/tehran" in past["tail"]
    assert "succeeded" in call("jobs", "history", "--home", "home").out
    assert "succeeded" in call("jobs", "list", "--home", "home").out
    assert "jobs: 1 defined; next: nightly at " in call("status", "--home", "home").out
    assert 0 == call("ledger", "verify", "--home", "home").status


def test_a_job_that_fails_says_why(home: Small, call: Call) -> None:
    """The exit code is 1, the error of the command is shown, and `status` names the job."""
    words = ("cosigning", "cosign", "--every", "12", "--retries", "0", "--home", "home", "--", "--witness", "http://127.0.0.1:9", "w+1+A")
    assert "every 12 slots of tehran; next: with event time" in call("jobs", "add", *words).out
    failed = call("jobs", "run", "cosigning", "--home", "home")
    assert 1 == failed.status
    assert "cosigning: failed: exit code " in failed.err
    assert "failed last: cosigning" in call("status", "--home", "home").out


def test_a_paused_job_is_listed_as_paused(home: Small, call: Call) -> None:
    """Pausing and resuming twice say that there is nothing to do; the reason is listed."""
    call("jobs", "add", "nightly", "verify", "--cron", "30 3 * * *", "--home", "home")
    assert "nightly: paused\n" == call("jobs", "pause", "nightly", "--home", "home", "--reason", "new disk").out
    assert "nightly: paused already; nothing to do\n" == call("jobs", "pause", "nightly", "--home", "home").out
    assert "paused: new disk" in call("jobs", "list", "--home", "home").out
    assert "1 paused" in call("status", "--home", "home").out
    assert "nightly: resumed\n" == call("jobs", "resume", "nightly", "--home", "home").out
    assert "nightly: not paused; nothing to do\n" == call("jobs", "resume", "nightly", "--home", "home").out


def test_what_cannot_be_used_is_one_line(home: Small, call: Call) -> None:
    """A wrong definition and an unknown name are refused with one line, and record nothing."""
    daily = ("--cron", "0 4 * * *")
    for words, status, said in (
        (("add", "x", "verify", "--cron", "0 0 30 2 *"), 2, "cron '0 0 30 2 *': expected times that exist"),
        (
            ("add", "x", "sweep", *daily),
            2,
            "job: expected one of retrain, expire, archive, verify, cosign, fairness, reconcile, report, got 'sweep'",
        ),
        (("add", "x", "verify", *daily, "--timezone", "Mars/Olympus"), 2, "timezone: expected a name"),
        (("add", "x", "retrain", *daily, "--region", "paris"), 1, "region paris: not bootstrapped in this home"),
        (("add", "x", "verify", *daily, "--timeout", "0"), 2, "timeout: expected 1 to 604800 seconds, got 0"),
        (("add", "x", "archive", *daily), 2, "job archive: expected the arguments --to, --until"),
        (("pause", "x"), 1, "job 'x': expected a job of this home (none)"),
        (("run", "x"), 1, "job 'x': expected a job of this home (none)"),
        (("history", "x"), 1, "job 'x': expected a job of this home (none)"),
    ):
        done = call("jobs", *words, "--home", "home")
        assert (words, status, 1) == (words, done.status, done.err.count("\n")), done.err
        assert said in done.err
    refused = call("jobs", "add", "x", "verify", *daily, "--home", "home", "--", "--home=other")
    assert (2, True) == (refused.status, "no --home among its arguments" in refused.err)
    assert "[]\n" == call("jobs", "list", "--home", "home", "--json").out


def test_a_scheduler_works_until_it_is_stopped(home: Small, call: Call) -> None:
    """With jobs of which none is due it waits, and ends with 0 at SIGTERM."""
    call("jobs", "add", "tidy", "expire", "--every", "12", "--catch-up", "once", "--home", "home", "--", "--dry-run")
    call("jobs", "add", "dated", "archive", "--cron", "0 5 1 * *", "--home", "home", "--", "--to", "kept", "--until", "{30 days ago}")
    command = [sys.executable, "-m", "ridecast", "jobs", "scheduler", "--home", "home"]
    with subprocess.Popen(command, cwd=home.folder, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "looks for jobs that are due" in process.stderr.readline()
        time.sleep(0.5)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGTERM)
        assert 0 == process.wait(15)
    assert {"tidy", "dated"} == {row["name"] for row in json.loads(call("jobs", "list", "--home", "home", "--json").out)}


def test_a_date_in_an_argument_is_that_of_the_run(home: Small) -> None:
    """`{30 days ago}` is the local date thirty days before an attempt begins."""
    from dataclasses import replace

    from dataflows.jobs.defining import words_now
    from dataflows.stream.stores import open_stores
    from ridecast import options
    from schemas.errors import NotFound
    from tests.state.decide.test_schedule import JOB

    stores = open_stores(options.settings_of_home(home="home"), reading=True)
    try:
        job = replace(JOB, job="archive", region="tehran", timezone="Asia/Tehran", arguments=("--to", "kept", "--until", "{30 days ago}"))
        late = round(datetime(2026, 3, 31, 21, tzinfo=UTC).timestamp() * 1e6)  # 00:30 on 1 April in Tehran
        words = ["ledger", "archive", "--region", "tehran", "--to", "kept", "--until", "2026-03-02"]
        assert words == words_now(stores.ledger, job, late)
        with pytest.raises(NotFound, match="region nyc: expected a region of this home"):
            words_now(stores.ledger, replace(job, region="nyc"), late)
    finally:
        stores.close()


def test_brackets_in_reasons_and_errors_are_shown_as_they_are(home: Small, call: Call) -> None:
    """What a person or a command wrote is no markup: the tables show it, also where it would be broken markup."""
    words = ("--every", "12", "--retries", "0", "--home", "home", "--", "--no[/such]")
    assert 0 == call("jobs", "add", "nightly", "verify", *words).status
    assert 1 == call("jobs", "run", "nightly", "--home", "home").status
    assert "[/such]" in "".join(call("jobs", "history", "--home", "home").out.split())
    assert 0 == call("jobs", "pause", "nightly", "--home", "home", "--reason", "[/new] disk").status
    assert "[/new]" in call("jobs", "list", "--home", "home").out
    assert "'--every': 0 is not in the range" in call("jobs", "add", "other", "verify", "--every", "0", "--home", "home").err
