"""The drivers of a simulated city: shifts, positions and states, and which ride each of them serves.

A driver serves one ride at a time. A request goes to the nearest idle driver within reach; if there is none, it is
unserved. The steps of rides keep the times that they were drawn with, later where the driver needs longer.
"""

from dataclasses import dataclass

import numpy as np

from schemas.errors import UsageError
from schemas.events.drivers import DRIVER_STATES, DriverColumns, DriverState
from schemas.events.measures import KINDS, RideKind
from schemas.events.rides import Bools, Float64s, Int64s
from schemas.regions import US_PER_MIN, US_PER_S, Region
from state.simulation.city import KM_PER_DEGREE, City
from state.simulation.faults.kinds import spread, unit
from state.simulation.lives import DETOUR, Events

RIDES_PER_DRIVER = 8  # a day, as drivers are drawn without a fleet
MOST_RIDES_PER_DAY = 200_000  # each request looks at every driver
REACH_KM = 3.0
KMH = 25.0
TICK_US = 15 * US_PER_MIN
LAST_CALL_US = TICK_US  # before the end of a shift, from which on a driver takes no new ride; not shorter than a tick
DAY_US = 86_400 * US_PER_S
PATIENCE_US = 30 * US_PER_MIN  # an idle driver waits so long before driving to another place
CRUISE_KM = KMH * TICK_US / (3_600 * US_PER_S)
DAYS_OFF = 0.2
STREAM = 4  # of a seed: 0 and 1 make the city and its days, 2 its quarters, 3 its faults
NEVER_US = (1 << 62) - 1
_States = tuple[Int64s, Int64s, Int64s, Float64s, Float64s]  # driver, time, state, latitude, longitude
_STATE = {state: number for number, state in enumerate(DRIVER_STATES)}
_KIND = {kind: number for number, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class _Steps:
    """The rides that some driver would accept, n rows, by time of request; rows of the events of a day, -1 for none."""

    requested: Int64s
    accepted: Int64s
    started: Int64s
    ended: Int64s  # completed, or cancelled after it was accepted

    def part(self, rides: slice) -> "_Steps":
        return _Steps(*(getattr(self, name)[rides] for name in self.__slots__))


class Fleet:
    """Follows all drivers through the days of a simulation, in order.

    Args:
        city, region: Where.
        start_us: First moment, UTC.
        seed: Of the simulation.
        rides_per_day: Decides how many drivers there are.
    Raises:
        UsageError: more rides a day than a fleet is simulated for.
    """

    def __init__(self, city: City, region: Region, start_us: int, seed: int, rides_per_day: int) -> None:
        if rides_per_day > MOST_RIDES_PER_DAY:
            raise UsageError(f"--supply: expected at most {MOST_RIDES_PER_DAY} rides a day, got {rides_per_day}")
        self.city, self.region, self.seed = city, region, seed
        rng = np.random.default_rng([seed, STREAM])
        n = max(1, rides_per_day // RIDES_PER_DRIVER)
        self._home = rng.choice(len(city.cells), n, p=city.weight)
        # Most begin in the early morning or in the afternoon.
        begins_h = np.where(rng.random(n) < 0.55, rng.normal(6.5, 1.5, n), rng.normal(14.5, 2.0, n))
        self._begins_us = (np.clip(begins_h, 1, 22) * 3_600 * US_PER_S).astype(np.int64)
        self.lat, self.lon = city.lat[self._home], city.lon[self._home]
        self._km_lon = KM_PER_DEGREE * float(np.cos(np.radians(city.lat.mean())))
        self._free_us = np.full(n, NEVER_US)  # idle since, or busy until
        self._from_us, self._until_us = np.full(n, NEVER_US), np.full(n, NEVER_US)
        self._rows: list[_States] = []
        # Shifts of the day before that last past midnight.
        begins_us, ends_us = self._shifts(start_us - DAY_US)
        on = (begins_us < start_us) & (ends_us > start_us) & (ends_us < NEVER_US)
        self._from_us[on], self._until_us[on], self._free_us[on] = begins_us[on], ends_us[on], start_us
        for state, drivers in ((DriverState.IDLE, np.flatnonzero(on)), (DriverState.OFFLINE, np.flatnonzero(~on))):
            self._report(drivers, np.full(len(drivers), start_us), state)

    def __len__(self) -> int:
        return len(self._home)

    def serve(self, events: Events, day_us: int) -> Events:
        """A day's events as the drivers make them.

        Args:
            events: Steps of the rides requested that day, as if a driver were there for all.
            day_us: The day's start; days come one after the other.
        """
        rng = np.random.default_rng([self.seed, STREAM, day_us // DAY_US, 1])
        begins_us, ends_us = self._shifts(day_us)
        steps = _steps(events)
        taken, extra_us = np.full(len(steps.requested), -1), np.zeros(len(steps.requested), np.int64)
        at = events.at[steps.requested]
        bounds = np.searchsorted(at, np.arange(day_us, day_us + DAY_US + 1, TICK_US)).tolist()
        for tick, tick_us in enumerate(range(day_us, day_us + DAY_US, TICK_US)):
            self._change_shifts(tick_us, begins_us, ends_us)
            self._cruise(tick_us, rng)
            some = slice(bounds[tick], bounds[tick + 1])
            taken[some], extra_us[some] = self._dispatch(events, steps.part(some), tick_us)
        return _as_served(events, steps, taken, extra_us)

    def states(self, until_us: int) -> DriverColumns:
        """States that began before a moment and were not returned yet, by time and driver; call it after each day."""
        driver, at, state = (np.concatenate([rows[place] for rows in self._rows]) for place in range(3))
        lat, lon = (np.concatenate([rows[place] for rows in self._rows]) for place in (3, 4))
        later = at >= until_us
        self._rows = [(driver[later], at[later], state[later], lat[later], lon[later])]
        now = np.lexsort((driver, at))[: int(np.count_nonzero(~later))]
        return DriverColumns(driver[now], at[now], state[now], lat[now], lon[now], self.region.id)

    def _report(self, drivers: Int64s, at_us: Int64s, state: DriverState) -> None:
        """Add a state of some drivers where they are."""
        if len(drivers):
            place = np.round(self.lat[drivers], 6), np.round(self.lon[drivers], 6)
            self._rows.append((drivers, at_us, np.full(len(drivers), _STATE[state]), *place))

    def _shifts(self, day_us: int) -> tuple[Int64s, Int64s]:
        """When each driver's shift of a day begins and ends; never on a day off."""
        rng, n = np.random.default_rng([self.seed, STREAM, day_us // DAY_US, 0]), len(self)
        begins = day_us + self._begins_us + (rng.uniform(-0.5, 0.5, n) * 3_600 * US_PER_S).astype(np.int64)
        ends = begins + (rng.uniform(7.0, 10.0, n) * 3_600 * US_PER_S).astype(np.int64)
        off = rng.random(n) < DAYS_OFF
        begins[off], ends[off] = NEVER_US, NEVER_US
        return begins // 1_000 * 1_000, ends // 1_000 * 1_000

    def _change_shifts(self, tick_us: int, begins_us: Int64s, ends_us: Int64s) -> None:
        """Shifts that end or begin within a tick. Who is still busy at the end is offline after the ride, see `_dispatch`."""
        ending = np.flatnonzero(self._until_us < tick_us + TICK_US)
        self._report(ending, self._until_us[ending], DriverState.OFFLINE)
        self._from_us[ending], self._until_us[ending] = NEVER_US, NEVER_US
        beginning = np.flatnonzero((begins_us >= tick_us) & (begins_us < tick_us + TICK_US) & (self._until_us == NEVER_US))
        self.lat[beginning], self.lon[beginning] = self.city.lat[self._home[beginning]], self.city.lon[self._home[beginning]]
        self._from_us[beginning], self._until_us[beginning] = begins_us[beginning], ends_us[beginning]
        self._free_us[beginning] = begins_us[beginning]
        self._report(beginning, begins_us[beginning], DriverState.IDLE)

    def _cruise(self, tick_us: int, rng: np.random.Generator) -> None:
        """Who has waited for long drives towards a place where rides begin."""
        waiting = (self._free_us + PATIENCE_US <= tick_us) & (self._from_us < tick_us) & (tick_us < self._until_us - LAST_CALL_US)
        drivers = np.flatnonzero(waiting)
        goal = rng.choice(len(self.city.cells), len(drivers), p=self.city.weight)
        north, east = self.city.lat[goal] - self.lat[drivers], self.city.lon[goal] - self.lon[drivers]
        apart_km = np.hypot(north * KM_PER_DEGREE, east * self._km_lon)
        step = np.minimum(1.0, CRUISE_KM / DETOUR / np.maximum(apart_km, 1e-9))
        self.lat[drivers] += step * north
        self.lon[drivers] += step * east
        self._free_us[drivers] = tick_us
        self._report(drivers, np.full(len(drivers), tick_us), DriverState.IDLE)

    def _dispatch(self, events: Events, steps: _Steps, tick_us: int) -> tuple[Int64s, Int64s]:
        """The driver of each ride of a tick, -1 for none, and by how much its start is later: int64[n] each."""
        within = (self._from_us < tick_us + TICK_US) & (tick_us < self._until_us - LAST_CALL_US)
        pool = np.flatnonzero(within & (self._free_us < tick_us + TICK_US))  # whoever may become free in this tick
        north, east = self.lat[pool] * KM_PER_DEGREE, self.lon[pool] * self._km_lon
        ready_us, last_us = np.maximum(self._free_us[pool], self._from_us[pool]), self._until_us[pool] - LAST_CALL_US
        taken, extra_us = [-1] * len(steps.requested), [0] * len(steps.requested)
        rows = list[tuple[int, int, int, float, float]]()
        columns = (
            events.at[steps.requested],
            events.at[steps.accepted],
            events.at[steps.started],
            steps.started >= 0,
            events.at[steps.ended],
        )
        at, accepted, started, starts, ended = (column.tolist() for column in columns)
        places = events.places[steps.requested].tolist()
        for ride, (lat, lon, to_lat, to_lon) in enumerate(places if len(pool) else ()):
            apart = (north - lat * KM_PER_DEGREE) ** 2 + (east - lon * self._km_lon) ** 2
            apart[(ready_us > at[ride]) | (at[ride] >= last_us)] = np.inf
            nearest = int(apart.argmin())
            if apart[nearest] > REACH_KM**2:
                continue
            driver = taken[ride] = int(pool[nearest])
            rows.append((driver, accepted[ride], _STATE[DriverState.ON_THE_WAY], self.lat[driver], self.lon[driver]))
            ends_lat, ends_lon = lat, lon
            if starts[ride]:
                drive_us = round(float(apart[nearest]) ** 0.5 * DETOUR / KMH * 3_600) * US_PER_S
                extra_us[ride] = max(0, accepted[ride] + drive_us - started[ride])
                rows.append((driver, started[ride] + extra_us[ride], _STATE[DriverState.OCCUPIED], lat, lon))
                ends_lat, ends_lon = to_lat, to_lon
            free_us = ended[ride] + extra_us[ride]
            over = free_us >= self._until_us[driver]
            rows.append((driver, free_us, _STATE[DriverState.OFFLINE if over else DriverState.IDLE], ends_lat, ends_lon))
            ready_us[nearest] = NEVER_US if over else free_us
            self._free_us[driver], self.lat[driver], self.lon[driver] = free_us, ends_lat, ends_lon
            north[nearest], east[nearest] = ends_lat * KM_PER_DEGREE, ends_lon * self._km_lon
            if over:
                self._from_us[driver], self._until_us[driver] = NEVER_US, NEVER_US
        if rows:
            who, when, state, row_lat, row_lon = zip(*rows, strict=True)
            self._rows.append((np.array(who), np.array(when), np.array(state), np.round(row_lat, 6), np.round(row_lon, 6)))
        return np.array(taken, np.int64), np.array(extra_us, np.int64)


def _steps(events: Events) -> _Steps:
    """The rides of a day that a driver would accept."""
    requested = np.flatnonzero(events.kind == _KIND[RideKind.REQUESTED])
    requested = requested[np.lexsort((events.ride[requested], events.at[requested]))]
    sorter = np.argsort(events.ride[requested], kind="stable")

    def rows_of(rows: Bools) -> Int64s:
        found, places = np.full(len(requested), -1), np.flatnonzero(rows)
        found[sorter[np.searchsorted(events.ride[requested], events.ride[places], sorter=sorter)]] = places
        return found

    accepted = rows_of(events.kind == _KIND[RideKind.ACCEPTED])
    started = rows_of(events.kind == _KIND[RideKind.STARTED])
    completed = events.kind == _KIND[RideKind.COMPLETED]
    ended = rows_of(completed | ((events.kind == _KIND[RideKind.CANCELLED]) & (events.driver >= 0)))
    wanted = accepted >= 0
    return _Steps(requested[wanted], accepted[wanted], started[wanted], ended[wanted])


def _as_served(events: Events, steps: _Steps, taken: Int64s, extra_us: Int64s) -> Events:
    """The events with their drivers, later where the driver needed longer; unserved where there was none."""
    at, driver, kind, fare = events.at.copy(), events.driver.copy(), events.kind.copy(), events.fare.copy()
    kept = np.ones(len(at), np.bool_)
    served = taken >= 0
    for rows, delayed in ((steps.accepted, False), (steps.started, True), (steps.ended, True)):
        some = served & (rows >= 0)
        driver[rows[some]] = taken[some]
        at[rows[some]] += extra_us[some] * delayed
        if rows is not steps.accepted:
            kept[rows[~served & (rows >= 0)]] = False
    lost = steps.accepted[~served]  # becomes the step that says so
    wait_s = 150 + 150 * unit(spread(events.ride[lost].view(np.uint64)))
    at[lost] = events.requested_at[lost] + np.round(wait_s * 1_000).astype(np.int64) * 1_000
    driver[lost], kind[lost], fare[lost] = -1, _KIND[RideKind.UNSERVED], np.nan
    changed = Events(at, events.ride, kind, events.places, events.rider, driver, events.vehicle, fare, events.requested_at).where(kept)
    return changed.followed_by(changed.where(np.zeros(len(changed.at), np.bool_)))  # in order again
