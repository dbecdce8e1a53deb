"""A signal: what a detector or a probe says about one subject at one time, and whether it still holds.

Detectors only say what they see. Which signals belong to one cause, and whom that concerns, `state.decide` answers.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from schemas.errors import ContractError

MACHINE = -1  # instead of a slot: the signal is about the machine, whose time is the clock and not the events'


class Severity(StrEnum):
    """How much a signal or an alert concerns a person."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Signal:
    """One observation that something is unusual, or that it no longer is.

    A detector says a signal when it starts to fire, and again with `firing` False when it stops. Between the two it
    says it again only if severity, cells or the estimated start change.

    Attributes:
        source: The detector or probe, as its table names it.
        kind: What is unusual, of few words that people search for: "outage", "surge", "duplicates".
        region: The region, or "" for the whole instance.
        subject: What it is about: "region", "partition:3", "source:app-7", "cells", "feature:level_15", "band:busy", "broker".
        slot: Start of the slot, in slots since the epoch, at whose close it was seen; MACHINE without event time.
        since_slot: Estimated start of the change, at most `slot`.
        seen_at_us: Microseconds since the epoch: the end of the slot, or the clock of what watches the machine.
        severity: How much it concerns a person.
        firing: Whether it holds; False ends it.
        value, threshold: What was seen, and from where on it is unusual, in `unit`.
        unit: Of the two: "rides", "share", "slots", "s", "log odds".
        message: One sentence for a person, with the numbers.
        cells: Cells that it concerns, in order; empty if it is not about cells.
        evidence: Log and indexes of the records it was seen in: ("region/nyc", first, last).
    """

    source: str
    kind: str
    region: str
    subject: str
    slot: int
    since_slot: int
    seen_at_us: int
    severity: Severity
    firing: bool
    value: float
    threshold: float
    unit: str
    message: str
    cells: tuple[str, ...] = ()
    evidence: tuple[str, int, int] = ("", -1, -1)

    def __post_init__(self) -> None:
        if self.since_slot > self.slot:
            raise ContractError(f"signal {self.key}: starts at slot {self.since_slot}, after slot {self.slot} at which it was seen")

    @property
    def key(self) -> str:
        """What makes two signals the same one at two times.

        >>> Signal("silence", "outage", "nyc", "partition:3", 9, 7, 0, Severity.CRITICAL, True, 0.0, 4.0, "rides", "None came.").key
        'silence/outage/nyc/partition:3'
        """
        return f"{self.source}/{self.kind}/{self.region}/{self.subject}"


RANK: MappingProxyType[Severity, int] = MappingProxyType({severity: rank for rank, severity in enumerate(Severity)})


def fields_of(signal: Signal) -> dict[str, Any]:
    """A signal as a record holds it: names and plain values.

    >>> fields_of(Signal("a", "b", "", "c", MACHINE, MACHINE, 5, Severity.INFO, False, 1.0, 2.0, "s", "Late."))["severity"]
    'info'
    """
    return {name: getattr(signal, name) for name in Signal.__slots__} | {"severity": str(signal.severity)}
