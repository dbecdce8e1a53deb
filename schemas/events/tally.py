"""What intake has done with the events of one partition since it started, whether slots closed or not.

A close counts the events below its cuts only. Where no event is accepted no slot closes, so this is counted
beside the ledger: forecasters write it to files in the home, and progress, status, API and metrics read it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from schemas.errors import DamagedError

REJECTED, UNCOUNTED = "rejected.", "uncounted."


@dataclass(slots=True)
class Totals:
    """Numbers of events; received = accepted + duplicate + rejected, and accepted = counted + uncounted."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    counted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)

    def add(self, totals: Mapping[str, int]) -> None:
        """Add numbers under the names that `state.counting.partials.Partial.totals` gives them."""
        for name, number in totals.items():
            if not number:
                continue
            if name.startswith(REJECTED):
                reason = name.removeprefix(REJECTED)
                self.rejected[reason] = self.rejected.get(reason, 0) + number
            elif name.startswith(UNCOUNTED):
                reason = name.removeprefix(UNCOUNTED)
                self.uncounted[reason] = self.uncounted.get(reason, 0) + number
            else:
                setattr(self, name, getattr(self, name) + number)

    @property
    def refused(self) -> int:
        """Rejected events, whatever the reason."""
        return sum(self.rejected.values())

    def words(self) -> str:
        """One line: what was read and what became of it.

        >>> Totals(360, rejected={"undecodable": 360}).words()
        '360 events read, 0 accepted, 360 rejected (360 undecodable)'
        """
        why = ", ".join(f"{number:,} {reason}" for reason, number in sorted(self.rejected.items(), key=lambda item: (-item[1], item[0])))
        return f"{self.received:,} events read, {self.accepted:,} accepted, {self.refused:,} rejected" + (f" ({why})" if why else "")


@dataclass(frozen=True, slots=True)
class Example:
    """A recent rejected event, described without ids: where it is, what is wrong, and the likely mistake."""

    offset: int
    detail: str
    guess: str = ""


@dataclass(slots=True)
class IntakeTally:
    """Totals of one partition.

    Attributes:
        partition: Its number.
        started_at_us, at_us: When the forecaster started to read it, and when this was written; wall-clock time.
        position: First offset that is not read yet.
        regions: Region -> its totals. Each region counts every event of the partition, those of other regions as uncounted.
        examples: Reason -> a recent rejected event.
        others: Names of other regions in the events, each with its number in a sample.
    """

    partition: int
    started_at_us: int
    at_us: int
    position: int = 0
    regions: dict[str, Totals] = field(default_factory=dict)
    examples: dict[str, Example] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        """The tally as JSON."""
        return json.dumps(asdict(self), sort_keys=True)


def tally_from_json(text: str, *, where: str) -> IntakeTally:
    """Parse a tally.

    Raises:
        DamagedError: the text is not a tally.

    >>> tally_from_json(IntakeTally(3, 1, 2).to_json(), where="test").partition
    3
    """
    try:
        fields = json.loads(text)
        return IntakeTally(
            **{
                **fields,
                "regions": {name: Totals(**totals) for name, totals in fields["regions"].items()},
                "examples": {reason: Example(**example) for reason, example in fields["examples"].items()},
            }
        )
    except (ValueError, TypeError, KeyError, AttributeError) as cause:
        raise DamagedError(f"{where}: expected the tally of a partition, got {text[:40]!r}") from cause


def totals_of(tallies: Iterable[IntakeTally], region: str) -> Totals:
    """One region's totals over all partitions."""
    out = Totals()
    for tally in tallies:
        found = tally.regions.get(region)
        if found is not None:
            for name in ("received", "accepted", "duplicate", "counted"):
                setattr(out, name, getattr(out, name) + getattr(found, name))
            out.add({f"{REJECTED}{reason}": number for reason, number in found.rejected.items()})
            out.add({f"{UNCOUNTED}{reason}": number for reason, number in found.uncounted.items()})
    return out


def main_example(tallies: Iterable[IntakeTally], found: Totals) -> list[str]:
    """An event that was rejected for the most frequent reason, and the likely mistake; empty where none was.

    >>> tally = IntakeTally(2, 0, 0, examples={"bad_id": Example(7, "expected an event_id")})
    >>> main_example([tally], Totals(9, rejected={"bad_id": 9}))
    ['for example partition 2, offset 7: bad_id: expected an event_id']
    """
    reason = max(found.rejected, key=lambda name: found.rejected[name], default="")
    for tally in tallies:
        if (example := tally.examples.get(reason)) is not None:
            text = f"for example partition {tally.partition}, offset {example.offset}: {reason}: {example.detail}"
            return [text, example.guess] if example.guess else [text]
    return []
