"""What the hub of alerts owes its log: alerts to open, to change and to resolve, as a pure function of its state and the times.

One alert per group of live signals (`state.decide.alert_groups`). An alert whose root turns out to have a deeper cause is
rooted again under its own id; alerts that turn out to have one cause become one. It is resolved when all its signals have
ended and stayed quiet; the more often they fired again, the longer. Deciding twice without a new entry decides nothing new
once the first decision is appended.
"""

import hashlib
from collections.abc import Mapping

from schemas.records.records import ALERTS_LOG, AlertChanged, AlertOpened, AlertResolved, Cited
from state.decide.alert_groups import US_PER_MIN, Group, LiveSignal, grouped
from state.decide.alerts import Alert, Hub
from state.detect.signals import Severity

QUIET_US = 15 * US_PER_MIN  # three slots without a signal
LONGEST_QUIET_US = 4 * 60 * US_PER_MIN
FREE_REFIRES = 1  # a signal may fire again once before its alert waits longer
ID_LETTERS = 12
SEVERITIES = tuple(Severity)

Decision = AlertOpened | AlertChanged | AlertResolved


def decide(hub: Hub, clocks: Mapping[str, int]) -> list[Decision]:
    """Every record that is owed, in the order in which it is to be appended.

    Args:
        clocks: Time by region, the end of its newest closed slot, and under "" the machine's; microseconds since the epoch. What
            is missing stands still: alerts of a region without a time stay as they are.
    """
    groups = grouped(hub.signals.values())
    taken: dict[str, Alert] = {}  # key of a group's root -> the alert that shows the group
    over: list[Decision] = []
    group_of = {key: group for group in groups for key in group.keys}
    for alert in hub.open:
        group = next((group_of[key] for key in (alert.shown.root, *alert.shown.signals) if key in group_of), None)
        if group is None:  # all that it was about is over, or is part of others
            over.append(AlertResolved(alert=alert.id, reason="quiet", into="", last_us=alert.shown.last_us, at_us=alert.shown.at_us))
        elif group.root.key in taken:
            into, at_us = taken[group.root.key].id, _now(group.root, clocks)
            over.append(AlertResolved(alert=alert.id, reason="merged", into=into, last_us=alert.shown.last_us, at_us=at_us))
        else:
            taken[group.root.key] = alert
    found: list[Decision] = []
    opened = hub.opened
    for group in groups:
        shown = taken.get(group.root.key)
        if shown is None:
            if any(one.firing for one in group.signals):
                found.append(_opened(hub, group, opened, clocks))
                opened += 1
        elif _is_quiet(group, clocks):
            found.append(_resolved(shown, group, clocks))
        elif (change := _changed(hub, shown, group, clocks)) is not None:
            found.append(change)
    return found + over


def quiet_us(signal: LiveSignal) -> int:
    """How long a signal must stay quiet before its alert is resolved; doubles each time that it fired again."""
    doublings = max(0, len(signal.refired) - FREE_REFIRES)
    return int(min(QUIET_US << doublings, LONGEST_QUIET_US))


def _now(signal: LiveSignal, clocks: Mapping[str, int]) -> int:
    return max(clocks.get(signal.clock, signal.last_us), signal.last_us)


def _is_quiet(group: Group, clocks: Mapping[str, int]) -> bool:
    return all(not one.firing and clocks.get(one.clock, 0) - one.ended_us >= quiet_us(one) for one in group.signals)


def _resolved(alert: Alert, group: Group, clocks: Mapping[str, int]) -> AlertResolved:
    last_us = max(one.last_us for one in group.signals)
    return AlertResolved(alert=alert.id, reason="quiet", into="", last_us=last_us, at_us=_now(group.root, clocks))


def _opened(hub: Hub, group: Group, number: int, clocks: Mapping[str, int]) -> AlertOpened:
    root = group.root
    name = hashlib.sha256(f"{number}/{root.key}/{root.first_us}".encode()).hexdigest()[:ID_LETTERS]
    return AlertOpened(
        alert=name,
        region=root.region,
        kind=root.kind,
        subject=root.subject,
        severity=_severity(group),
        message=root.message,
        root=root.key,
        signals=group.keys,
        first_us=min(one.first_us for one in group.signals),
        last_us=max(one.last_us for one in group.signals),
        silenced=_silenced(hub, root, clocks, before=False),
        evidence=_evidence(root),
        at_us=_now(root, clocks),
    )


def _changed(hub: Hub, alert: Alert, group: Group, clocks: Mapping[str, int]) -> AlertChanged | None:
    before, root = alert.shown, group.root
    severity, silenced = _severity(group), _silenced(hub, root, clocks, before=before.silenced)
    changed = {
        "cause": root.key != before.root,
        "severity": severity != before.severity,
        "signals": set(group.keys) != set(before.signals),
        "silence": silenced != before.silenced,
    }
    if not any(changed.values()):
        return None
    return AlertChanged(
        alert=alert.id,
        changed=tuple(what for what, is_so in changed.items() if is_so),
        region=root.region,
        kind=root.kind,
        subject=root.subject,
        severity=severity,
        message=root.message,
        root=root.key,
        signals=group.keys,
        first_us=min(before.first_us, *(one.first_us for one in group.signals)),
        last_us=max(one.last_us for one in group.signals),
        silenced=silenced,
        evidence=_evidence(root),
        at_us=_now(root, clocks),
    )


def _severity(group: Group) -> str:
    return str(SEVERITIES[max(one.rank for one in group.signals)])


def _silenced(hub: Hub, root: LiveSignal, clocks: Mapping[str, int], *, before: bool) -> bool:
    if "" not in clocks:  # silences are in the machine's time; without it all stays as it was
        return before
    return hub.silence_of(root.region, root.kind, root.subject, clocks[""]) is not None


def _evidence(root: LiveSignal) -> tuple[Cited, ...]:
    """The observation in the log of alerts, then the records that it was seen in."""
    return (Cited(log=ALERTS_LOG, first=root.index, last=root.index), *(Cited(log=log, first=a, last=b) for log, a, b in root.evidence))
