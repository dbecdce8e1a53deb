"""Differences between a place that was filled from the ledger and the ledger, as values; and what is left of them on a second look."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class PlaceName(StrEnum):
    """Where what is derived from the ledger is kept."""

    ONLINE = "online"  # the online store
    TOPIC = "topic"  # the published topic of forecasts
    REGISTRY = "registry"  # MLflow: runs, versions, aliases
    SNAPSHOTS = "snapshots"  # of the state of regions


class Reason(StrEnum):
    """How a place differs from the ledger."""

    MISSING = "missing"  # the ledger has it, the place does not
    ADDED = "added"  # the place has it, the ledger does not
    CHANGED = "changed"  # it can be read, and says something else
    DAMAGED = "damaged"  # it cannot be read: truncated, of another type, or not what it should be
    STALE = "stale"  # an issue older than the newest
    AHEAD = "ahead"  # an issue at an index that the ledger does not have
    OTHER_LEDGER = "other ledger"  # an issue that this ledger does not have at its index
    EXPIRES = "expires"  # it would be removed by itself, and must not


# Whoever reads the place is served a number that the ledger contradicts; with the others a number is missing or late.
CONTRADICTIONS = frozenset((Reason.ADDED, Reason.CHANGED, Reason.AHEAD, Reason.OTHER_LEDGER))
SERVING = frozenset((PlaceName.ONLINE, PlaceName.TOPIC))  # places from which numbers are served


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    Attributes:
        place: Where.
        region: Of which region; empty if of none.
        key: Of what, in words: key of a store or of a topic, and the part of it.
        reason: How it differs.
        expected, got: In words, as short as they can be told apart.
        cells: Cells whose numbers are concerned, as geohashes, in order; few are kept.
    """

    place: PlaceName
    region: str
    key: str
    reason: Reason
    expected: str
    got: str
    cells: tuple[str, ...] = ()

    @property
    def contradicts(self) -> bool:
        """Whether a served number contradicts the ledger.

        >>> Difference(PlaceName.TOPIC, "nyc", "nyc/dr5reg", Reason.CHANGED, "a", "b").contradicts
        True
        """
        return self.place in SERVING and self.reason in CONTRADICTIONS

    def text(self) -> str:
        """One line.

        >>> Difference(PlaceName.TOPIC, "nyc", "nyc/dr5reg", Reason.MISSING, "entry 12", "nothing").text()
        'topic: nyc/dr5reg: missing: expected entry 12, got nothing'
        """
        return f"{self.place}: {self.key}: {self.reason}: expected {self.expected}, got {self.got}"


@dataclass(frozen=True, slots=True)
class Compared:
    """What one comparison of a place found.

    Attributes:
        differences: In a fixed order.
        checked: How many things were compared: cells, keys, versions, snapshots.
        ranges, listed: How many ranges were compared by digest, and how many of them had to be listed.
        notes: What is there and is left alone, in sentences.
    """

    differences: tuple[Difference, ...] = ()
    checked: int = 0
    ranges: int = 0
    listed: int = 0
    notes: tuple[str, ...] = ()


class ComparedPlace(Protocol):
    """A place that can be compared with the ledger, and repaired.

    Every method raises StoreUnavailable if the place does not answer.
    """

    @property
    def name(self) -> PlaceName:
        """Which place."""
        ...

    def compare(self) -> Compared:
        """Compare the place with the ledger as both are now."""
        ...

    def repair(self, found: Sequence[Difference]) -> None:
        """Write what differs, and nothing that has changed since it was found."""
        ...


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What became of one place.

    Attributes:
        found: Differences that two comparisons had.
        left: Differences after the repair, or all without a repair.
        error: Why it could not be compared or repaired; empty if it could.
        absent: Why there is nothing to compare; empty if there is.
    """

    place: PlaceName
    found: tuple[Difference, ...] = ()
    left: tuple[Difference, ...] = ()
    compared: Compared = Compared()
    error: str = ""
    absent: str = ""

    @property
    def repaired(self) -> tuple[Difference, ...]:
        """What was found and is no longer there."""
        return tuple(one for one in self.found if one not in self.left)


def settled(place: ComparedPlace, pause: Callable[[], None]) -> Compared:
    """A comparison without what was just being written: a difference counts if a second comparison has it too.

    Args:
        pause: Waits until what is being written is there.
    """
    first = place.compare()
    if not first.differences:
        return first
    pause()
    second = place.compare()
    # What is held must be the same too: a place that follows a ledger which grows is never up to date, and never stands still.
    known = {(one.key, one.reason, one.got) for one in first.differences}
    kept = tuple(one for one in second.differences if (one.key, one.reason, one.got) in known)
    return Compared(kept, second.checked, second.ranges, second.listed, second.notes)


def reconciled(place: ComparedPlace, pause: Callable[[], None], *, repair: bool) -> Reconciled:
    """Compare a place, repair it if asked, and compare it again."""
    found = settled(place, pause)
    if not repair or not found.differences:
        return Reconciled(place.name, found.differences, found.differences, found)
    place.repair(found.differences)
    left = settled(place, pause)
    return Reconciled(place.name, found.differences, left.differences, found)
