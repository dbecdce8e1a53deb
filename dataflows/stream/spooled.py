"""The spool in the process that holds the key: appended beside its other work, which it never stops."""

import logging
from collections.abc import Callable

from dataflows.stream.stores import Stores
from ledger.store.spool import FOLDER
from ledger.store.spool_append import SpoolAppender
from schemas.errors import RidecastError

log = logging.getLogger(__name__)

RETRY_S = 10.0


class SpoolDuty:
    """Appends what the spool of a home holds; while the ledger refuses, segments stay and the rest of the process goes on.

    Args:
        stores: Open for writing.
        clock: Monotonic seconds; spaces the attempts after a failure.
    """

    def __init__(self, stores: Stores, clock: Callable[[], float]) -> None:
        self._appender = SpoolAppender(stores.ledger, stores.settings.home / FOLDER)
        self._clock = clock
        self._again_at = float("-inf")

    def step(self) -> int:
        """Append some segments; returns how many. An error is logged, and the next attempt is made after a while."""
        if self._clock() < self._again_at:
            return 0
        try:
            return self._appender.step()
        except RidecastError as cause:
            log.error("spool: %s; trying again in %.0f s", cause, RETRY_S)
            self._again_at = self._clock() + RETRY_S
            return 0
        finally:
            while self._appender.set_aside:
                log.error("spool: segment %s is damaged, or holds what may not be said there: set aside", self._appender.set_aside.pop())

    def close(self) -> None:
        """Leave the spool to another process."""
        self._appender.close()
