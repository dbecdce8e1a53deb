"""Snapshots of a region's state: caches in the blob store, found through the `runs` log."""

import io

import numpy as np

from ledger.store.blobs import Blobs, Retention
from ledger.store.log import Ledger, holds
from ledger.views.append import append_shared
from schemas.errors import DamagedError, NotFound
from schemas.records.records import RUNS_LOG, SnapshotTaken, region_log
from state.forecast.region import Arrays

LOOK_BACK_ENTRIES = 200  # Older snapshots are not searched for: folding the log again always works.


def save_snapshot(ledger: Ledger, blobs: Blobs, region: str, slot: int, arrays: Arrays, environment: bytes) -> None:
    """Store the arrays and record them in the `runs` log; the region's log must hold the slot already."""
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    head = ledger.head(region_log(region))
    blob = blobs.put(out.getvalue(), Retention.SNAPSHOT)
    append_shared(
        ledger, RUNS_LOG, SnapshotTaken(region=region, slot=slot, size=head.size, root=head.root, blob=blob, environment=environment)
    )


def load_snapshot(ledger: Ledger, blobs: Blobs, region: str, environment: bytes) -> tuple[SnapshotTaken, Arrays] | None:
    """The newest snapshot of this log and environment, or None."""
    size = ledger.head(RUNS_LOG).size
    recent = [stored.record for stored in ledger.read(RUNS_LOG, max(0, size - LOOK_BACK_ENTRIES), size) if holds(stored, SnapshotTaken)]
    head = ledger.head(region_log(region))
    for taken in reversed(recent):
        if taken.region != region or taken.environment != environment or taken.size > head.size:
            continue
        if ledger.root_at(region_log(region), taken.size) != taken.root:
            continue
        try:
            data = blobs.get(taken.blob)
        except (NotFound, DamagedError):
            continue  # A cache may be missing or damaged; the fold does not depend on it.
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return taken, {name: arrays[name] for name in arrays.files}
    return None
