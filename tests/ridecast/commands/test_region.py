"""`ridecast region`: what it adds, what it lists, and what it says; `tests/simulation/test_added_region.py` adds to live runs."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from ridecast.commands import region
from ridecast.home_lock import LOCK_FILE, lock_home
from tests.ridecast.conftest import REGION, UNTIL, Call, Small

ADD = ("region", "add", "nyc", "--no-history", "--until", "2014-05-01")


def test_a_region_is_added_and_listed(copy: Small, call: Call) -> None:
    """A region is bootstrapped beside another one, marked as added, and listed with it; the same again is said."""
    home = ("--home", copy.home)
    first, again, listed = call(*ADD, *home), call(*ADD, *home), call("region", "list", *home)
    said = "live counting starts there."
    rest = "no run of this home is live here; the next `ridecast run` includes it"
    assert [f"nyc bootstrapped: 0 rides in 0.0 days before 2014-05-01; {said}", "nyc added", rest] == first.out.splitlines()
    assert ["nyc was bootstrapped already", "nyc was added already", rest] == [line.split(":")[0] for line in again.out.splitlines()]
    assert "America/New_York" in (copy.home / "regions/nyc.json").read_text("utf-8")
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in listed.out.splitlines() if "│" in line]
    assert ["nyc", "America/New_York", "", "pickups", "2014-05-01", "", "yes"] == lines[0]
    assert [REGION, "Asia/Tehran", "", "requests", UNTIL, "2025-04-08 00:00 +0330", ""] == lines[1]


def test_other_content_is_refused(copy: Small, call: Call) -> None:
    """Another history for a region that the home has is refused, and the region is not added."""
    done = call("region", "add", REGION, "--history", copy.rides, "--until", "2025-04-06", "--home", copy.home)
    assert (2, True) == (done.status, done.lines[0].startswith(f"ridecast: region {REGION}: already bootstrapped until {UNTIL} with"))
    assert not (copy.home / "regions").exists()


def test_a_home_that_is_missing_is_not_created(tmp_path: Path, call: Call) -> None:
    """A mistyped home is named and not created."""
    done = call(*ADD, "--home", tmp_path / "hmoe")
    assert (2, True, []) == (done.status, "hmoe', which does not exist" in done.lines[0], list(tmp_path.iterdir()))


def test_a_run_that_does_not_take_it_up_is_said(copy: Small, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a run holds the home the command waits for it to take the region up, and says so if it does not."""
    monkeypatch.setattr(region, "TAKEN_UP_WITHIN_S", 0.5)
    with lock_home(copy.home, "ridecast run"):
        done = call(*ADD, "--home", copy.home)
    assert (0, ["nyc added"]) == (done.status, done.out.splitlines()[1:])
    assert f"the live run (pid {os.getpid()}) has not taken it up; its output says why, or its next start includes it\n" == done.err


@pytest.mark.timeout(50)
def test_a_run_that_ends_meanwhile_is_not_waited_for(copy: Small, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait ends with the run."""
    with ExitStack() as run:
        run.enter_context(lock_home(copy.home, "ridecast run"))
        monkeypatch.setattr("time.sleep", lambda seconds: run.close())
        done = call(*ADD, "--home", copy.home)
    assert (0, True) == (done.status, "has not taken it up" in done.err)


def test_a_process_that_has_the_number_of_an_ended_run_is_none(copy: Small, call: Call) -> None:
    """Only who holds the lock is a live run: the file keeps the process id of the last one, which may be used again."""
    (copy.home / LOCK_FILE).write_text(f"{os.getpid()} ridecast run")
    done = call(*ADD, "--home", copy.home)
    assert (0, "") == (done.status, done.err)
    assert "no run of this home is live here; the next `ridecast run` includes it" == done.out.splitlines()[-1]
