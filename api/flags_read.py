"""The feature flags in the API, as the control log defines them now."""

import threading

from ledger.store.log import Ledger
from ledger.views.parameters import flags_at
from schemas.records.records import CONTROL_LOG
from state.decide.known_flags import Flags, known_flags


class FlagsRead:
    """The flags as they were last read; threads may share it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._lock = ledger, threading.Lock()
        self._seen: tuple[int, bytes] = (-1, b"")  # size and root of the control log
        self._flags: Flags = {}

    def latest(self) -> Flags:
        """Key -> flag, by the control log as it is now."""
        head = self._ledger.head(CONTROL_LOG)
        with self._lock:
            if (head.size, head.root) != self._seen:
                self._flags = known_flags((one.index, one.record) for one in flags_at(self._ledger, head.size).values())
                self._seen = head.size, head.root
            return self._flags
