"""`ridecast run`: what it says while it runs and when it ends, and that one signal ends all of it."""

import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from dataflows.jobs.defining import define_job
from dataflows.stream.stores import open_stores
from ledger.views.follow import Place as LogPlace
from ledger.views.progress import ProgressWatch
from ridecast.commands.run import changed_definitions, environment_of
from ridecast.options import unknown_settings
from ridecast.progress_line import ProgressLine
from schemas.configuration.settings import Settings
from schemas.regions import load_region
from tests.ledger.places import Place
from tests.ridecast.calls import environment
from tests.ridecast.conftest import REGION, Small
from tests.services.process import free_port
from tests.state.decide.test_job_steps import HOURLY


def test_a_bounded_run_sums_up(small: Small) -> None:
    """The last line counts slots, events and rides and names the error against the baseline; answers and errors are empty."""
    done = small.made["run"]
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\dT[\d:.]{{12}}Z INFO run: {REGION}: 288 slots closed, "
        r"[\d,]+ events \(\d+ rides counted, 0 of them corrections, 0 rejected\) in [\d.]+ s; "
        r"RMSE \d\.\d{3} \(baseline \d\.\d{3}\)",
        done.err.splitlines()[-1],
    )
    assert ("", []) == (done.out, done.lines)


def test_a_bounded_run_publishes_its_newest_forecast(small: Small) -> None:
    """What the run recorded last lies in the forecast files when it has ended."""
    assert [] != list((small.home / "forecasts").rglob("*.avro"))


@pytest.mark.alone
def test_a_live_run_answers_and_stops_cleanly(copy: Small) -> None:
    """All roles run under one command, which runs what is due and watches; SIGTERM ends it with 0, without a word of trouble."""
    port = free_port()
    words = ["run", "--rides", "rides", "--region", REGION, "--home", "home", "--port", str(port), "--watch", "--jobs"]
    stores = open_stores(Settings.from_env({"RIDECAST_HOME": str(copy.home)}))
    define_job(stores.ledger, replace(HOURLY, job="expire", region="", from_us=time.time_ns() // 1000 - 7_200_000_000), "UTC")
    stores.close()
    with subprocess.Popen(
        [sys.executable, "-m", "ridecast", *words],
        cwd=copy.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            give_up_at = time.monotonic() + 120
            while not answers(f"http://127.0.0.1:{port}/v1/health"):
                assert process.poll() is None
                assert time.monotonic() < give_up_at
                time.sleep(0.1)
            while [job["run"]["state"] for job in httpx.get(f"http://127.0.0.1:{port}/v1/jobs").json()["jobs"] if job["run"]] != [
                "succeeded"
            ]:
                assert time.monotonic() < give_up_at
                time.sleep(0.1)
            while not (copy.home / "alerts" / "watch.lock").exists():
                assert time.monotonic() < give_up_at
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=40)
        finally:
            process.kill()
    assert (0, "", True) == (process.returncode, out, f"API and page at http://127.0.0.1:{port}" in err)
    assert [] == [line for line in err.splitlines() if re.search("ridecast: |Traceback|panicked|ERROR|WARNING", line)]
    assert not answers(f"http://127.0.0.1:{port}/v1/health")


def answers(url: str) -> bool:
    """Whether somebody answers there."""
    try:
        return httpx.get(url).status_code < 600
    except httpx.TransportError:
        return False


def test_what_is_probably_not_meant_is_said() -> None:
    """A variable that sets nothing, and a region whose definition has changed, are said; a run goes on with what is recorded."""
    region = load_region("nyc")
    settings = Settings.from_env({"RIDECAST_HOEM": "x"})
    [said] = unknown_settings(settings)
    assert "RIDECAST_HOEM is not a Ridecast setting (typo?); did you mean RIDECAST_HOME? `ridecast settings` lists all" == said
    changed = replace(region, issue_lateness_s=region.issue_lateness_s + 1)
    assert [] == changed_definitions([region], {"nyc": region})
    [said] = changed_definitions([changed], {"nyc": region})
    assert said == "region nyc: its definition has changed since it was bootstrapped; the recorded one still applies"


def test_children_get_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings reach children through the environment, those of the command line before those that were there."""
    monkeypatch.setenv("RIDECAST_HOME", "old")
    monkeypatch.setenv("RIDECAST_KAFKA", "old:1")
    monkeypatch.setenv("ELSE", "kept")
    monkeypatch.delenv("RIDECAST_TRACEBACK", raising=False)
    settings = Settings.from_env({"RIDECAST_API_PORT": "9"}, {"home": "new"})
    found = environment_of(settings)
    assert settings == replace(Settings.from_env(found), sources=settings.sources)
    assert ("new", False, "kept", "1", "0") == (
        found["RIDECAST_HOME"], "RIDECAST_KAFKA" in found, found["ELSE"], found["OMP_NUM_THREADS"], found["RUST_BACKTRACE"],
    )  # fmt: skip


def test_a_secret_in_a_file_stays_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children get the name of the file, not the secret, and read it again; so a changed password needs no new environment."""
    (tmp_path / "secret").write_text("redis://:one-password@h:1\n")
    monkeypatch.setenv("RIDECAST_REDIS_FILE", str(tmp_path / "secret"))
    monkeypatch.delenv("RIDECAST_REDIS", raising=False)
    found = environment_of(Settings.from_env({"RIDECAST_REDIS_FILE": str(tmp_path / "secret")}))
    assert (str(tmp_path / "secret"), False) == (found["RIDECAST_REDIS_FILE"], "RIDECAST_REDIS" in found)
    assert not any("one-password" in value for value in found.values())
    (tmp_path / "secret").write_text("redis://:another-password@h:1\n")
    assert "redis://:another-password@h:1" == Settings.from_env(found).redis


def test_the_progress_line_reads_the_ledger(small: Small) -> None:
    """Before the first slot it waits; then it names slot, share, cells and the live error in the region's own time."""
    place = Place(small.home)
    watch = ProgressWatch(place.open(), [REGION])
    assert ProgressLine([load_region(REGION)], watch, {}).text() == f"{REGION}: waiting for the first slot to close"
    watch._followers[0].move(LogPlace(1, 0))  # as if all slots had closed since then
    offsets = watch.look()[0].offsets
    line = ProgressLine([load_region(REGION)], watch, {REGION: {p: (0, end) for p, end in offsets.items()}})
    assert re.fullmatch(rf"{REGION}  Tue 2025-04-08 00:00  100%  0 events/s  \d+ cells  RMSE \d\.\d+ \(baseline \d\.\d+\)", line.text())
    assert line.summary().startswith(f"{REGION}: 288 slots closed, ")
    place.close()


def test_the_progress_line_of_several_regions(small: Small) -> None:
    """Each region has its place in one line, also one that is added while it runs; each has its own summary."""
    place = Place(small.home)
    watch = ProgressWatch(place.open(), [REGION])
    watch._followers[0].move(LogPlace(1, 0))
    line = ProgressLine([load_region(REGION)], watch, None)
    line.add(load_region("nyc"))
    assert f"0 events/s  |  {REGION}  Tue 00:00  replaying  RMSE " in line.text()
    assert line.text().endswith("  |  nyc  waiting")
    assert [REGION, "nyc"] == [said.split(": ")[0] for said in line.summary().splitlines()]
    place.close()
