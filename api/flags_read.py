"""The feature flags in the API, folded on from the entries that were appended since they were last read."""

import threading

from ledger.store.log import Ledger
from ledger.views.folded import Folded
from schemas.records.records import CONTROL_LOG, FlagSet
from state.decide.known_flags import Flags, fold_flag


class FlagsRead:
    """The flags as they were last read; threads may share it."""

    def __init__(self, ledger: Ledger) -> None:
        self._lock = threading.Lock()
        self._log: Folded[Flags] = Folded(ledger, CONTROL_LOG, dict, fold_flag, [FlagSet])

    def latest(self) -> Flags:
        """Key -> flag, by the control log as it is now."""
        with self._lock:
            return self._log.latest()
