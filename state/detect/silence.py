"""Outages: far fewer events of the region, or of one partition, than the forecast of rides lets expect.

Events per forecast ride are learned per subject, since one ride makes several events, and partitions are not of equal size.
"""

from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.forecasts.watched import WatchedSlot
from schemas.regions import Region
from state.detect.detector import Arrays, Evidence, Said, Threshold, signal_of
from state.detect.signals import Severity, Signal

THRESHOLD_NATS = 12.0
REGION = -1  # number of the subject that is the whole region; others are partitions
LEFT = 0.1  # share of the expected events that arrives in an outage
DISPERSION = 0.05  # of a slot's events around the expected ones: variance = events per ride x mean + DISPERSION x mean^2
LEAST_SLOTS = 12  # with events, before anything is expected
KEPT_PER_SLOT = 1.0 - 1.0 / 288  # how much of what was learned stays from slot to slot
LEARNED_ABOVE = 0.3  # share of the expected events; a slot with fewer teaches nothing


REGION_OUTAGE, PARTITION_OUTAGE = "region outage", "partition outage"


class SilenceDetector:
    """Outages of a region and its partitions.

    Args:
        region: The region.
        threshold: Nats.
    """

    def __init__(self, region: Region, threshold: float = THRESHOLD_NATS) -> None:
        self._region = region
        self._evidence = Evidence(threshold)
        self._usual: dict[int, list[float]] = {}  # subject -> [events, forecast rides, slots learned from]

    def see(self, watched: WatchedSlot) -> list[Signal]:
        """Take the next closed slot."""
        if not watched.forecast:
            return []
        signals = []
        received = {REGION: watched.arrived.received, **{number: part.received for number, part in watched.partitions.items()}}
        for number in sorted({*received, *self._usual}):
            signals += self._of(number, received.get(number, 0), watched)
        return signals

    def _of(self, number: int, received: int, watched: WatchedSlot) -> list[Signal]:
        usual = self._usual.setdefault(number, [0.0, 0.0, 0.0])
        expected = watched.expected * usual[0] / usual[1] if usual[2] >= LEAST_SLOTS and usual[1] > 0.0 else 0.0
        if received > LEARNED_ABOVE * expected:
            usual[:] = [usual[0] * KEPT_PER_SLOT + received, usual[1] * KEPT_PER_SLOT + watched.expected, min(usual[2] + 1, LEAST_SLOTS)]
        nats = (received * log(LEFT) + (1.0 - LEFT) * expected) / (self._per_ride() + DISPERSION * expected)
        change = self._evidence.add(number, nats, watched.slot)
        if change is None:
            return []
        subject = "region" if number == REGION else f"partition:{number}"
        said = Said("silence", REGION_OUTAGE if number == REGION else PARTITION_OUTAGE, Severity.CRITICAL, "events")
        words = f"{received} events arrived, {expected:.0f} were expected."
        since = self._evidence.since(number, watched.slot)
        return [
            signal_of(
                said,
                self._region,
                watched,
                subject,
                firing=change,
                since=since,
                value=received,
                threshold=LEFT * expected,
                message=words,
            )
        ]

    def _per_ride(self) -> float:
        """Events of one ride, which come or stay away together: their number varies so many times as much as single ones."""
        events, rides, _ = self._usual.get(REGION, [0.0, 0.0, 0.0])
        return max(events / rides, 1.0) if rides > 0.0 else 1.0

    def use(self, threshold: Threshold) -> None:
        """From the next slot on, fire above this threshold."""
        self._evidence.threshold = threshold.value

    def arrays(self) -> Arrays:
        """All of its state."""
        usual = {"numbers": np.array(list(self._usual), np.int64), "usual": np.array(list(self._usual.values()), np.float64).reshape(-1, 3)}
        return {**self._evidence.arrays(), **usual}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a state."""
        self._evidence.restore(arrays)
        self._usual = dict(zip(arrays["numbers"].tolist(), arrays["usual"].tolist(), strict=True))
