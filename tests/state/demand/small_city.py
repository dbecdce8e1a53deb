"""A small seeded city at any slot length, folded into the product's history and into the plain counts side by side."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.events.cells import encode
from schemas.regions import Region, RegionId
from state.demand.calendar import Calendar
from state.demand.history import CountHistory
from tests.state.demand.plain_counts import PlainClock, PlainCounts

SQUARE = ((40.0, -75.0), (41.0, -75.0), (41.0, -73.0))
FIVE = Region(RegionId("five"), "America/New_York", SQUARE, holidays=("2014-03-17",))  # 15, 30 and 60 min
QUARTER = Region(RegionId("quarter"), "Asia/Kathmandu", SQUARE, slot_min=15, horizons_min=(15, 45, 60, 120), holidays=("2014-03-17",))
HOUR = Region(RegionId("hour"), "Europe/Berlin", SQUARE, slot_min=60, horizons_min=(60, 120, 240), holidays=("2014-04-18",))

# Two rows of cells that touch, over the border of two parent cells, and one far away.
_LAT = [40.5 + 0.00549316 * row for row in (0, 1) for _ in range(3)] + [40.9]
_LON = [-74.0 + 0.01098633 * column for _ in (0, 1) for column in range(3)] + [-73.5]
CELLS: list[int] = sorted(int(code) for code in encode(np.array(_LAT), np.array(_LON), 30))
RATES = (6.0, 2.0, 0.9, 0.4, 0.15, 0.03, 1.2)  # rides per hour


@dataclass(frozen=True, slots=True)
class City:
    """The same rides twice."""

    history: CountHistory
    calendar: Calendar
    counts: PlainCounts
    clock: PlainClock

    def columns(self, cells: Sequence[int]) -> np.ndarray:
        """Where the cells stand in the history."""
        return self.history.columns_of(np.array(cells, np.uint64))


def city(
    region: Region,
    first_day: str,
    slots: int,
    *,
    outages: Sequence[int] = (),
    seed: int = 1,
    late: bool = True,
    tracked: bool = False,
    older: bool = False,
) -> City:
    """A city from a local midnight on, with corrections, and with slots (counted from the first) that were not observed."""
    rng = random.Random(seed)
    calendar = Calendar(region)
    made = City(CountHistory(region, tracked=tracked, older=older), calendar, PlainCounts(region), PlainClock(region))
    first = calendar.first_slot(first_day)
    missing = set(outages)
    for i in range(slots):
        slot = first + i
        busy = 2.0 if 8 <= made.clock.wall(slot).hour < 20 else 0.6
        counts = {}
        for cell, rate in zip(CELLS, RATES, strict=True):
            rides = draw(rng, rate * busy * region.slot_min / 60)
            if rides and i not in missing:
                counts[cell] = rides
        if late and i > 50 and i % 37 == 0:
            for back in (1, 1, 20):
                cell = rng.choice(CELLS)
                made.counts.late(slot - back, cell, 1)
                made.history.correct(np.array([slot - back]), np.array([cell], np.uint64), np.array([1]))
        made.counts.close(slot, counts, observed=i not in missing)
        codes, rides_of = np.array(list(counts), np.uint64), np.array(list(counts.values()), np.int64)
        made.history.close(slot, codes, rides_of, observed=i not in missing)
    return made


def draw(rng: random.Random, mean: float) -> int:
    """A Poisson count by the times between rides."""
    rides, time = 0, rng.expovariate(1.0)
    while time < mean:
        rides, time = rides + 1, time + rng.expovariate(1.0)
    return rides
