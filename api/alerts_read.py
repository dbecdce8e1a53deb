"""The hub of alerts in the API: folded on from the entries that were appended since it was last read."""

import threading

from ledger.store.log import Ledger
from schemas.records.records import ALERTS_LOG
from schemas.times import iso
from state.decide.alert_document import as_json
from state.decide.alerts import Hub


class AlertsRead:
    """The hub as it was last read; threads may share it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._lock = ledger, threading.Lock()
        self._hub, self._size, self._number = Hub(), 0, 0

    def listed(self) -> list[dict[str, object]]:
        """Open alerts, the severest first, then the newest."""
        with self._lock:
            number = self._ledger.number(ALERTS_LOG)
            if number != self._number or self._ledger.head(ALERTS_LOG).size < self._size:
                self._hub, self._size, self._number = Hub(), 0, number
            for stored in self._ledger.scan(ALERTS_LOG, self._size):
                self._hub.apply(stored.index, stored.record)
                self._size = stored.index + 1
            return [as_json(alert, iso) for alert in self._hub.ranked()]
