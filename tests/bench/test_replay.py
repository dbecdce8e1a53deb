"""How fast a day of New York is replayed, against the run that wrote it, in this process and in turns."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from dataflows.audit.replay import replay_region
from dataflows.audit.replay_report import Replay, Verdict
from dataflows.connectors.files.ridelog import RideLogWriter
from dataflows.connectors.sources import FileRides
from dataflows.jobs.bootstrap import bootstrap_region, slot_of_midnight
from dataflows.jobs.learn import train_region
from dataflows.stream.start import quiet_threads, run_embedded
from dataflows.stream.stores import Stores, open_stores
from schemas.configuration.settings import Settings
from schemas.events.codec import EventColumns, encode_events
from schemas.events.measures import KINDS, RideKind
from schemas.regions import US_PER_S, load_region

pytestmark = pytest.mark.bench

PARTITIONS = 4
LOCAL_US = 4 * 3_600 * US_PER_S  # the data is in New York's summer time
REGION = load_region("nyc")
UNTIL, LAST = "2014-05-01", os.environ.get("RIDECAST_BENCH_UNTIL", "2014-05-03")
START, END = slot_of_midnight(REGION, UNTIL), slot_of_midnight(REGION, LAST)


def write_rides(shared: Path, folder: Path) -> None:
    """April, and the days of May that are run, as a ride log."""
    months = [pq.read_table(shared / f"data/uber_nyc_2014-{m}.parquet", columns=["time", "lat", "lon"]) for m in ("04", "05")]
    at = np.concatenate([m["time"].to_numpy().astype("datetime64[us]").astype(np.int64) for m in months]) + LOCAL_US
    lat, lon = (np.concatenate([m[name].to_numpy() for m in months]) for name in ("lat", "lon"))
    at = at + np.random.default_rng(2014).integers(0, 60_000_000, len(at))
    order = np.argsort(at, kind="stable")
    order = order[at[order] < END * REGION.slot_us]
    at, lat, lon = at[order], lat[order], lon[order]
    names = [f"{i:032x}" for i in range(len(at))]
    values = encode_events(EventColumns(names, names, np.full(len(at), KINDS.index(RideKind.STARTED), np.uint8), at, "nyc", lat, lon))
    with RideLogWriter(folder, PARTITIONS) as log:
        for partition in range(PARTITIONS):
            mine = values[partition::PARTITIONS]
            log.append(partition, at[partition::PARTITIONS], [b""] * len(mine), mine)


@pytest.fixture(scope="module")
def ready(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Stores, FileRides]:
    """A home that is bootstrapped, with a small model in force, and its rides."""
    quiet_threads()
    folder = tmp_path_factory.mktemp("replay")
    write_rides(shared, folder / "rides")
    source = FileRides(folder / "rides")
    stores = open_stores(Settings.from_env({}, {"home": str(folder / "home")}))
    bootstrap_region(stores, REGION, source, UNTIL)
    train_region(stores, None, promote=True, most_rows=20_000)
    return stores, source


def timed(what: Callable[[], Replay | None]) -> tuple[float, float, Replay | None]:
    """Seconds on the wall, seconds of processor time, and what came of it."""
    wall, processor = time.perf_counter(), time.process_time()
    found = what()
    return time.perf_counter() - wall, time.process_time() - processor, found


def test_a_replay_is_no_slower_than_its_run(ready: tuple[Stores, FileRides]) -> None:
    """All days, their last one alone, and a sample: identical, and no slower than the run, which also waited for the disk."""
    stores, source = ready
    run_s, run_processor_s, _ = timed(lambda: run_embedded(stores, source, ["nyc"], bounded=True))

    def replay(first: int, share: float = 1.0) -> Replay:
        return replay_region(stores.ledger, stores.blobs, stores.environment, "nyc", source, first, END, share=share)

    print(f"\nrun of {END - START} slots: {run_s:.1f} s, {run_processor_s:.1f} s of processor time")
    for what, first, share in (("all of it", START, 1.0), ("its last day", END - 288, 1.0), ("5 % of it", START, 0.05)):
        wall_s, processor_s, found = timed(lambda first=first, share=share: replay(first, share))  # type: ignore[misc]
        assert found is not None
        print(
            f"replay of {what}: {wall_s:.1f} s, {processor_s:.1f} s of processor time, of which {found.fold_s:.1f} s before its "
            f"first slot; {found.verdicts[Verdict.IDENTICAL]} of {len(found.slots)} slots identical; "
            f"{processor_s / run_processor_s:.2f} of the run"
        )
        assert {Verdict.IDENTICAL: len(found.slots)} == found.verdicts
        assert all(slot.from_rides for slot in found.slots)
        assert processor_s <= run_processor_s
    stores.close()
