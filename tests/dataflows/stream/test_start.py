"""From settings to open stores: what is opened where, what is recorded of a run, and what is closed again."""

import contextlib
import dataclasses
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataflows.connectors.rejects_at import open_rejects
from dataflows.connectors.sinks import FileRejects, KafkaRejects
from dataflows.connectors.sources import FileRides, open_rides
from dataflows.jobs.learn import train_region
from dataflows.stream.environment import describe_environment, environment_digest
from dataflows.stream.resume import plan_resume
from dataflows.stream.start import limits_of, open_pumps, record_start, record_stops, rules_of, run_embedded, start_region
from dataflows.stream.stopping import StopEvent
from dataflows.stream.stores import Stores, open_stores
from ledger.store.blobs import DatabaseBlobs, FileBlobs, Retention
from ledger.store.log import R
from ledger.views.regions import last_run
from schemas.configuration.settings import Settings
from schemas.errors import BootRefused, NotFound, StoreUnavailable
from schemas.records.records import RUNS_LOG, RunStarted, RunStopped
from schemas.regions import load_region
from tests.differences import assert_same_payloads
from tests.faults.small_ledger import make_small_ledger
from tests.simulation.fixtures import Settled
from tests.simulation.runs import LOG, copied, payloads
from tests.simulation.world import DEDUP_TOTAL_EVENTS, SKEW_S
from tests.tree import ROOT


def settings_of(home: Path, **changes: str) -> Settings:
    """Settings of a home."""
    return Settings.from_env({"RIDECAST_HOME": str(home)} | {f"RIDECAST_{name.upper()}": value for name, value in changes.items()})


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    """An empty embedded home."""
    opened = open_stores(settings_of(tmp_path / "deep" / "home"))
    yield opened
    opened.close()


def runs(stores: Stores, kind: type[R]) -> list[R]:
    """Records of a kind in the `runs` log."""
    return list(stores.ledger.records(RUNS_LOG, kind))


# --- opening ---------------------------------------------------------------------------------------------


def test_a_home_is_created_and_found_again(stores: Stores) -> None:
    """Folders are created as needed; the next process has what one stored, in files below that home."""
    digest = stores.blobs.put(b"kept", Retention.PERMANENT)
    stores.ledger.append("region/nyc", 0, [b"entry"])
    again = open_stores(stores.settings)
    assert b"kept" == again.blobs.get(digest)
    assert [b"entry"] == [stored.payload for stored in again.ledger.read("region/nyc", 0)]
    assert isinstance(again.blobs, FileBlobs)
    assert environment_digest() == again.environment
    again.close()


def test_a_home_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    """The error for a file in its place is one line that names it."""
    (tmp_path / "file").write_bytes(b"")
    for home in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(StoreUnavailable, match=rf"home {home}: expected a directory: "):
            open_stores(settings_of(home))


def test_a_database_has_ledger_and_blobs(tmp_path: Path, postgres_url: str) -> None:
    """With an address, entries and blobs are in PostgreSQL, and another home with that address sees them."""
    first = open_stores(settings_of(tmp_path / "home", database=postgres_url))
    digest = first.blobs.put(b"kept", Retention.PERMANENT)
    first.ledger.append("region/nyc", 0, [b"entry"])
    assert isinstance(first.blobs, DatabaseBlobs)
    assert not list((tmp_path / "home").glob("**/*.sqlite"))
    first.close()
    again = open_stores(settings_of(tmp_path / "home", database=postgres_url))
    assert (b"kept", 1) == (again.blobs.get(digest), again.ledger.head("region/nyc").size)
    again.close()


