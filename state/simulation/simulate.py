"""Simulates a city's rides, each with all its steps: requested, accepted, started, completed, cancelled or unserved.

The same seed gives the same events. Each day draws from its own random stream, so a longer simulation starts
with exactly the events of a shorter one. Randomness comes from the seed alone, time from `start_us`.
"""

from collections.abc import Iterator

import numpy as np

from schemas.errors import UsageError
from schemas.events.codec import EventColumns
from schemas.regions import US_PER_S, Region
from state.simulation.city import Climate, build_city, plan_day
from state.simulation.faults.run import FaultRun
from state.simulation.fleet import Fleet
from state.simulation.lives import Events, lives_of
from state.simulation.requests import draw_requests

RIDES_PER_DAY = 20_000
DAY_US = 86_400 * US_PER_S


def simulate_city(
    region: Region,
    start_us: int,
    days: int,
    seed: int,
    rides_per_day: int = RIDES_PER_DAY,
    faults: FaultRun | None = None,
    fleet: Fleet | None = None,
) -> Iterator[EventColumns]:
    """Ride events of a seeded city, day by day, each day's ascending by time.

    Args:
        region: Where; its timezone and holidays shape demand.
        start_us: First moment, a whole slot, UTC.
        days: Number of 24-hour days; steps of rides after the last one are left out.
        seed: Determines the city, its weather and every ride.
        rides_per_day: Approximate requests on an average day.
        faults: Faults of demand are applied here; those of reports and messages by whoever passes the events on.
        fleet: Its drivers serve the rides; without one, drivers are drawn at random and rides are unserved by chance.
    Returns:
        One EventColumns per day, without `logged_at_us`.
    Raises:
        UsageError: a value is out of bounds.

    >>> from schemas.events.measures import KINDS
    >>> from schemas.regions import load_region
    >>> (day,) = simulate_city(load_region("tehran"), 1_743_798_600_000_000, 1, seed=7, rides_per_day=100)
    >>> day.ride_id[0], str(KINDS[day.kind[0]])
    ('530d87dcad563b53', 'requested')
    """
    if not 1 <= days <= 3_660:
        raise UsageError(f"days: expected 1 to 3660, got {days}")
    if seed < 0:
        raise UsageError(f"seed: expected 0 or more, got {seed}")
    if not 1 <= rides_per_day <= 10_000_000:
        raise UsageError(f"rides_per_day: expected 1 to 10000000, got {rides_per_day}")
    if start_us < 0 or start_us % region.slot_us:
        raise UsageError(f"start: expected the start of a slot of {region.slot_min} minutes, got {start_us} us")
    simulation = CityDays(region, start_us, seed, rides_per_day, faults, fleet)
    return (simulation.next_day() for _ in range(days))


class CityDays:
    """A simulation day by day; a copy (`copy.deepcopy`) goes on with the same days. Values as for `simulate_city`, unchecked.

    Attributes:
        faults: May be replaced between two days, by faults that begin at the next one or later.
    """

    def __init__(
        self, region: Region, start_us: int, seed: int, rides_per_day: int, faults: FaultRun | None = None, fleet: Fleet | None = None
    ) -> None:
        self.faults = faults
        self._region, self._start_us, self._seed, self._rides_per_day, self._fleet = region, start_us, seed, rides_per_day, fleet
        self._city, self._climate = build_city(region, seed) if faults is None else faults.scene.city, Climate()
        self._waiting: Events | None = None
        self._day = self._number = 0

    def next_day(self) -> EventColumns:
        """The events of the next day."""
        rng = np.random.default_rng([self._seed, 1, self._day])
        start_us = self._start_us + self._day * DAY_US
        plan = plan_day(self._city, self._region, self._climate, start_us, self._rides_per_day, rng)
        rides = draw_requests(self._city, self._region, plan, self._number, rng)
        self._day += 1
        self._number += len(rides.number)
        events = lives_of(rides, self._seed, self._rides_per_day, rng, all_served=self._fleet is not None)
        if self.faults is not None:
            events = self.faults.demanded(plan, rides, events)
        if self._fleet is not None:
            events = self._fleet.serve(events, plan.start_us)
        if self._waiting is not None:
            events = self._waiting.followed_by(events)
        now = events.at < plan.start_us + DAY_US
        self._waiting = events.where(~now)
        return events.where(now).columns(self._region.id)
