"""Keeps an online store up to date with the ledger, and never stops what runs beside it.

The store is optional: while it is away, its forecasts are read from the ledger, and publishing goes on. It is tried again
after growing pauses, and has the newest issues at the first step that succeeds.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import closing

from ledger.store.blobs import Blobs
from ledger.store.log import Ledger, Stored
from ledger.store.waiting import Patience
from ledger.views.follow import Follower, Pace, Place, Stop
from ledger.views.online.protocol import OnlineStore
from ledger.views.online.refresh import newest_issues, refresh
from ledger.views.regions import region_of
from schemas.errors import NotFound, RidecastError
from schemas.records.records import ForecastIssued, region_log

log = logging.getLogger(__name__)

PATIENCE = Patience(first_s=0.5, longest_s=15.0, spread=0.5)  # a store that is back is current within seconds


class StoreFollower:
    """Puts the newest issue of every region and measure into a store.

    Args:
        ledger, blobs: Source of the issues.
        store: Store to fill; it may lose its content at any time.
        regions: Names of the regions.
        jitter: Random numbers from 0 to 1, so that many processes do not return to a server at the same moment.
    """

    def __init__(
        self, ledger: Ledger, blobs: Blobs, store: OnlineStore, regions: Sequence[str], jitter: Callable[[], float] = lambda: 1.0
    ) -> None:
        self._ledger, self._blobs, self._store, self._jitter = ledger, blobs, store, jitter
        self._followers = {region: Follower(ledger, region_log(region)) for region in regions}
        self._issues: dict[str, list[Stored[ForecastIssued]]] = {}
        self.failures = 0  # in a row; 0 while the store is up to date

    def step(self) -> int:
        """Refresh the store once; returns how many issues were put."""
        return sum(self._refresh(region, follower) for region, follower in self._followers.items())

    def attempt(self) -> int:
        """As `step`, but an error is logged, once for an outage, and counted in `failures`."""
        try:
            put = self.step()
        except RidecastError as cause:
            self.failures += 1
            if self.failures == 1:
                log.warning("online store: %s; tried again until it answers, nothing else waits for it", cause)
            return 0
        if self.failures:
            log.warning("online store: up to date again after %d failed attempts", self.failures)
            self.failures = 0
        return put

    def run(self, stop: Stop) -> None:
        """Refresh the store until `stop` is set; retry while a store is unavailable."""
        with closing(self._ledger.wakeup(*map(region_log, self._followers))) as wakeup:
            pace = Pace(wakeup)
            while not stop.is_set():
                if self.attempt():
                    pace.restart()
                if self.failures:
                    stop.wait(PATIENCE.wait_s(self.failures, self._jitter()))
                else:
                    pace.wait(stop)

    def _refresh(self, region: str, follower: Follower) -> int:
        seen = follower.look()
        if seen is not None or region not in self._issues:
            self._issues[region] = self._newest(region)
        # However the log changed, only its newest issue matters; the store compares the number of the origin first.
        # It is asked even if the log did not change: a store that was emptied has to be filled again.
        number = seen.next.number if seen is not None else follower.place.number
        put = refresh(self._ledger, self._store, self._blobs, self._issues[region], number)
        if seen is not None:
            follower.move(Place(seen.next.number, seen.head.size))
        return put

    def _newest(self, region: str) -> list[Stored[ForecastIssued]]:
        try:
            return newest_issues(self._ledger, region_of(self._ledger, region))
        except NotFound:
            return []  # not bootstrapped yet
