"""An alert as plain values, the same in the API, on the command line and in what webhooks receive."""

from collections.abc import Callable

from state.decide.alerts import Alert


def as_json(alert: Alert, iso: Callable[[int], str]) -> dict[str, object]:
    """Its members by name.

    Args:
        iso: Writes a time in microseconds as text.
    """
    shown, handled, resolved = alert.shown, alert.acknowledged, alert.resolved
    return {
        "alert": alert.id,
        "state": alert.state,
        "severity": shown.severity,
        "region": shown.region,
        "kind": shown.kind,
        "subject": shown.subject,
        "message": shown.message,
        "root": shown.root,
        "signals": list(shown.signals),
        "first_seen": iso(shown.first_us),
        "last_seen": iso(alert.last_us),
        "opened_at": iso(alert.opened_at_us),
        "resolved_at": iso(resolved.at_us) if resolved else None,
        "resolved_by": resolved.reason if resolved else "",
        "merged_into": resolved.into if resolved else "",
        "acknowledged": handled.outcome if handled else "",
        "acknowledged_by": handled.subject if handled else "",
        "index": alert.opened,
        "evidence": [{"log": one.log, "first": one.first, "last": one.last} for one in shown.evidence],
    }
