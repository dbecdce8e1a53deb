"""Keeps what is answered from memory up to date with the ledger, in one thread outside the path of requests."""

import logging
from contextlib import closing, suppress

from api.context import ApiContext
from api.explanations import prepare
from ledger.views.follow import Pace, Stop
from schemas.errors import RidecastError, StoreUnavailable
from schemas.records.records import region_log

log = logging.getLogger(__name__)

RETRY_S = 2.0  # after an error
SIZES_EVERY_S = 5.0  # Prometheus asks every 15 s
MOST_LOAD = 0.1  # share of the time spent preparing while history is replayed, where each issue is superseded at once


class Watcher:
    """Follows the logs of all regions.

    Args:
        context: Whose views and newest issues are refreshed.
    """

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._next_sizes_s = 0.0
        self._failed: dict[str, str] = {}  # region -> its last error, to log it once

    def round(self) -> bool:
        """Refresh every region once; returns whether all were read."""
        for name in self._context.regions:
            try:
                view = self._context.refresh(name)
                if view is not None:
                    prepare(self._context, view)
            except Exception as cause:  # Whatever one region raises, the others are served.
                if self._failed.get(name) != str(cause):
                    trace = None if isinstance(cause, RidecastError) else cause
                    said = "region %s: cannot be read: %s; it is served as it was last read, and read again"
                    log.error(said, name, cause, exc_info=trace)
                self._failed[name] = str(cause)
            else:
                if self._failed.pop(name, None) is not None:
                    log.info("region %s: read again", name)
        with suppress(StoreUnavailable):
            self._context.read_standings()
        if self._context.monotonic() >= self._next_sizes_s:
            self._next_sizes_s = self._context.monotonic() + SIZES_EVERY_S
            with suppress(StoreUnavailable):
                self._context.read_sizes()
                self._context.read_notices()
        return not self._failed

    def run(self, stop: Stop) -> None:
        """Refresh until `stop` is set."""
        with closing(self._context.ledger.wakeup(*map(region_log, self._context.regions))) as wakeup:
            pace = Pace(wakeup)
            while not stop.is_set():
                spent_s = self._context.monotonic()
                read = self.round()
                spent_s = self._context.monotonic() - spent_s
                if not read:
                    stop.wait(RETRY_S)
                else:
                    stop.wait(min(RETRY_S, spent_s * (1 / MOST_LOAD - 1)))
                    pace.wait(stop)
