"""Sudden changes of the level: a region has a third more or fewer rides than in the same hours of the weeks before.

Each hour adds the log likelihood ratio of a level that changed by SHIFT, up or down, against an unchanged one. The scatter of
an hour contains weather and days that are better or worse than others, of which many hours in a row are alike.

Source:
    E. S. Page (1954), Continuous inspection schemes, Biometrika 41.
"""

from collections.abc import Mapping
from math import log
from typing import Any

import numpy.typing as npt

from schemas.forecasts.watched import WatchedSlot
from schemas.regions import Region
from state.detect.detector import Arrays, Evidence, Said, Threshold, signal_of
from state.detect.signals import Severity, Signal
from state.detect.weekly import WeeklyRides

THRESHOLD_NATS = 8.0
SHIFT = 0.3  # of log rides
SCATTER = 0.06  # variance of an hour's log ratio beside that of counts
MOST_RATIO = 0.7  # of log rides: an hour counts for no more
UP, DOWN = 0, 1


class LevelDetector:
    """Shifts of the level of a region.

    Args:
        region: The region.
        threshold: Nats.
    """

    def __init__(self, region: Region, threshold: float = THRESHOLD_NATS) -> None:
        self._region, self._evidence, self._weekly = region, Evidence(threshold), WeeklyRides(region)
        self._said = Said("level", "level", Severity.WARNING, "ratio")

    def see(self, watched: WatchedSlot) -> list[Signal]:
        """Take the next closed slot."""
        hour = self._weekly.add(watched)
        if hour is None or not hour.usual:
            return []
        ratio = min(max(log(max(hour.rides, 0.5) / hour.usual), -MOST_RATIO), MOST_RATIO)
        variance = SCATTER + 1.0 / max(hour.rides, 1.0) + 1.0 / hour.usual
        signals = []
        for number, sign in ((UP, 1.0), (DOWN, -1.0)):
            change = self._evidence.add(number, SHIFT * (sign * ratio - SHIFT / 2) / variance, watched.slot)
            if change is not None:
                words = f"{hour.rides:.0f} rides in an hour, {hour.usual:.0f} in the same hour of the weeks before; so it is for hours."
                since = self._evidence.since(number, watched.slot)
                signals.append(
                    signal_of(
                        self._said,
                        self._region,
                        watched,
                        "region" if number == DOWN else "region:more",
                        firing=change,
                        since=since,
                        value=hour.rides / hour.usual,
                        threshold=1.0 + sign * SHIFT,
                        message=words,
                    )
                )
        return signals

    def use(self, threshold: Threshold) -> None:
        """From the next judgement on, fire above this threshold."""
        self._evidence.threshold = threshold.value

    def arrays(self) -> Arrays:
        """All of its state."""
        return {**self._evidence.arrays(), **self._weekly.arrays()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a state."""
        self._evidence.restore(arrays)
        self._weekly.restore(arrays)
