"""The hub of alerts in the API: folded on from the entries that were appended since it was last read."""

import threading
from collections import Counter

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
        self._counts: dict[tuple[str, str, str], int] = {}

    @property
    def counts(self) -> dict[tuple[str, str, str], int]:
        """Open alerts by region, severity and state, as last read; asks no store."""
        return self._counts

    def refresh(self) -> None:
        """Read what was appended. May wait for the ledger."""
        with self._lock:
            found = self._log.latest().open
            self._counts = dict(Counter((one.shown.region, one.shown.severity, one.state) for one in found))

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
