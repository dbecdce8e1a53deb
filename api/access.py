"""Access counts: responses are counted in memory and spooled once a second, outside the path of requests.

Nothing that identifies a person is counted: only an opaque subject, the operation, a served region, the status. Counts
since the last second are lost if the process is killed.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from starlette.requests import Request

from ledger.store.spool import Spool
from ledger.views.follow import Stop
from schemas.errors import RidecastError
from schemas.records.api_records import AccessCount, AccessesCounted
from schemas.records.record_codec import encode
from schemas.regions import US_PER_S

log = logging.getLogger(__name__)

ANONYMOUS = "anonymous"
SPOOL_EVERY_S = 1.0
MOST_ROWS = 2_000  # different rows in one second; others are counted as dropped
ROWS_PER_RECORD = 400  # an entry has at most 65,535 bytes, a row of the longest names 150
WARN_EVERY_FAILURES = 60  # once a minute


def subject_of(request: Request) -> str:
    """Opaque id of the API key of a request: there are no API keys yet, so every request is anonymous."""
    return ANONYMOUS


class AccessCounter:
    """Counts responses; thread-safe.

    Args:
        spool: Destination of the counts.
        regions: Regions that are served: other names are untrusted input and are not recorded.
        clock: Seconds since 1970, UTC.
    """

    def __init__(self, spool: Spool, regions: Sequence[str], clock: Callable[[], float]) -> None:
        self._spool, self._regions, self._clock = spool, frozenset(regions), clock
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str, str, int]] = Counter()
        self._dropped = 0
        self._from_us = self._now_us()
        self._failures = 0

    def count(self, request: Request, operation: str, status: int) -> None:
        """Count one response."""
        region = request.path_params.get("region", "")
        row = subject_of(request), operation, region if region in self._regions else "", status
        with self._lock:
            if row in self._counts or len(self._counts) < MOST_ROWS:
                self._counts[row] += 1
            else:
                self._dropped += 1

    def spool_counts(self) -> None:
        """Spool the counts since the last call; if that fails they are dropped, and the next record has their number."""
        now_us = self._now_us()
        with self._lock:
            counts, self._counts = self._counts, Counter()
            dropped, self._dropped = self._dropped, 0
        if not counts:
            self._dropped_again(dropped)
            return
        rows = [
            AccessCount(subject=subject, operation=operation, region=region, status=status, count=count)
            for (subject, operation, region, status), count in sorted(counts.items())
        ]
        records = [
            AccessesCounted(
                from_us=self._from_us, until_us=now_us, dropped=0 if start else dropped, counts=tuple(rows[start : start + ROWS_PER_RECORD])
            )
            for start in range(0, len(rows), ROWS_PER_RECORD)
        ]
        try:
            self._spool.put([encode(record) for record in records])
            self._failures, self._from_us = 0, now_us
        except RidecastError as cause:
            self._dropped_again(dropped + counts.total())
            if self._failures % WARN_EVERY_FAILURES == 0:
                log.warning("access counts are not recorded: %s", cause)
            self._failures += 1

    def run(self, stop: Stop) -> None:
        """Spool once a second until `stop` is set, then spool the rest."""
        while not stop.wait(SPOOL_EVERY_S):
            self.spool_counts()
        self.spool_counts()

    def _dropped_again(self, count: int) -> None:
        with self._lock:
            self._dropped += count

    def _now_us(self) -> int:
        return int(self._clock() * US_PER_S)
