"""Runs a small world: in this process as the oracle, or as the real processes that a user starts."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dataflows.connectors.sources import open_rides
from dataflows.jobs.bootstrap import bootstrap_region
from dataflows.stream.region_run import SlotReport
from dataflows.stream.start import run_embedded
from dataflows.stream.stores import Stores, open_stores
from ledger.store.log import Ledger
from ridecast.children import free_addresses
from schemas.configuration.settings import Settings
from schemas.records.record_codec import decode
from schemas.records.records import SlotClosed, region_log
from tests.simulation.world import DEDUP_TOTAL_EVENTS, UNTIL, World, write_files, write_history, write_region
from tests.tree import ROOT

LOG = region_log("small")
END_LIMIT_S = 120.0  # two cores may be shared with many


@dataclass(frozen=True, slots=True)
class Place:
    """The files of a world: its region file, its rides, and a bootstrapped home.

    Attributes:
        environment: Settings of every process, by variable.
    """

    world: World
    region: Path
    rides: str
    home: Path
    environment: Mapping[str, str]

    def settings(self, **changes: object) -> Settings:
        """Settings as a process of the run reads them, with changes that may be out of bounds."""
        return replace(Settings.from_env(self.environment), **changes)  # type: ignore[arg-type]  # fields by name

    def open(self, **changes: object) -> Stores:
        """Its stores."""
        return open_stores(self.settings(**changes))


def settle(world: World, folder: Path, *, rides: str = "", **extra: object) -> Place:
    """Write a world down under a folder and bootstrap a home there.

    Args:
        rides: Where the live hours already are; if empty, they are written as files.
        extra: Further settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    history = folder / "history"
    write_history(history, len(world.logs))
    if not rides:
        rides = str(folder / "rides")
        write_files(world, folder / "rides")
    environment = {
        "RIDECAST_HOME": str(folder / "home"),
        "RIDECAST_RIDES": rides,
        "RIDECAST_DEDUP_HORIZON_EVENTS": str(DEDUP_TOTAL_EVENTS),
        "RIDECAST_SNAPSHOT_EVERY_S": "1",
    } | {f"RIDECAST_{name.upper()}": str(value) for name, value in extra.items()}
    place = Place(world, write_region(world, folder), rides, folder / "home", environment)
    stores = place.open()
    bootstrap_region(stores, world.region, open_rides(str(history)), UNTIL)
    stores.close()
    return place


def copied(place: Place, folder: Path, **changes: object) -> Place:
    """The same place with its own copy of the embedded home."""
    shutil.copytree(place.home, folder)
    environment = dict(place.environment) | {"RIDECAST_HOME": str(folder)}
    environment |= {f"RIDECAST_{name.upper()}": str(value) for name, value in changes.items()}
    return Place(place.world, place.region, environment["RIDECAST_RIDES"], folder, environment)


# --- in this process -------------------------------------------------------------------------------


def run_here(place: Place, on_slot: Callable[[SlotReport], None] | None = None, **changes: object) -> list[bytes]:
    """Run to the end in this process, without Bytewax; returns the region's payloads."""
    stores = place.open(**changes)
    source = open_rides(place.rides)
    try:
        run_embedded(stores, source, [place.world.region.id], bounded=True, on_slot=on_slot)
        return payloads(stores.ledger)
    finally:
        source.close()
        stores.close()


def payloads(ledger: Ledger) -> list[bytes]:
    """Every payload of the region's log: two runs are identical when these are equal."""
    return [stored.payload for stored in ledger.scan(LOG)]


def payloads_at(place: Place) -> list[bytes]:
    """The same for a home that is not open in this process."""
    stores = place.open()
    try:
        return payloads(stores.ledger)
    finally:
        stores.close()


@contextlib.contextmanager
def watching(place: Place) -> Iterator[Callable[[], int]]:
    """A function that returns the current size of the region's log while other processes write it."""
    stores = place.open()
    try:
        yield lambda: stores.ledger.head(LOG).size
    finally:
        stores.close()


def closed_slots(found: Sequence[bytes]) -> list[SlotClosed]:
    """The `SlotClosed` among payloads."""
    return [record for record in map(decode, found) if isinstance(record, SlotClosed)]


# --- as processes ----------------------------------------------------------------------------------


def start_run(place: Place, processes: int, *words: str, **changes: object) -> subprocess.Popen[bytes]:
    """`ridecast run` with its supervisor, in its own session; its output goes to HOME/run.log."""
    command = ["run", "--region", str(place.region), "--processes", str(processes), *words]
    return _start(place, command, changes)


def start_cluster(
    place: Place, processes: int, batch_events: int, *, bounded: bool = True, regions: str = ""
) -> list[subprocess.Popen[bytes]]:
    """Forecasters without a supervisor; of the world's region unless others are named, separated by commas."""
    addresses = free_addresses(processes) if processes > 1 else []
    command = ["worker", "forecast", "--regions", regions or place.world.region.id, "--processes", str(processes)]
    command += ["--until-end"] if bounded else []
    words = [["--process", str(number), "--addresses", ";".join(addresses)] for number in range(len(addresses))]
    return [_start(place, [*command, *more], {"batch_events": batch_events}) for more in words or [[]]]


def kill(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """kill -9 all that are still running."""
    for process in running:
        process.kill()
    for process in running:
        process.wait()


def _start(place: Place, words: Sequence[str], changes: Mapping[str, object]) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RIDECAST_")}
    environment = kept | dict(place.environment) | {f"RIDECAST_{name.upper()}": str(value) for name, value in changes.items()}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with (place.home / "run.log").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "ridecast", *words],
            env=environment,
            cwd=place.home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def finish(place: Place, *running: subprocess.Popen[bytes], limit_s: float = END_LIMIT_S) -> None:
    """Wait until they end with status 0."""
    give_up_at = time.monotonic() + limit_s
    for process in running:
        try:
            status = process.wait(max(0.1, give_up_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not at its end after {limit_s:g} s; output:\n{last_words(place)}") from None
        assert status == 0, f"ended with status {status}; output:\n{last_words(place)}"


def last_words(place: Place, lines: int = 40) -> str:
    """The end of what the processes printed."""
    return "\n".join((place.home / "run.log").read_text("utf-8", "replace").splitlines()[-lines:])


def wait_until(happened: Callable[[], bool], limit_s: float = END_LIMIT_S, *, what: str) -> None:
    """Poll until a condition holds.

    Raises:
        AssertionError: it does not hold within the limit.
    """
    give_up_at = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < give_up_at, f"expected within {limit_s:g} s: {what}"
        time.sleep(0.02)
