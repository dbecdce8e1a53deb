"""Each receiver's place in the log of alerts: how far it was told, what fails since when, and which notices it refused.

A place is a file in the home, written by the watcher and read by `ridecast alerts list`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ledger.store.files import write_durably
from ledger.store.log import Ledger
from schemas.errors import ConfigError
from schemas.records.records import ALERTS_LOG, AlertChanged, AlertOpened, AlertResolved
from schemas.times import iso

REFUSALS_KEPT = 20  # the newest; all are counted
LONGEST_ERROR = 500  # characters


@dataclass(frozen=True, slots=True)
class Refusal:
    """A notice that was refused for good, and skipped.

    Attributes:
        index: Of its entry in the log of alerts.
        error: The last answer.
        at_s: Seconds since 1970.
    """

    index: int
    key: str
    transition: str
    error: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Place:
    """How far one receiver was told.

    Attributes:
        next: Index of the next entry to tell.
        number: Of the log's origin when it was told; 0 if an older release wrote the place.
        failures: Attempts in a row that failed.
        refusals: Of these, how many were refusals of the entry `next`.
        since_s: Time of the first of them, seconds since 1970.
        error: The last of them; empty if the last attempt did not fail.
        refused_count: Notices that were refused and skipped.
        refused: The newest of them.
        removed: It is no longer among those that a watcher tells.
    """

    receiver: str
    next: int
    number: int = 0
    failures: int = 0
    refusals: int = 0
    since_s: float = 0.0
    error: str = ""
    refused_count: int = 0
    refused: tuple[Refusal, ...] = ()
    removed: bool = False

    def well(self) -> "Place":
        """The place without a failure."""
        return replace(self, failures=0, refusals=0, since_s=0.0, error="")

    def failed(self, error: str, at_s: float, *, refused: bool) -> "Place":
        """The place after one more failure."""
        since_s = self.since_s if self.failures else at_s
        refusals = self.refusals + int(refused)
        return replace(self, failures=self.failures + 1, refusals=refusals, since_s=since_s, error=error[:LONGEST_ERROR])


def write_place(path: Path, place: Place) -> None:
    """Write a place.

    Raises:
        OSError: the file cannot be written.
    """
    write_durably(path, json.dumps(asdict(place)).encode())


def read_place(path: Path) -> Place | None:
    """Read a place; None if there is none.

    Raises:
        ConfigError: the file is damaged.
    """
    try:
        said = json.loads(path.read_text("utf-8"))
        known = {name: said[name] for name in Place.__dataclass_fields__ if name in said and name != "refused"}
        place = Place(**known, refused=tuple(Refusal(**one) for one in said.get("refused", ())))
        for count in (place.next, place.number):
            if not isinstance(count, int) or count < 0:
                raise ValueError(f"expected numbers of at least 0, got {count!r}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
        remedy = "delete it, and the receiver begins with the oldest open alert"
        raise ConfigError(f"{path}: expected a receiver's place in the log of alerts: {cause!r}; {remedy}") from cause
    return place


def remove_others(folder: Path, names: Sequence[str]) -> None:
    """Mark the places of receivers that are not among these, so that they are not listed; they keep their places."""
    for path in sorted(folder.glob("*.json")):
        if path.stem not in names and (place := read_place(path)) is not None:
            write_place(path, replace(place, removed=True))


def listed_receivers(ledger: Ledger, folder: Path) -> list[dict[str, object]]:
    """What each receiver was not told, since when, and why."""
    found = [place for path in sorted(folder.glob("*.json")) if (place := read_place(path)) is not None and not place.removed]
    oldest = min((place.next for place in found), default=0)
    owed = [stored.index for stored in ledger.scan(ALERTS_LOG, oldest) if is_told(stored.record)] if found else []
    return [
        {
            "receiver": place.receiver,
            "undelivered": sum(index >= place.next for index in owed),
            "failing_since": iso(int(place.since_s * 1_000_000)) if place.failures else None,
            "failures": place.failures,
            "error": place.error,
            "refused": place.refused_count,
            "last_refused": [asdict(one) for one in place.refused],
        }
        for place in found
    ]


def is_told(record: object) -> bool:
    """Whether receivers are told of an entry: of silenced alerts only that they are over."""
    return isinstance(record, AlertResolved) or (isinstance(record, AlertOpened | AlertChanged) and not record.silenced)


__all__ = ["Place", "Refusal", "is_told", "listed_receivers", "read_place", "remove_others", "write_place"]
