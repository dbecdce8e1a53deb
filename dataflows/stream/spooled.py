"""Appends the spool in the process that has the signing key; failures never stop the other work of that process."""

import logging
from collections.abc import Callable

from dataflows.stream.stores import Stores
from ledger.store.spool import FOLDER
from ledger.store.spool_append import SpoolAppender
from schemas.errors import RidecastError

log = logging.getLogger(__name__)

RETRY_S = 10.0


class SpoolDuty:
    """Appends the spool of a home; while the ledger refuses, segments stay and the rest of the process continues.

    Args:
        stores: Open for writing.
        clock: Monotonic seconds; spaces the attempts after a failure.
    """

    def __init__(self, stores: Stores, clock: Callable[[], float]) -> None:
        self._appender = SpoolAppender(stores.ledger, stores.settings.home / FOLDER)
        self._clock = clock
        self._again_at = float("-inf")

    def step(self) -> int:
        """Append some segments; returns how many. An error is logged and retried after RETRY_S."""
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
                name = self._appender.set_aside.pop()
                log.error("spool: segment %s is damaged or holds a kind of record not allowed there; renamed to .damaged", name)
            while self._appender.foreign:
                log.error(
                    "spool: segment %s is for another ledger than this home has now; renamed to .foreign", self._appender.foreign.pop()
                )

    def close(self) -> None:
        """Release the spool for another process."""
        self._appender.close()
