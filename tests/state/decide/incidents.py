"""Incidents for the hub of alerts: a cause and its symptoms, in random order and with delays, some before the cause."""

import random
from collections.abc import Iterable, Sequence

from schemas.records.records import Cited, Record, SignalObserved
from state.decide.alert_causes import CAUSES, explained_by
from state.decide.alert_decisions import Decision, decide
from state.decide.alert_groups import US_PER_MIN
from state.decide.alerts import Hub
from state.detect.signals import Severity

DAY_US = 24 * 60 * US_PER_MIN
WHOLE = {"disk", "clock", "key", "broker", "database", "ledger", "redis", "online store", "mlflow", "api"}  # of the instance


def seen(
    kind: str, at_us: int, *, firing: bool = True, region: str = "nyc", subject: str = "region", severity: str = "warning"
) -> SignalObserved:
    """An observation by a detector of its kind; of the machine for kinds of the whole instance."""
    whole = kind in WHOLE
    return SignalObserved(
        region="" if whole else region,
        slot=-1 if whole else at_us // (5 * US_PER_MIN),
        source=f"watch {kind}",
        kind=kind,
        subject=subject,
        since_slot=-1 if whole else at_us // (5 * US_PER_MIN),
        seen_at_us=at_us,
        severity=severity,
        firing=firing,
        value="1",
        threshold="0.5",
        unit="share",
        message=f"{kind} of {subject}.",
        cells=(),
        evidence=(Cited(log="region/nyc", first=1, last=2),),
    )


def incident(rng: random.Random, start_us: int) -> tuple[str, list[SignalObserved]]:
    """Key of a root cause, and 3 to 41 observations that begin, in the order of their times; then those that end."""
    cause = rng.choice([kind for kind in CAUSES if len(explained_by(kind)) >= 2])
    root = seen(cause, start_us, severity="critical")
    fired: dict[str, SignalObserved] = {}
    wanted = rng.randint(2, 40)
    while len(fired) < wanted:
        kind = rng.choice(sorted(explained_by(cause)))
        subject = rng.choice(("region", *(f"partition:{n}" for n in range(40))))
        delay_us = rng.randint(-8, 18) * US_PER_MIN
        severity = rng.choice(list(Severity))
        fired.setdefault(f"{kind}/{subject}", seen(kind, start_us + delay_us, subject=subject, severity=severity))
    begun = sorted([root, *fired.values()], key=lambda one: (one.seen_at_us, rng.random()))
    ended = []
    for one in begun:
        at_us = start_us + rng.randint(40, 90) * US_PER_MIN
        ended.append(seen(one.kind, at_us, firing=False, subject=one.subject, severity=one.severity))
    key = f"{root.source}/{root.kind}/{root.region}/{root.subject}"
    return key, begun + sorted(ended, key=lambda one: one.seen_at_us)


class Told:
    """A hub with its log: observations go in, decisions come out, both are entries."""

    def __init__(self) -> None:
        self.hub, self.log = Hub(), list[Record]()

    def tell(self, records: Iterable[Record], clocks: dict[str, int] | None = None) -> list[Decision]:
        """Append, and decide until nothing is owed."""
        made: list[Decision] = []
        for record in records:
            self._append(record)
            at_us = record.seen_at_us if isinstance(record, SignalObserved) else 0
            made += self.decide({"": at_us, "nyc": at_us} if clocks is None else clocks)
        return made

    def decide(self, clocks: dict[str, int]) -> list[Decision]:
        """Append what is owed at these times; a second look owes nothing."""
        made = decide(self.hub, clocks)
        for record in made:
            self._append(record)
        return made

    def _append(self, record: Record) -> None:
        self.hub.apply(len(self.log), record)
        self.log.append(record)


def folded(log: Sequence[Record], hub: Hub | None = None, start: int = 0) -> Hub:
    """The hub after a log."""
    hub = hub or Hub()
    for index, record in enumerate(log[start:], start):
        hub.apply(index, record)
    return hub
