"""Keeps the feature matrices of a region's newest issues, from which the API explains forecasts.

An issue records the SHA-256 of its matrix, and of the challenger's if that is another one; the blob with that digest is the
matrix. It is a cache: entries do not need it, `ridecast explain` computes it again, and what happens to it never stops a close.
"""

import logging
from collections import deque
from collections.abc import Iterable

from ledger.store.blobs import Blobs, Retention
from ledger.store.log import Ledger
from schemas.errors import StoreUnavailable
from schemas.records.records import ForecastIssued, region_log
from schemas.regions import Region
from state.forecast.region import Issue

log = logging.getLogger(__name__)


class KeptFeatures:
    """The matrices of the newest closes of a region.

    Args:
        ledger, blobs: Open stores.
        slots: How many closes; 0 keeps nothing.
        next_slot: The slot that closes next; what earlier ones left is removed in turn.
    """

    def __init__(self, ledger: Ledger, blobs: Blobs, region: Region, slots: int, next_slot: int) -> None:
        self._blobs, self._region, self._slots = blobs, region.id, slots
        self._failing = False
        self._closes: deque[tuple[bytes, ...]] = deque(recorded_features(ledger, region, next_slot - slots, next_slot) if slots else ())

    def keep(self, issues: Iterable[Issue]) -> None:
        """Store the matrices of a close, and remove those of the oldest close."""
        if not self._slots:
            return
        try:
            matrices = [matrix for issue in issues for matrix in (issue.draft.features, issue.draft.arm_features) if matrix]
            self._closes.append(tuple(self._blobs.put(matrix, Retention.FEATURES) for matrix in matrices))
            while len(self._closes) > self._slots:
                for digest in self._closes.popleft():
                    if not any(digest in close for close in self._closes):
                        self._blobs.remove(digest)
            self._failing = False
        except StoreUnavailable as failed:
            if not self._failing:  # Once, not at every close until the store is well again.
                what = "the features of its newest slots are not stored, so the API cannot explain them"
                log.warning("region %s: %s: %s", self._region, what, failed)
            self._failing = True


def recorded_features(ledger: Ledger, region: Region, first: int, until: int) -> list[tuple[bytes, ...]]:
    """Digests of the matrices of recorded slots [first, until), oldest first."""
    name = region_log(region.id)
    start = next((found.index for slot in range(first, until) if (found := ledger.entry(name, ForecastIssued, slot)) is not None), None)
    if start is None:
        return []
    by_slot: dict[int, list[bytes]] = {}
    for record in ledger.records(name, ForecastIssued, start):
        if record.slot < until:
            digests = by_slot.setdefault(record.slot, [])
            digests += [digest for digest in (record.features_digest, record.arm_features_digest) if digest]
    return [tuple(by_slot[slot]) for slot in sorted(by_slot)]
