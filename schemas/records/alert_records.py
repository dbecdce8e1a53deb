"""Records of the hub of alerts, in the `alerts` log: what was observed, and what became an alert.

An acknowledgement of an alert is an `Acknowledged` (`schemas.records.api_records`) of the entry that opened it. Wall-clock time
is allowed here, because no close cites this log.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited:
    """Entries [first, last] of a log."""

    log: str
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalObserved:
    """A detector or a probe said this signal; see `state.detect.signals`."""

    region: str  # empty for the whole instance
    slot: int  # at whose close it was seen; -1 if it is about the machine
    source: str
    kind: str
    subject: str
    since_slot: int
    seen_at_us: int
    severity: str
    firing: bool
    value: str  # with six digits
    threshold: str
    unit: str
    message: str
    cells: tuple[str, ...]
    evidence: tuple[Cited, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertOpened:
    """Signals were found that no open alert explains. It shows its root cause: the signal that explains the others."""

    alert: str  # its id
    region: str  # of the root cause; empty for the whole instance
    kind: str
    subject: str
    severity: str  # the highest of its signals
    message: str  # of the root cause
    root: str  # key of the root cause
    signals: tuple[str, ...]  # keys of all, the root cause first
    first_us: int  # when the earliest was first seen
    last_us: int  # when one was last seen
    silenced: bool
    evidence: tuple[Cited, ...]  # of the root cause
    at_us: int  # of the decision, by the clock of the root cause


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertChanged:
    """An open alert as it is from now on, and which parts of it changed."""

    alert: str
    changed: tuple[str, ...]  # cause, severity, signals, silence
    region: str
    kind: str
    subject: str
    severity: str
    message: str
    root: str
    signals: tuple[str, ...]
    first_us: int
    last_us: int
    silenced: bool
    evidence: tuple[Cited, ...]
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertResolved:
    """An alert is over: all its signals ended and stayed so, or another alert has taken them over."""

    alert: str
    reason: str  # quiet or merged
    into: str  # the alert that it became part of; empty if it was not merged
    last_us: int
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSilenced:
    """Until a time, nobody is told of alerts that match. The same matchers with a time in the past end a silence."""

    region: str  # empty matches every region
    kind: str  # the same
    subject: str  # the same
    until_us: int
    author: str
    reason: str
    at_us: int
