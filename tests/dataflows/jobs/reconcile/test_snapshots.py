"""Snapshots against the log of runs: damaged, missing and stray ones are named and repaired; those of another log are left alone."""

import os
from pathlib import Path

import pytest

from dataflows.jobs.reconcile.snapshots import SnapshotPlace
from dataflows.stream.snapshots import load_snapshot
from dataflows.stream.stores import Stores
from ledger.store.blobs import Retention
from ledger.views.append import append_shared
from ledger.views.reconcile.differences import Difference, Reason, reconciled
from schemas.records.records import RUNS_LOG, BlobsExpired, SnapshotTaken
from schemas.regions import load_region
from tests.dataflows.stream.test_snapshots import HERE, blob_file, close_and_save, stores

__all__ = ["stores"]


def found_in(stores: Stores, *, repair: bool) -> tuple[Difference, ...]:
    """What is found, after a repair what is left too."""
    place = SnapshotPlace(stores, [load_region("nyc")])
    done = reconciled(place, lambda: None, repair=repair)
    assert done.left == (() if repair else done.found)
    return done.found


def files_of(stores: Stores) -> list[str]:
    """Names of all snapshots."""
    return sorted(path.name for path in (stores.settings.home / "blobs" / "snapshot").glob("??/*"))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), Reason.MISSING),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), Reason.DAMAGED),
        (lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]), Reason.DAMAGED),
    ],
    ids=["missing", "truncated", "changed"],
)
def test_a_damaged_snapshot_is_named_and_removed(stores: Stores, damage: object, reason: Reason) -> None:
    """The newest one that is missing or damaged is named; a repair removes it, on record, and the one before is used."""
    for slot in (3, 4):
        close_and_save(stores, slot)
    assert () == found_in(stores, repair=False)
    path = blob_file(stores, 4)
    damage(path)  # type: ignore[operator]  # a function
    before = files_of(stores)
    [found] = found_in(stores, repair=False)
    assert (reason, f"nyc slot 4 {path.name[:12]}", before) == (found.reason, found.key, files_of(stores))
    assert (found,) == found_in(stores, repair=True)
    assert () == found_in(stores, repair=True)
    assert not path.exists()
    [record] = stores.ledger.records(RUNS_LOG, BlobsExpired)
    assert ("nyc", "snapshot", 1) == (record.region, record.retention, record.count)
    loaded = load_snapshot(stores.ledger, stores.blobs, "nyc", HERE)
    assert loaded is not None
    assert 3 == loaded[0].slot


def test_a_stray_snapshot_is_removed_when_nobody_can_be_writing_it(stores: Stores) -> None:
    """A blob that no entry names is a difference after a day, and then removed; an older snapshot that has expired is none."""
    for slot in (3, 4):
        close_and_save(stores, slot)
    blob_file(stores, 3).unlink()
    stray = stores.blobs.put(b"stray", Retention.SNAPSHOT)
    assert () == found_in(stores, repair=True)
    path: Path = stores.settings.home / "blobs" / "snapshot" / stray.hex()[:2] / stray.hex()
    os.utime(path, (0, 0))
    [found] = found_in(stores, repair=True)
    assert (Reason.ADDED, f"blob {stray.hex()[:12]}") == (found.reason, found.key)
    assert not path.exists()
    assert () == found_in(stores, repair=False)


def test_a_snapshot_of_another_log_is_left_alone(stores: Stores) -> None:
    """A snapshot whose root this ledger does not have is said, and kept even if its blob is damaged."""
    close_and_save(stores, 3)
    blob = stores.blobs.put(b"theirs", Retention.SNAPSHOT)
    append_shared(stores.ledger, RUNS_LOG, SnapshotTaken(region="nyc", slot=8, size=1, root=b"r" * 32, blob=blob, environment=HERE))
    place = SnapshotPlace(stores, [load_region("nyc")])
    done = reconciled(place, lambda: None, repair=True)
    assert ((), ("1 snapshots name a root that this ledger does not have: left alone",)) == (done.found, done.compared.notes)
    assert stores.blobs.has(blob)


def test_a_snapshot_whose_removal_failed_is_named_again(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is damaged and still there is a difference, whatever the record says; the next repair removes it, recorded once."""
    close_and_save(stores, 3)
    path = blob_file(stores, 3)
    path.write_bytes(b"x")

    def refused(digest: bytes) -> None:
        raise PermissionError("read-only")

    with monkeypatch.context() as patched:
        patched.setattr(type(stores.blobs), "remove", lambda self, digest: refused(digest))
        with pytest.raises(PermissionError):
            found_in(stores, repair=True)
    [found] = found_in(stores, repair=False)
    assert Reason.DAMAGED == found.reason
    assert (found,) == found_in(stores, repair=True)
    assert not path.exists()
    assert 1 == len(list(stores.ledger.records(RUNS_LOG, BlobsExpired)))