def test_blobs_are_closed_even_if_the_ledger_fails(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """If closing the ledger fails, the blobs are still closed, and the error is not lost."""
    closed: list[str] = []
    monkeypatch.setattr(stores.blobs, "close", lambda: closed.append("blobs"))
    with monkeypatch.context() as patch:
        patch.setattr(stores.ledger, "close", lambda: (_ for _ in ()).throw(StoreUnavailable("disk full")))
        with pytest.raises(StoreUnavailable, match="disk full"):
            stores.close()
    assert ["blobs"] == closed


def test_rejects_go_where_outputs_go(tmp_path: Path) -> None:
    """Without Kafka they go to a file in home, with Kafka to a topic."""
    embedded = open_rejects(settings_of(tmp_path))
    assert isinstance(embedded, FileRejects)
    embedded.close()
    assert (tmp_path / "rejects.sqlite").is_file()
    with_kafka = open_rejects(settings_of(tmp_path, kafka="127.0.0.1:1"))
    assert isinstance(with_kafka, KafkaRejects)
    with_kafka.close()


# --- rules and limits ------------------------------------------------------------------------------------


def test_rules_are_the_recorded_ones(settled: Settled) -> None:
    """Whatever the settings later, a region uses the rules of its bootstrap."""
    stores = settled.place.open(skew_s=9, dedup_horizon_events=5_000_000)
    rules = rules_of(plan_resume(stores.ledger, "small", (0, 1, 2)))
    stores.close()
    assert (SKEW_S, DEDUP_TOTAL_EVENTS // 3) == (rules.skew_s, rules.dedup_horizon_events)


def test_one_pump_serves_old_and_new_rules_of_evidence(settled: Settled) -> None:
    """Regions that cut by one event and by several are read together: the rules of evidence are each region's own."""
    stores, source = settled.place.open(), open_rides(settled.place.rides)
    rejects = FileRejects(settled.place.home.parent / "rejects_of_rules.sqlite")
    plan = plan_resume(stores.ledger, "small", source.partitions())
    assert (10, 16, 259_200) == tuple(getattr(plan.bootstrapped, name) for name in ("evidence_events", "evidence_window_events", "hold_s"))
    old = dataclasses.replace(
        plan, bootstrapped=dataclasses.replace(plan.bootstrapped, evidence_events=1, evidence_window_events=1, hold_s=0)
    )
    [pump] = open_pumps(stores, source, [plan, old], (0,), rejects, bounded=True)
    several, one = pump.step()
    assert several.largest_us[-1] <= one.largest_us[-1]
    assert (15, 0) == (len(several.recent_us), len(one.recent_us))
    pump.close()
    rejects.close()
    stores.close()
    source.close()


def test_limits_are_those_of_the_settings(tmp_path: Path) -> None:
    """Batch size, idle time and interval come from settings, in their units."""
    limits = limits_of(settings_of(tmp_path, batch_events="77", idle_after_s="1.5", progress_per_s="4"))
    assert (77, 1.5, 0.25) == (limits.batch_events, limits.idle_after_s, limits.progress_every_s)


def test_there_is_a_pump_for_each_partition(settled: Settled) -> None:
    """There are pumps of the requested partitions, which stop at the source's current end."""
    stores, source = settled.place.open(), open_rides(settled.place.rides)
    rejects = FileRejects(settled.place.home.parent / "rejects_of_pumps.sqlite")
    plan = plan_resume(stores.ledger, "small", source.partitions())
    pumps = open_pumps(stores, source, [plan], (2, 0), rejects, bounded=True)
    assert [2, 0] == [pump.partition for pump in pumps]
    for pump in pumps:
        while not pump.ended:
            pump.step()
        assert source.bounds(pump.partition)[1] == pump.received
        pump.close()
    rejects.close()
    stores.close()
    source.close()


# --- what is written about a run -------------------------------------------------------------------------


def test_a_run_is_recorded_from_start_to_stop(stores: Stores) -> None:
    """Host, time, environment and sources are in `runs`, and nowhere else; a stop records the size of every log."""
    assert last_run(stores.ledger, "nyc") is None
    before_us = time.time_ns() // 1000
    stores.ledger.append("region/nyc", 0, [b"an entry", b"another"])
    run = record_start(stores, "run nyc", "topic=rides.raw", 3)
    [started] = runs(stores, RunStarted)
    assert isinstance(started, RunStarted)
    assert before_us <= started.started_at_us <= time.time_ns() // 1000
    expected = (run, "run nyc", platform.node(), stores.environment, describe_environment(), "topic=rides.raw", 3)
    assert expected == (
        *(started.run, started.command, started.host, started.environment),
        *(started.packages, started.source, started.processes),
    )
    assert started == last_run(stores.ledger, "nyc")
    size = stores.ledger.head(RUNS_LOG).size
    stores.runs.append(run)
    record_stops(stores)
    record_stops(stores)
    [stopped] = runs(stores, RunStopped)
    assert isinstance(stopped, RunStopped)
    assert (run, {"region/nyc": 2, RUNS_LOG: size}) == (stopped.run, stopped.sizes)
    assert stopped.stopped_at_us >= started.started_at_us


def test_the_newest_environment_of_a_region_is_used(stores: Stores) -> None:
    """Each start records its environment; a run of another region does not change this region's."""
    first = record_start(stores, "run nyc", "", 1)
    moved = dataclasses.replace(stores, environment=b"another environment, 32 bytes...")
    assert first != record_start(moved, "run tehran", "", 1)
    nyc, tehran = last_run(stores.ledger, "nyc"), last_run(stores.ledger, "tehran")
    assert nyc is not None
    assert tehran is not None
    assert (stores.environment, moved.environment) == (nyc.environment, tehran.environment)
    record_start(moved, "run nyc", "", 1)
    newest = last_run(stores.ledger, "nyc")
    assert newest is not None
    assert moved.environment == newest.environment


def test_a_region_that_does_not_start_is_not_recorded(settled: Settled, tmp_path: Path) -> None:
    """Only a started run is recorded, so that a failure keeps the environment of the last writer."""
    stores, source = copied(settled.place, tmp_path / "home").open(), open_rides(settled.place.rides)
    with pytest.raises(NotFound, match="region nyc: not bootstrapped"):
        start_region(stores, "nyc", source)
    assert [] == runs(stores, RunStarted)
    run = start_region(stores, "small", source, 2)
    [started] = runs(stores, RunStarted)
    assert isinstance(started, RunStarted)
    assert ("run small", 2) == (started.command, started.processes)
    assert source.identity().to_json() == started.source
    assert stores.ledger.head(LOG).size == run.size
    source.close()
    stores.close()


def test_an_embedded_run_closes_everything(settled: Settled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the end or an error, every pump and the rejects are closed; the recorded log is a prefix of the full one."""
    closed: list[str] = []
    for name in ("dataflows.stream.start.PartitionPump", "dataflows.connectors.rejects_at.FileRejects"):
        original = getattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2]).close

        def close(self: object, original: object = original, name: str = name) -> None:
            closed.append(name.rpartition(".")[2])
            original(self)  # type: ignore[operator]

        monkeypatch.setattr(f"{name}.close", close)

    def burst(*_: object, **__: object) -> None:
        raise StoreUnavailable("connection refused")

    stores, source = copied(settled.place, tmp_path / "home").open(), open_rides(settled.place.rides)
    with monkeypatch.context() as patch:
        patch.setattr("dataflows.stream.start.start_region", burst)
        with pytest.raises(StoreUnavailable, match="connection refused"):
            run_embedded(stores, source, ["small"], bounded=True)
    assert ["FileRejects"] == closed
    closed.clear()
    for on_slot, ends in ((burst, pytest.raises(StoreUnavailable, match="connection refused")), (None, contextlib.nullcontext())):
        with ends:
            run_embedded(stores, source, ["small"], bounded=True, on_slot=on_slot)
        assert ["PartitionPump"] * 3 + ["FileRejects"] == closed
        found = payloads(stores.ledger)
        assert_same_payloads(settled.expected[: len(found)], found)
        closed.clear()
    assert_same_payloads(settled.expected, found)
    source.close()
    stores.close()


@pytest.mark.parametrize(("given", "threads"), [({}, "1"), ({"OMP_NUM_THREADS": "2"}, "2")])
def test_there_is_one_thread_unless_the_environment_sets_more(given: dict[str, str], threads: str) -> None:
    """A streaming process has one OpenMP thread; a value in the environment is kept."""
    kept = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | given
    code = "import os; from dataflows.stream.start import quiet_threads; quiet_threads(); print(os.environ['OMP_NUM_THREADS'])"
    done = subprocess.run([sys.executable, "-c", code], env=kept, cwd=ROOT, capture_output=True, text=True, check=True)
    assert threads == done.stdout.strip()


@pytest.mark.parametrize(
    "begin",
    [
        lambda stores, folder: start_region(stores, "nyc", FileRides(folder)),
        lambda stores, folder: train_region(stores, load_region("nyc"), promote=True),
    ],
    ids=["run", "train"],
)
def test_control_is_checked_against_its_checkpoint(tmp_path: Path, begin: Callable[[Stores, Path], object]) -> None:
    """With `control` missing or rolled back, neither a run nor a training starts: it would silently lose the champion."""
    small = make_small_ledger(tmp_path)
    for path in (small.home / "ledger").glob("control*"):
        path.unlink()
    stores = open_stores(small.settings())
    try:
        with pytest.raises(BootRefused, match=r"control: the checkpoint is ahead of the database: control\.txt has size 1, the database 0"):
            begin(stores, tmp_path)
    finally:
        stores.close()


def test_the_end_of_an_embedded_run_is_recorded(settled: Settled, tmp_path: Path) -> None:
    """A finished run has a start and a stop in `runs`; a failed one has only a start."""
    stores, source = copied(settled.place, tmp_path / "home").open(), open_rides(settled.place.rides)

    class Failing(StopEvent):
        def is_set(self) -> bool:
            raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        run_embedded(stores, source, ["small"], bounded=True, stop=Failing())
    stores.runs.clear()
    stop = StopEvent()
    stop.set()
    run_embedded(stores, source, ["small"], bounded=True, stop=stop)
    started, stopped = runs(stores, RunStarted), runs(stores, RunStopped)
    assert [record.run for record in started][1:] == [record.run for record in stopped]
    source.close()
    stores.close()


def test_read_only_commands_create_no_folder(tmp_path: Path) -> None:
    """A read-only command does not create a mistyped home."""
    opened = open_stores(settings_of(tmp_path / "mistyped"), reading=True)
    assert () == opened.ledger.logs()
    opened.close()
    assert [] == list(tmp_path.iterdir())
