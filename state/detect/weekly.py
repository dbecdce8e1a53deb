"""What the same hours of the weeks before had: the rides of a region in each hour of the week, for detectors of slow change.

Forecasts follow a change within hours, so its traces are in the counts and not in the errors. Hours of a holiday that the
region knows are neither compared nor learned from, nor are hours with a slot in which nothing arrived. Late rides belong to
the hour in which they came.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.events.rides import Float64s
from schemas.forecasts.watched import WatchedSlot
from schemas.regions import Region
from state.demand.calendar import Calendar
from state.detect.detector import Arrays

HOURS = 168  # of a week
KEPT = 0.5  # weight of what is known when the same hour of another week comes


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour that has ended.

    Attributes:
        rides: In it.
        usual: Rides of the same hour of the weeks before, weighted; 0 if none is known.
        of_day: Local hour, 0 to 23.
    """

    rides: float
    usual: float
    of_day: int


@dataclass(slots=True)
class WeeklyRides:
    """Rides per hour of the week.

    Attributes:
        region: Its slots and its calendar.
        usual: float64[HOURS], weighted means; 0 where no week is known.
    """

    region: Region
    usual: Float64s = field(default_factory=lambda: np.zeros(HOURS))
    _at: int = -1  # hours since the epoch
    _calendar: Calendar = field(init=False)
    _rides: float = 0.0
    _slots: int = 0

    def __post_init__(self) -> None:
        self._calendar = Calendar(self.region)

    def add(self, watched: WatchedSlot) -> Hour | None:
        """Add a slot; returns the hour that ended with it, if it can be compared or learned from."""
        per_hour = 60 // self.region.slot_min
        at = watched.slot // per_hour
        if at != self._at:
            self._at, self._rides, self._slots = at, 0.0, 0
        self._rides += float(watched.counts.sum()) + watched.late
        self._slots += watched.arrived.received > 0
        local = self._calendar.local(watched.slot)
        if watched.slot % per_hour != per_hour - 1 or self._slots < per_hour or local.holiday:
            return None
        of_day = local.slot_of_day // per_hour
        number = local.weekday * 24 + of_day
        ended = Hour(self._rides, float(self.usual[number]), of_day)
        self.usual[number] = self._rides if ended.usual == 0.0 else KEPT * ended.usual + (1.0 - KEPT) * self._rides
        return ended

    def arrays(self) -> Arrays:
        """Its state."""
        return {"usual": self.usual.copy(), "hour": np.array([self._at, self._rides, self._slots], np.float64)}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a state."""
        self.usual = arrays["usual"].copy()
        self._at, self._rides, self._slots = int(arrays["hour"][0]), float(arrays["hour"][1]), int(arrays["hour"][2])
