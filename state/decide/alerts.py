"""The hub of alerts: what the log of alerts says so far. Its state is a fold of that log and nothing else.

`Hub.apply` takes each entry in order, so a hub that resumes at any entry is the one that was never interrupted.
What follows from the state, `state.decide.alert_decisions` answers; what it decides is appended and comes back as entries.
"""

from dataclasses import dataclass, field, replace

from schemas.records.records import (
    ALERTS_LOG,
    Acknowledged,
    AlertChanged,
    AlertOpened,
    AlertResolved,
    AlertSilenced,
    Record,
    SignalObserved,
)
from state.decide.alert_groups import US_PER_MIN, LiveSignal
from state.detect.signals import MACHINE, RANK, Severity

FLAP_MEMORY_US = 6 * 60 * US_PER_MIN  # a signal that fires again within this time of its end flaps
MOST_REFIRED = 8  # times that are kept per signal; more lengthen the wait for quiet no further
KINDS = (SignalObserved, AlertOpened, AlertChanged, AlertResolved, Acknowledged, AlertSilenced)  # what a hub folds
MOST_CLOSED = 200  # resolved alerts that are kept to be shown; the log has all


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as it is now.

    Attributes:
        shown: The newest record that describes it.
        opened: Index of the entry that opened it, by which it is acknowledged.
        opened_at_us: When it was opened.
        index: Of the newest entry about it.
        number: How many were opened before it.
        acknowledged: The newest acknowledgement, or None.
        resolved: How it ended, or None while it is open.
    """

    shown: AlertOpened | AlertChanged
    opened: int
    opened_at_us: int
    index: int
    number: int
    acknowledged: Acknowledged | None = None
    resolved: AlertResolved | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return self.shown.alert

    @property
    def last_us(self) -> int:
        """When one of its signals was last seen, as recorded."""
        return self.resolved.last_us if self.resolved else self.shown.last_us

    @property
    def state(self) -> str:
        """Open, acknowledged, silenced or resolved."""
        if self.resolved:
            return "resolved"
        return "silenced" if self.shown.silenced else "acknowledged" if self.acknowledged else "open"


@dataclass(slots=True)
class Hub:
    """What the log of alerts says.

    Attributes:
        signals: Live ones by key: those that fire, and those of open alerts.
        alerts: By id, in the order in which they were opened; of the resolved ones the newest.
        silences: In order, those that are replaced left out.
        opened: How many alerts were ever opened.
        slots: Newest slot of a region at which a signal was observed: what a watcher says of it again is known.
    """

    signals: dict[str, LiveSignal] = field(default_factory=dict)
    alerts: dict[str, Alert] = field(default_factory=dict)
    silences: dict[tuple[str, str, str], AlertSilenced] = field(default_factory=dict)
    opened: int = 0
    slots: dict[str, int] = field(default_factory=dict)
    _refired: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of signals that are no longer live
    _ended_us: dict[str, int] = field(default_factory=dict)  # the same: when they ended

    @property
    def open(self) -> list[Alert]:
        """Alerts that are not resolved, oldest first."""
        return [alert for alert in self.alerts.values() if alert.resolved is None]

    def ranked(self) -> list[Alert]:
        """Open alerts as people read them: the severest first, then the newest."""
        return sorted(self.open, key=lambda alert: (-RANK[Severity(alert.shown.severity)], -alert.opened))

    def apply(self, index: int, record: Record) -> None:
        """Fold one entry of the log of alerts; entries of other kinds change nothing."""
        match record:
            case SignalObserved():
                self._observe(index, record)
            case AlertOpened():
                self.alerts[record.alert] = Alert(record, index, record.at_us, index, self.opened)
                self.opened += 1
            case AlertChanged() if record.alert in self.alerts:
                self._change(index, record)
            case AlertResolved() if record.alert in self.alerts:
                self._resolve(index, record)
            case Acknowledged() if record.log == ALERTS_LOG:
                for name, alert in self.alerts.items():
                    if alert.opened == record.index:
                        self.alerts[name] = replace(alert, acknowledged=record)
            case AlertSilenced():
                self.silences[record.region, record.kind, record.subject] = record

    def silence_of(self, region: str, kind: str, subject: str, now_us: int) -> AlertSilenced | None:
        """A silence in force at a time of the machine's clock that matches; the one that ends last."""
        asked = (region, kind, subject)
        in_force = [(of, one) for of, one in self.silences.items() if one.until_us > now_us]
        matching = [one for of, one in in_force if all(want in ("", got) for want, got in zip(of, asked, strict=True))]
        return max(matching, key=lambda one: one.until_us, default=None)

    def _observe(self, index: int, seen: SignalObserved) -> None:
        key = f"{seen.source}/{seen.kind}/{seen.region}/{seen.subject}"
        before = self.signals.get(key)
        if seen.slot != MACHINE:
            self.slots[seen.region] = max(seen.slot, self.slots.get(seen.region, seen.slot))
        if before is None and not seen.firing:
            return  # it ends what was never opened, or is over already
        self.signals[key] = LiveSignal(
            key=key,
            kind=seen.kind,
            region=seen.region,
            subject=seen.subject,
            first_us=min(seen.seen_at_us, before.first_us) if before else seen.seen_at_us,
            last_us=max(seen.seen_at_us, before.last_us) if before else seen.seen_at_us,
            ended_us=-1 if seen.firing else seen.seen_at_us,
            rank=max(RANK[Severity(seen.severity)], before.rank if before else 0),
            clock="" if seen.slot == MACHINE else seen.region,
            message=seen.message if seen.firing or before is None else before.message,
            cells=tuple(sorted({*seen.cells, *(before.cells if before else ())})),
            refired=self._refired_by(key, before, seen),
            index=index,
            evidence=tuple((one.log, one.first, one.last) for one in seen.evidence),
        )

    def _refired_by(self, key: str, before: LiveSignal | None, seen: SignalObserved) -> tuple[int, ...]:
        """When the signal fired again, with this observation."""
        kept = before.refired if before else self._refired.pop(key, ())
        ended_us = before.ended_us if before else self._ended_us.pop(key, -1)
        recent = tuple(at_us for at_us in kept if seen.seen_at_us - at_us <= FLAP_MEMORY_US)
        again = seen.firing and ended_us >= 0 and seen.seen_at_us - ended_us <= FLAP_MEMORY_US
        return (*recent, seen.seen_at_us)[-MOST_REFIRED:] if again else recent

    def _change(self, index: int, record: AlertChanged) -> None:
        before = self.alerts[record.alert]
        self.alerts[record.alert] = replace(before, shown=record, index=index)
        listed = {key for alert in self.open for key in alert.shown.signals}
        for key in before.shown.signals:
            if key not in listed and key in self.signals and not self.signals[key].firing:
                self._forget(self.signals.pop(key))

    def _resolve(self, index: int, record: AlertResolved) -> None:
        alert = replace(self.alerts[record.alert], resolved=record, index=index)
        self.alerts[record.alert] = alert
        if not record.into:
            for key in alert.shown.signals:
                signal = self.signals.pop(key, None)
                if signal is not None:
                    self._forget(signal)
        closed = [one.id for one in self.alerts.values() if one.resolved is not None]
        for name in closed[:-MOST_CLOSED]:
            del self.alerts[name]

    def _forget(self, signal: LiveSignal) -> None:
        """Keep of a signal that is over only how it flapped, and of that only what still counts."""
        self._refired[signal.key], self._ended_us[signal.key] = signal.refired, signal.ended_us
        for key in [key for key, at_us in self._ended_us.items() if abs(signal.ended_us - at_us) > FLAP_MEMORY_US]:
            del self._refired[key], self._ended_us[key]


def fold_alert(hub: Hub, index: int, record: Record) -> Hub:
    """The hub after one more entry; it is the same object, changed."""
    hub.apply(index, record)
    return hub
