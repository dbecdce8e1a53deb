"""Snapshots of regions against what the log `runs` says of them, and files among them that nothing names.

A snapshot is a cache: a damaged one is removed, and that it is gone goes on record as `BlobsExpired`, so that the next run takes
another. One of a log that is not this ledger's is left alone.
"""

import hashlib
import time
from collections.abc import Callable, Sequence

from dataflows.jobs.retention import ORPHAN_AFTER_S
from dataflows.stream.snapshots import LOOK_BACK_ENTRIES
from dataflows.stream.stores import Stores
from ledger.store.blobs import Retention
from ledger.store.log import holds
from ledger.views.append import append_shared
from ledger.views.identity import has_root
from ledger.views.reconcile.differences import Compared, Difference, PlaceName, Reason
from schemas.errors import DamagedError, NotFound
from schemas.records.records import RUNS_LOG, BlobsExpired, SnapshotTaken, region_log
from schemas.regions import Region

SHOWN = 12  # hexadecimal digits


class SnapshotPlace:
    """The newest snapshots of some regions.

    Args:
        now_s: Seconds since 1970.
        on_step: Called with how many of how many snapshots are compared.
    """

    name = PlaceName.SNAPSHOTS

    def __init__(
        self,
        stores: Stores,
        regions: Sequence[Region],
        now_s: Callable[[], float] = time.time,
        on_step: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._stores, self._now_s, self._on_step = stores, now_s, on_step
        self._wanted = {region.id for region in regions}
        self._lost: dict[str, SnapshotTaken] = {}
        self._strays: dict[str, bytes] = {}

    def compare(self) -> Compared:
        self._lost, self._strays = {}, {}
        present = set(self._stores.blobs.digests(Retention.SNAPSHOT))  # before the log: what is stored from now on is named later
        ledger = self._stores.ledger
        recorded = list(ledger.records(RUNS_LOG, BlobsExpired))
        expired = {one.digests for one in recorded if one.retention == Retention.SNAPSHOT}
        named = {taken.blob for taken in ledger.records(RUNS_LOG, SnapshotTaken)}
        size = ledger.head(RUNS_LOG).size
        recent = [stored.record for stored in ledger.read(RUNS_LOG, max(0, size - LOOK_BACK_ENTRIES), size) if holds(stored, SnapshotTaken)]
        ours = [
            taken for taken in recent if taken.region in self._wanted and has_root(ledger, region_log(taken.region), taken.size, taken.root)
        ]
        newest = {(taken.region, taken.environment): taken for taken in ours}
        differences = []
        for done, taken in enumerate(ours):
            reason = self._state(taken, is_newest=newest[taken.region, taken.environment] is taken)
            self._on_step(done + 1, len(ours))
            gone = taken.blob not in present and hashlib.sha256(taken.blob).digest() in expired
            if reason is None or gone:  # its end may be on record, and its removal have failed
                continue
            key = f"{taken.region} slot {taken.slot} {taken.blob.hex()[:SHOWN]}"
            if key not in self._lost:
                self._lost[key] = taken
                got = "nothing" if reason is Reason.MISSING else "bytes with another digest"
                differences.append(Difference(self.name, taken.region, key, reason, taken.blob.hex()[:SHOWN], got))
        for digest in sorted(present - named):
            if self._age_s(digest) > ORPHAN_AFTER_S:
                key = f"blob {digest.hex()[:SHOWN]}"
                self._strays[key] = digest
                differences.append(Difference(self.name, "", key, Reason.ADDED, "a blob that the log names", "one that it does not"))
        foreign = sum(taken.region in self._wanted for taken in recent) - len(ours)
        notes = (f"{foreign} snapshots name a root that this ledger does not have: left alone",) if foreign else ()
        return Compared(tuple(differences), len(ours), len(newest), len(self._lost), notes)

    def repair(self, found: Sequence[Difference]) -> None:
        chosen = {one.key for one in found}
        for key, taken in self._lost.items():
            if key in chosen:
                self._drop(taken.region, Retention.SNAPSHOT, taken.blob)
        for key, digest in self._strays.items():
            if key in chosen and self._age_s(digest) > ORPHAN_AFTER_S:
                self._drop("", "orphan", digest)

    def _drop(self, region: str, retention: str, digest: bytes) -> None:
        digests = hashlib.sha256(digest).digest()
        record = BlobsExpired(region=region, retention=str(retention), from_slot=0, until_slot=0, count=1, digests=digests)
        if record not in self._stores.ledger.records(RUNS_LOG, BlobsExpired):
            append_shared(self._stores.ledger, RUNS_LOG, record)
            self._stores.ledger.flush()
        self._stores.blobs.remove(digest)

    def _state(self, taken: SnapshotTaken, *, is_newest: bool) -> Reason | None:
        """How a snapshot's blob differs; that an older one is missing is no difference, since it expires."""
        try:
            self._stores.blobs.get(taken.blob)
        except NotFound:
            return Reason.MISSING if is_newest else None
        except DamagedError:
            return Reason.DAMAGED
        return None

    def _age_s(self, digest: bytes) -> float:
        try:
            return self._now_s() - self._stores.blobs.stored_at_s(digest)
        except NotFound:
            return 0.0
