"""Snapshots are caches: missing, damaged, foreign or too new, they only change how long a restart takes."""

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dataflows.stream.snapshots import LOOK_BACK_ENTRIES, load_snapshot, save_snapshot
from dataflows.stream.stores import Stores, open_stores
from ledger.store.blobs import Retention
from ledger.views.append import append_shared
from schemas.configuration.settings import Settings
from schemas.records.records import RUNS_LOG, RunStopped, SnapshotTaken
from tests.dataflows.stream.test_local import Killed, killed_after
from tests.differences import assert_same_payloads
from tests.simulation.fixtures import Settled
from tests.simulation.runs import Place, copied, run_here

HERE, ELSEWHERE = b"h" * 32, b"e" * 32


def arrays(slot: int) -> dict[str, np.ndarray]:
    """A state that differs from every other slot's, with the types that a state has."""
    return {
        "next_slot": np.array([slot + 1]),
        "cells": np.arange(slot, dtype=np.uint64),
        "weights": np.linspace(0, slot, 7),
        "champions": np.array([f"{slot:064x}"], "S64"),
        "none": np.empty((0, 3), np.int32),
    }


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    """An empty home."""
    opened = open_stores(Settings.from_env({"RIDECAST_HOME": str(tmp_path / "home")}))
    yield opened
    opened.close()


def close_and_save(stores: Stores, slot: int, environment: bytes = HERE, region: str = "nyc") -> None:
    """One more entry in the region's log, and a snapshot after it."""
    log = f"region/{region}"
    stores.ledger.append(log, stores.ledger.head(log).size, [f"slot {slot}".encode()])
    save_snapshot(stores.ledger, stores.blobs, region, slot, arrays(slot), environment)


def found(stores: Stores, environment: bytes = HERE) -> int | None:
    """The slot of the trusted snapshot, after comparing its arrays."""
    loaded = load_snapshot(stores.ledger, stores.blobs, "nyc", environment)
    if loaded is None:
        return None
    taken, loaded_arrays = loaded
    expected = arrays(taken.slot)
    assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in expected.items()} == {
        name: (a.dtype, a.shape, a.tobytes()) for name, a in loaded_arrays.items()
    }
    assert stores.ledger.root_at("region/nyc", taken.size) == taken.root
    return taken.slot


def test_the_newest_is_restored_exactly(stores: Stores) -> None:
    """Every array is restored with type, shape and bytes; without a snapshot there is none."""
    assert found(stores) is None
    for slot in (3, 4, 5):
        close_and_save(stores, slot)
    assert 5 == found(stores)


def test_another_environment_or_region_has_its_own(stores: Stores) -> None:
    """A snapshot of another environment or region is not used."""
    close_and_save(stores, 3)
    close_and_save(stores, 4, ELSEWHERE)
    close_and_save(stores, 9, HERE, "tehran")
    assert [3, 4, None] == [found(stores, environment) for environment in (HERE, ELSEWHERE, b"x" * 32)]


def test_a_snapshot_of_another_log_is_not_trusted(stores: Stores) -> None:
    """If the log is shorter or different at the snapshot's size, the snapshot is skipped."""
    close_and_save(stores, 3)
    head = stores.ledger.head("region/nyc")
    blob = stores.blobs.put(b"never read", Retention.SNAPSHOT)
    for size, root in ((head.size + 1, head.root), (head.size, b"r" * 32), (0, head.root)):
        append_shared(stores.ledger, RUNS_LOG, SnapshotTaken(region="nyc", slot=8, size=size, root=root, blob=blob, environment=HERE))
    assert 3 == found(stores)


def blob_file(stores: Stores, slot: int) -> Path:
    """File of the snapshot of a slot."""
    taken = list(stores.ledger.records(RUNS_LOG, SnapshotTaken))
    name = next(record.blob for record in taken if record.slot == slot).hex()
    [path] = (stores.settings.home / "blobs").glob(f"**/{name}")
    return path


def flip(path: Path) -> None:
    """Flip one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


WOUNDS: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "a bit flipped": flip,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "another's bytes": lambda path: path.write_bytes(b"PK\x03\x04 no array at all"),
}


@pytest.mark.parametrize("wound", WOUNDS)
def test_a_damaged_snapshot_is_replaced_by_an_older_one(stores: Stores, wound: str) -> None:
    """A snapshot that does not hash to its name is not trusted; the one before it is, and then none."""
    close_and_save(stores, 3)
    close_and_save(stores, 4)
    WOUNDS[wound](blob_file(stores, 4))
    assert 3 == found(stores)
    WOUNDS[wound](blob_file(stores, 3))
    assert found(stores) is None


def test_only_recent_snapshots_are_searched(stores: Stores) -> None:
    """After many other runs an old snapshot is not searched for: folding again is always correct."""
    close_and_save(stores, 3)
    for number in range(LOOK_BACK_ENTRIES - 3):
        append_shared(stores.ledger, RUNS_LOG, RunStopped(run=str(number), stopped_at_us=number, sizes={}))
    assert 3 == found(stores)
    for number in range(3):
        append_shared(stores.ledger, RUNS_LOG, RunStopped(run="more", stopped_at_us=number, sizes={}))
    assert found(stores) is None


@pytest.fixture
def interrupted(settled: Settled, tmp_path: Path) -> Place:
    """A home whose run was killed, with several snapshots."""
    place = copied(settled.place, tmp_path / "interrupted")
    with contextlib.suppress(Killed):
        run_here(place, killed_after(12), snapshot_every_s=0.01, batch_events=20)
    return place


@pytest.mark.parametrize("wound", ["gone", "a bit flipped"])
def test_without_valid_snapshots_a_run_records_the_same(settled: Settled, interrupted: Place, wound: str) -> None:
    """With every snapshot deleted or corrupted, the run folds its log again and records the same."""
    snapshots = list((interrupted.home / "blobs" / Retention.SNAPSHOT).glob("*/*"))
    assert len(snapshots) > 1
    for path in snapshots:
        WOUNDS[wound](path)
    assert_same_payloads(settled.expected, run_here(interrupted))


@pytest.mark.parametrize("lost", ["next_slot", "champions", "history0.count", "forecaster0.issued_mean", "forecaster0.regional_moment"])
def test_a_snapshot_of_another_version_is_not_trusted(settled: Settled, interrupted: Place, lost: str) -> None:
    """A snapshot without this version's fields is skipped like a missing one, although it hashes correctly."""
    stores = interrupted.open()
    loaded = load_snapshot(stores.ledger, stores.blobs, "small", stores.environment)
    assert loaded is not None
    taken, loaded_arrays = loaded
    without = {name: array for name, array in loaded_arrays.items() if name != lost}
    assert len(loaded_arrays) - 1 == len(without)
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **without)
    other = dataclasses.replace(taken, blob=stores.blobs.put(out.getvalue(), Retention.SNAPSHOT))
    append_shared(stores.ledger, RUNS_LOG, other)
    stores.close()
    assert_same_payloads(settled.expected, run_here(interrupted))


def test_with_or_without_snapshots_nothing_else_is_touched(settled: Settled, interrupted: Place) -> None:
    """Snapshots are named in `runs` only: no entry of the region's log differs between a home that has them and one that has none."""
    without = copied(settled.place, interrupted.home.parent / "without")
    with contextlib.suppress(Killed):
        run_here(without, killed_after(12), snapshot_every_s=1e9, batch_events=20)
    assert not list((without.home / "blobs" / Retention.SNAPSHOT).glob("*/*"))
    for place in (interrupted, without):
        assert_same_payloads(settled.expected, run_here(place))
