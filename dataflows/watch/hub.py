"""The hub of alerts over an open ledger: folds the log of alerts, appends signals, and what they make of alerts.

Every append names the size that it expects, so several processes may write the log: who comes second reads what the first
wrote and decides again.
"""

from collections.abc import Callable, Mapping, Sequence

from ledger.store.log import Ledger
from ledger.views.folded import Folded
from schemas.errors import NotFound
from schemas.records.records import ALERTS_LOG, Acknowledged, AlertSilenced, Cited, Record, SignalObserved
from state.decide.alert_decisions import decide
from state.decide.alerts import KINDS, Alert, Hub, fold_alert
from state.detect.signals import MACHINE, Signal


class HubLog:
    """The hub of one ledger, as up to date as it was last read.

    Args:
        ledger: Open; for writing if anything is appended.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._folded = Folded(ledger, ALERTS_LOG, Hub, fold_alert, KINDS)
        self.hub = Hub()

    def read(self) -> Hub:
        """The hub after the log as it is now."""
        self.hub = self._folded.latest()
        return self.hub

    def observe(self, signals: Sequence[Signal], clocks: Mapping[str, int]) -> int:
        """Append the signals that are not known yet, and what is owed at these times; returns how many signals were new.

        Args:
            clocks: As in `state.decide.alert_decisions.decide`.
        """
        told = 0

        def unknown(hub: Hub) -> list[Record]:
            nonlocal told
            found: list[Record] = [
                as_record(one) for one in signals if one.slot == MACHINE or one.slot > hub.slots.get(one.region, MACHINE)
            ]
            told = len(found)
            return found

        self.append(unknown)
        self.append(lambda hub: decide(hub, clocks))
        return told

    def append(self, owed: Callable[[Hub], Sequence[Record]]) -> None:
        """Append what follows from the hub as the log says it, however often another process appends first."""
        self._folded.append(owed)
        self.read()

    def alert(self, digits: str) -> Alert:
        """The alert whose id begins so.

        Raises:
            NotFound: none does, or several do.
        """
        found = [alert for name, alert in self.read().alerts.items() if digits and name.startswith(digits)]
        if len(found) != 1:
            known = ", ".join(alert.id for alert in found or self.hub.open) or "none"
            which = "these" if found else "open"
            raise NotFound(f"alert {digits!r}: expected the beginning of one id, found {len(found)}; {which}: {known}")
        return found[0]

    def acknowledge(self, digits: str, outcome: str, author: str, at_us: int) -> Alert:
        """Record that somebody has seen or handled an alert."""
        opened = self.alert(digits).opened
        made = Acknowledged(log=ALERTS_LOG, index=opened, outcome=outcome, subject=author, acknowledged_at_us=at_us)
        self.append(lambda hub: [made] if all(alert.acknowledged != made for alert in hub.alerts.values()) else [])
        return self.alert(digits)

    def silence(self, silence: AlertSilenced) -> None:
        """Record a silence, and which alerts it changes."""
        of = silence.region, silence.kind, silence.subject
        self.append(lambda hub: [silence] if hub.silences.get(of) != silence else [])
        self.append(lambda hub: decide(hub, {"": silence.at_us}))


def as_record(signal: Signal) -> SignalObserved:
    """A signal as the log holds it: numbers as text with six digits, evidence only where there is some."""
    log, first, last = signal.evidence
    return SignalObserved(
        region=signal.region,
        slot=signal.slot,
        source=signal.source,
        kind=signal.kind,
        subject=signal.subject,
        since_slot=signal.since_slot,
        seen_at_us=signal.seen_at_us,
        severity=str(signal.severity),
        firing=signal.firing,
        value=f"{signal.value:.6g}",
        threshold=f"{signal.threshold:.6g}",
        unit=signal.unit,
        message=signal.message,
        cells=tuple(signal.cells),
        evidence=(Cited(log=log, first=first, last=last),) if log else (),
    )
