"""Keeps this process's own online store up to date with the ledger, where no publisher fills one."""

import logging
from collections.abc import Sequence
from contextlib import closing

from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, Stored
from ledger.views.follow import Follower, Pace, Place, Stop
from ledger.views.online.protocol import OnlineStore
from ledger.views.online.refresh import newest_issues, refresh
from ledger.views.regions import region_of
from schemas.errors import NotFound, RidecastError
from schemas.records.records import ForecastIssued, region_log

log = logging.getLogger(__name__)

RETRY_S = 2.0  # after a store was unavailable


class StoreFollower:
    """Puts the newest issue of every region and measure into a store.

    Args:
        ledger, blobs: Source of the issues.
        store: Store to fill.
        regions: Names of the regions.
    """

    def __init__(self, ledger: Ledger, blobs: Blobs, store: OnlineStore, regions: Sequence[str]) -> None:
        self._ledger, self._blobs, self._store = ledger, blobs, store
        self._followers = {region: Follower(ledger, region_log(region)) for region in regions}

    def step(self) -> int:
        """Refresh the store once; returns how many issues were put."""
        return sum(self._refresh(region, follower) for region, follower in self._followers.items())

    def run(self, stop: Stop) -> None:
        """Refresh the store until `stop` is set; retry while a store is unavailable."""
        with closing(self._ledger.wakeup(*map(region_log, self._followers))) as wakeup:
            pace = Pace(wakeup)
            while not stop.is_set():
                try:
                    if self.step():
                        pace.restart()
                    pace.wait(stop)
                except RidecastError as cause:
                    log.error("online store: %s; trying again in %.0f s", cause, RETRY_S)
                    stop.wait(RETRY_S)

    def _refresh(self, region: str, follower: Follower) -> int:
        seen = follower.look()
        if seen is None:
            return 0
        # However the log changed, only its newest issue matters; the store compares the number of the origin first.
        put = refresh(self._store, self._blobs, self._issues(region), seen.next.number)
        follower.move(Place(seen.next.number, seen.head.size))
        return put

    def _issues(self, region: str) -> list[Stored[ForecastIssued]]:
        try:
            return newest_issues(self._ledger, region_of(self._ledger, region))
        except NotFound:
            return []  # not bootstrapped yet
