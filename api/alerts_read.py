"""The hub of alerts in the API: folded on from the entries that were appended since it was last read."""

import threading

from ledger.store.log import Ledger
from ledger.views.folded import Folded
from schemas.records.records import ALERTS_LOG
from schemas.times import iso
from state.decide.alert_document import as_json
from state.decide.alerts import KINDS, Hub, fold_alert


class AlertsRead:
    """The hub as it was last read; threads may share it."""

    def __init__(self, ledger: Ledger) -> None:
        self._lock = threading.Lock()
        self._log = Folded(ledger, ALERTS_LOG, Hub, fold_alert, KINDS)

    def listed(self, *, resolved: bool = False) -> list[dict[str, object]]:
        """Open alerts, the severest first, then the newest; or the newest resolved ones, the latest first."""
        with self._lock:
            hub = self._log.latest()
            closed = [alert for alert in reversed(hub.alerts.values()) if alert.resolved is not None]
            return [as_json(alert, iso) for alert in (closed if resolved else hub.ranked())]

    def one(self, name: str) -> dict[str, object] | None:
        """The alert of this id, open or among the newest resolved ones; None if there is none."""
        with self._lock:
            alert = self._log.latest().alerts.get(name)
            return None if alert is None else as_json(alert, iso)
