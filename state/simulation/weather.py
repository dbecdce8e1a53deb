"""The weather of a simulated city, as a feed would tell it: each hour's rain when it is over, and a forecast before it begins.

Riders react to rain (`state.simulation.city`); this is the same rain, from the same seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from schemas.regions import US_PER_S
from state.simulation.city import Climate

HOUR_US = 3_600 * US_PER_S
HOURS = 24
MOST_MM = 8.0  # in an hour of the strongest rain
AHEAD_US = 3 * HOUR_US  # how long before the end of an hour its forecast is known
SPREAD = 0.35  # of the log of a forecast around the rain to come
MISSED, IMAGINED = 0.1, 0.02  # share of hours with rain that is not forecast, and of dry ones with a forecast of rain
STREAM = 41  # of the seed; others make the city, its days and its quarters


@dataclass(frozen=True, slots=True)
class RainValue:
    """Rain of the hour that ends at `valid_us`, as known from `known_us` on, mm."""

    valid_us: int
    known_us: int
    mm: float


def rain_of(start_us: int, days: int, seed: int) -> Iterator[RainValue]:
    """The rain of a city that `simulate_city` makes with these arguments, hour by hour: its forecast, then its observation.

    A longer simulation starts with the same rain as a shorter one.

    >>> [forecast, observed] = list(rain_of(0, 1, seed=7))[:2]
    >>> (observed.valid_us - forecast.known_us) // HOUR_US, observed.known_us == observed.valid_us
    (3, True)
    """
    climate = Climate()
    for day in range(days):
        _, strength = climate.next_day(np.random.default_rng([seed, 1, day]))
        rng = np.random.default_rng([seed, STREAM, day])
        factor, chance, imagined = rng.lognormal(0.0, SPREAD, HOURS), rng.random(HOURS), rng.exponential(1.0, HOURS)
        for hour in range(HOURS):
            end_us = start_us + (day * HOURS + hour + 1) * HOUR_US
            mm = MOST_MM * float(strength[hour])
            told = mm * float(factor[hour]) if mm else float(imagined[hour])
            told = told if chance[hour] >= (MISSED if mm else 1.0 - IMAGINED) else 0.0
            yield RainValue(end_us, end_us - AHEAD_US, round(told, 3))
            yield RainValue(end_us, end_us, round(mm, 3))
