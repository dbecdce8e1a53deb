"""Keeps an online store of this process as new as the ledger, where no publisher fills one."""

import logging
from collections.abc import Sequence

from ledger.store.blobs import Blobs
from ledger.store.log import Head, Ledger
from ledger.views.follow import Stop
from ledger.views.online.protocol import OnlineStore, StoredIssue
from schemas.errors import RidecastError
from schemas.forecasts.chunks import pack_blob
from schemas.records.records import ForecastIssued, RegionBootstrapped, region_log
from schemas.regions import region_from_json

log = logging.getLogger(__name__)

POLL_S = 0.25  # how soon a new issue is seen
RETRY_S = 2.0  # after a store did not answer


class StoreFollower:
    """Puts the newest issue of every region and measure into a store.

    Args:
        ledger, blobs: Where issues come from.
        store: Where they go.
        regions: Names.
    """

    def __init__(self, ledger: Ledger, blobs: Blobs, store: OnlineStore, regions: Sequence[str]) -> None:
        self._ledger, self._blobs, self._store = ledger, blobs, store
        self._seen: dict[str, Head | None] = dict.fromkeys(regions)

    def step(self) -> int:
        """Look once; returns how many issues were put."""
        put = 0
        for region, seen in self._seen.items():
            name = region_log(region)
            head = self._ledger.head(name)
            if head == seen:
                continue
            number = self._ledger.number(name)
            for measure in self._measures(name):
                stored = self._ledger.entry(name, ForecastIssued, subject=measure)
                if stored is not None and (number, stored.index) > self._store.newest(region, measure):
                    record = stored.record
                    blob = self._blobs.get(record.blob) if record.blob else pack_blob([])
                    put += self._store.put(StoredIssue(stored.index, stored.payload, blob, number))
            self._seen[region] = head
        return put

    def _measures(self, name: str) -> tuple[str, ...]:
        boot = self._ledger.find(name, RegionBootstrapped)
        return region_from_json(boot.definition, where=name).measures if boot else ()

    def run(self, stop: Stop) -> None:
        """Look until told to stop; a store that does not answer is waited for."""
        while not stop.is_set():
            try:
                self.step()
                stop.wait(POLL_S)
            except RidecastError as cause:
                log.error("online store: %s; trying again in %.0f s", cause, RETRY_S)
                stop.wait(RETRY_S)
