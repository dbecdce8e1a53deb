"""Shares of events that rise: duplicates, broken values, clocks that are ahead, positions outside the region, late rides.

A share is compared with its own usual one, an exponentially weighted mean in which no slot counts for more than a small step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.events.rides import Reason
from schemas.forecasts.watched import WatchedSlot
from schemas.regions import Region
from state.detect.detector import Arrays, Evidence, Said, Threshold, signal_of
from state.detect.signals import Severity, Signal

THRESHOLD_NATS = 12.0
LEAST_USUAL = 0.005  # share: rarer ones are treated as if they were as frequent
USUAL_FACTOR = 1.5  # what is still usual, as a multiple of the mean
UNUSUAL_FACTOR, UNUSUAL_MORE = 3.0, 0.03  # a share is unusual at so many times the usual one, and at least so much above it
MOST_SHARE = 0.98
LEARNED_PER_SLOT = 1.0 / 288  # weight of a slot in the usual share
MOST_ABOVE = 0.02  # share: what a slot with a higher one than the mean adds at most, before its weight


@dataclass(frozen=True, slots=True)
class Counted:
    """Which events a share counts: the name of its detector, the kind of its signals, and what the events are in a sentence."""

    name: str
    kind: str
    words: str
    reasons: tuple[Reason, ...] = ()  # none: duplicates
    of_rides: bool = False  # rides that were late, of all that were counted with the slot

    def of(self, watched: WatchedSlot) -> tuple[int, int]:
        """How many of them arrived, of how many."""
        if self.of_rides:
            return watched.late, watched.late + int(watched.counts.sum())
        arrived = watched.arrived
        if self.reasons:
            return sum(arrived.rejected.get(reason, 0) for reason in self.reasons), arrived.received
        return arrived.duplicate, arrived.received


DUPLICATES = Counted("duplicates", "duplicates", "duplicates")
SCHEMA = Counted(
    "schema",
    "schema",
    "rejected because they cannot be decoded or hold impossible values",
    (Reason.UNDECODABLE, Reason.BAD_ID, Reason.BAD_FARE),
)
CLOCK = Counted("clock", "clock skew", "rejected because their clock is ahead or far off", (Reason.AHEAD_OF_LOG, Reason.TIME_OUT_OF_BOUNDS))
PLACE = Counted("place", "place", "rejected because they lie outside the region", (Reason.OUTSIDE_REGION,))
LATENESS = Counted("lateness", "late events", "late: their slots were closed before them", of_rides=True)


class ShareDetector:
    """One share of the events of a region, over all partitions.

    Args:
        region: The region.
        counted: Which events.
        threshold: Nats.
    """

    def __init__(self, region: Region, counted: Counted, threshold: float = THRESHOLD_NATS) -> None:
        self._region, self._counted = region, counted
        self._said = Said(counted.name, counted.kind, Severity.WARNING, "share")
        self._evidence, self._usual = Evidence(threshold), 0.0

    def see(self, watched: WatchedSlot) -> list[Signal]:
        """Take the next closed slot."""
        number, whole = self._counted.of(watched)
        if not whole:
            return []
        share = number / whole
        usual = min(max(USUAL_FACTOR * self._usual, LEAST_USUAL), 0.9)
        unusual = min(max(UNUSUAL_FACTOR * usual, usual + UNUSUAL_MORE), MOST_SHARE)
        nats = number * log(unusual / usual) + (whole - number) * log((1 - unusual) / (1 - usual))
        change = self._evidence.add(0, nats, watched.slot)
        self._usual += LEARNED_PER_SLOT * min(share - self._usual, MOST_ABOVE)
        if change is None:
            return []
        since = self._evidence.since(0, watched.slot)
        things = "rides" if self._counted.of_rides else "events"
        words = f"{number} of {whole} {things} ({share:.1%}) are {self._counted.words}; usual is {self._usual:.1%}."
        return [
            signal_of(
                self._said, self._region, watched, "region", firing=change, since=since, value=share, threshold=unusual, message=words
            )
        ]

    def use(self, threshold: Threshold) -> None:
        """From the next slot on, fire above this threshold."""
        self._evidence.threshold = threshold.value

    def arrays(self) -> Arrays:
        """All of its state."""
        return {**self._evidence.arrays(), "usual": np.array([self._usual])}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a state."""
        self._evidence.restore(arrays)
        self._usual = float(arrays["usual"][0])
