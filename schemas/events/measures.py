"""Measures of demand: each is one row of a table, named in every record, chunk and query."""

from dataclasses import dataclass
from enum import StrEnum

from schemas.errors import UsageError


class RideKind(StrEnum):
    """The kind of a ride event, in the order of the event schema's symbols."""

    REQUESTED = "requested"
    ACCEPTED = "accepted"
    STARTED = "started"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    UNSERVED = "unserved"


KINDS: tuple[RideKind, ...] = tuple(RideKind)


class Says(StrEnum):
    """What the events of a measure say; features of one measure see the others in these groups."""

    DEMAND = "demand"
    END = "end"
    UNMET = "unmet"


@dataclass(frozen=True, slots=True)
class Measure:
    """One way to count.

    Attributes:
        kind: Of the events that add one ride.
        meaning: Description.
        says: What its events say.
        at_end: A ride counts where it ended, and not at its place of pickup.
    """

    name: str
    kind: RideKind
    meaning: str
    says: Says = Says.DEMAND
    at_end: bool = False


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("requests", RideKind.REQUESTED, "distinct rides requested; a cancellation does not subtract"),
        Measure("pickups", RideKind.STARTED, "trips started; for histories that hold only completed trips"),
        Measure("dropoffs", RideKind.COMPLETED, "trips completed, where they ended", Says.END, at_end=True),
        Measure("cancellations", RideKind.CANCELLED, "rides cancelled, at their place of pickup", Says.UNMET),
        Measure("unserved", RideKind.UNSERVED, "requests that no driver served, at their place of pickup", Says.UNMET),
    )
}


def measure_named(name: str) -> Measure:
    """The measure of that name.

    Raises:
        UsageError: there is no such measure.

    >>> measure_named("pickups").kind
    <RideKind.STARTED: 'started'>
    """
    if name not in MEASURES:
        raise UsageError(f"measure: expected one of {', '.join(MEASURES)}, got {name!r}")
    return MEASURES[name]
