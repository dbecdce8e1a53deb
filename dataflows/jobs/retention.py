"""Expires old blobs: records each expiry first, then removes the blobs, so that every missing blob is explained.

Counts and models stay: everything else is recomputed from counts, and a model outlives the forecasts that name it.
Age is measured in event time where there is one: the days that a region has closed since, not wall-clock days.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dataflows.stream.kept_features import recorded_features
from dataflows.stream.stores import Stores
from ledger.check.blob_check import CHUNKS, blobs_of_entry
from ledger.store.blobs import Retention
from ledger.store.log import Ledger, holds
from ledger.views.append import append_shared
from ledger.views.issues import expired_until
from ledger.views.regions import region_of, regions_of
from schemas.records.record_skim import skim
from schemas.records.records import RUNS_LOG, BlobsExpired, SlotClosed, SnapshotTaken, region_in, region_log
from schemas.regions import DAY_MIN

ORPHAN = "orphan"
ORPHAN_AFTER_S = 86_400  # A writer appends the entry that names a blob within seconds; after a crash it stores the blob again first.


@dataclass(frozen=True, slots=True)
class Expiry:
    """One class of expired blobs.

    Attributes:
        record: The record of their expiry.
        recorded: Whether an earlier, interrupted run already wrote that record.
        digests: Blobs still in the store, to be removed.
    """

    record: BlobsExpired
    recorded: bool
    digests: tuple[bytes, ...]


@dataclass(slots=True)
class _Named:
    """The blobs that the logs name.

    Attributes:
        every: Digests of all of them.
        chunks: Per region, (slot, digest) of every issue.
        snapshots: Per region, (slot, digest) of every snapshot, oldest first.
    """

    every: set[bytes] = field(default_factory=set)
    chunks: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    snapshots: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)


def plan_expiry(stores: Stores, forecasts_days: int, now_s: float) -> list[Expiry]:
    """List what has expired; changes nothing.

    Args:
        stores: Open for writing.
        forecasts_days: Days of event time for which forecast chunks are kept.
        now_s: Seconds since 1970, for blobs that no entry names.
    Raises:
        BootRefused: a log does not match its checkpoint: blobs that it names could then be mistaken for orphans.
    """
    stores.ledger.admit_all()
    present = {kept: set(stores.blobs.digests(kept)) for kept in Retention}  # Before the logs: a blob stored from now on is named later.
    named = _named(stores.ledger)
    for region in regions_of(stores.ledger):
        named.every |= _newest_features(stores, region)
    past = list(stores.ledger.records(RUNS_LOG, BlobsExpired))
    found = _forecasts(stores, named, past, forecasts_days, present[Retention.FORECAST])
    for region, taken in sorted(named.snapshots.items()):
        newest = {taken[-1][1]}
        found.append(
            _expiry(
                region, Retention.SNAPSHOT, (0, taken[-1][0]), {digest for _, digest in taken} - newest, past, present[Retention.SNAPSHOT]
            )
        )
    orphans = {
        digest for digest in set().union(*present.values()) - named.every if now_s - stores.blobs.stored_at_s(digest) > ORPHAN_AFTER_S
    }
    found.append(_expiry("", ORPHAN, (0, 0), orphans, past, orphans))
    return [expiry for expiry in found if expiry.digests or not expiry.recorded]


def expire(stores: Stores, plan: Iterable[Expiry], on_removed: Callable[[int], None] = lambda count: None) -> int:
    """Record what expires, then remove it; returns the number of removed blobs."""
    removed = 0
    for expiry in plan:
        if not expiry.recorded:
            append_shared(stores.ledger, RUNS_LOG, expiry.record)
            stores.ledger.flush()  # A checkpoint covers the record before the first blob is removed.
        for digest in expiry.digests:
            stores.blobs.remove(digest)
            removed += 1
            on_removed(removed)
    return removed


def _named(ledger: Ledger) -> _Named:
    found = _Named()
    for log in ledger.logs():
        for stored in ledger.scan(log):
            for one in blobs_of_entry(stored.index, skim(stored.payload)):
                found.every.add(one.digest)
                if one.what == CHUNKS and one.slot is not None:
                    found.chunks.setdefault(region_in(log) or log, []).append((one.slot, one.digest))
            if holds(stored, SnapshotTaken):
                taken = stored.record
                found.snapshots.setdefault(taken.region, []).append((taken.slot, taken.blob))
    return found


def _newest_features(stores: Stores, region: str) -> set[bytes]:
    """The matrices from which the API explains a region: no entry names them as blobs, and a run removes them in turn."""
    closed = stores.ledger.entry(region_log(region), SlotClosed)
    if closed is None or closed.slot is None or not stores.settings.explain_slots:
        return set()
    until = closed.slot + 1
    found = recorded_features(stores.ledger, region_of(stores.ledger, region), until - stores.settings.explain_slots, until)
    return {digest for close in found for digest in close}


def _forecasts(stores: Stores, named: _Named, past: list[BlobsExpired], days: int, present: set[bytes]) -> list[Expiry]:
    bounds = {region: (expired_until(stores.ledger, region), _first_kept(stores.ledger, region, days)) for region in sorted(named.chunks)}
    # In a region without rides the same chunks may be issued twice: keep them as long as one entry needs them.
    needed = {digest for region, (old, new) in bounds.items() for slot, digest in named.chunks[region] if slot >= max(old, new)}
    found = []
    for region, (old, new) in bounds.items():
        fresh = {digest for slot, digest in named.chunks[region] if old <= slot < new} - needed
        if fresh:
            found.append(_expiry(region, Retention.FORECAST, (old, new), fresh, past, present))
        # A resume that folds from the start stores them again, and a crash may have left some.
        left = ({digest for slot, digest in named.chunks[region] if slot < old} - needed) & present
        if left:
            [last] = [one for one in past if (one.region, one.retention, one.until_slot) == (region, Retention.FORECAST, old)][-1:]
            found.append(Expiry(last, True, tuple(sorted(left))))
    return found


def _first_kept(ledger: Ledger, region: str, days: int) -> int:
    closed = ledger.entry(region_log(region), SlotClosed)
    if closed is None or closed.slot is None:
        return 0
    definition = region_of(ledger, region)
    return closed.slot + 1 - days * (DAY_MIN // definition.slot_min)


def _expiry(
    region: str, retention: str, slots: tuple[int, int], wanted: set[bytes], past: list[BlobsExpired], present: set[bytes]
) -> Expiry:
    """The expiry of one class: for chunks, all that the log names; for the others, what the store has now."""
    going = wanted if retention == Retention.FORECAST else wanted & present
    digests = hashlib.sha256(b"".join(sorted(going))).digest()
    record = BlobsExpired(
        region=region, retention=str(retention), from_slot=slots[0], until_slot=slots[1], count=len(going), digests=digests
    )
    known = not going or any((one.region, one.retention, one.digests) == (region, retention, digests) for one in past)
    return Expiry(record, known, tuple(sorted(wanted & present)))
