"""Simulates a city's rides, each with all its steps: requested, accepted, started, completed, cancelled or unserved.

The same seed gives the same events. Each day draws from its own random stream, so a longer simulation starts
with exactly the events of a shorter one. Randomness comes from the seed alone, time from `start_us`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from schemas.errors import UsageError
from schemas.events.cells import inside
from schemas.events.codec import EventColumns
from schemas.events.measures import KINDS, RideKind
from schemas.events.rides import Bools, Float64s, Int64s
from schemas.regions import US_PER_S, Region
from state.simulation.city import KM_PER_DEGREE, SHAPES, City, Climate, Day, build_city, plan_day

RIDES_PER_DAY = 20_000
DAY_US = 86_400 * US_PER_S
US_PER_MS = 1_000
ELSEWHERE = 0.02  # share of rides from anywhere in the region, so that new cells keep appearing
DETOUR = 1.3  # length of a route over the straight line's
SPEED_KMH = np.array([38, 40, 42, 42, 40, 36, 28, 21, 19, 22, 24, 24, 23, 23, 24, 23, 20, 17, 18, 22, 26, 30, 33, 36], np.float64)
CLASSES = ("eco", "comfort", "van")
CLASS_SHARES = (0.8, 0.15, 0.05)
FARE_BASE, FARE_PER_KM, FARE_PER_MIN = 30_000, 9_000, 1_500
_CODES = {kind: KINDS.index(kind) for kind in KINDS}


@dataclass(frozen=True, slots=True)
class _Rides:
    """One day's requests, n unordered rows; times in microseconds."""

    number: Int64s
    requested_at: Int64s
    lat: Float64s
    lon: Float64s
    to_lat: Float64s
    to_lon: Float64s
    crowding: Float64s
    hour: Int64s


def simulate_city(region: Region, start_us: int, days: int, seed: int, rides_per_day: int = RIDES_PER_DAY) -> Iterator[EventColumns]:
    """Ride events of a seeded city, day by day, each day's ascending by time.

    Args:
        region: Where; its timezone and holidays shape demand.
        start_us: First moment, a whole slot, UTC.
        days: Number of 24-hour days; steps of rides after the last one are left out.
        seed: Determines the city, its weather and every ride.
        rides_per_day: Approximate requests on an average day.
    Returns:
        One EventColumns per day, without `logged_at_us`.
    Raises:
        UsageError: a value is out of bounds.

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
    return _days(region, start_us, days, seed, rides_per_day)


def _days(region: Region, start_us: int, days: int, seed: int, rides_per_day: int) -> Iterator[EventColumns]:
    city, climate = build_city(region, seed), Climate()
    waiting: _Events | None = None
    number = 0
    for day in range(days):
        rng = np.random.default_rng([seed, 1, day])
        plan = plan_day(city, region, climate, start_us + day * DAY_US, rides_per_day, rng)
        rides = _requests(city, region, plan, number, rng)
        number += len(rides.number)
        events = _lives(rides, seed, rides_per_day, rng)
        if waiting is not None:
            events = waiting.followed_by(events)
        now = events.at < plan.start_us + DAY_US
        yield events.where(now).columns(region.id)
        waiting = events.where(~now)


def _requests(city: City, region: Region, plan: Day, first_number: int, rng: np.random.Generator) -> _Rides:
    """Draw the day's requests: time, place and destination."""
    counts = rng.poisson(plan.expected)
    slot, cell = (np.repeat(axis, counts[counts > 0]) for axis in np.nonzero(counts))
    n = len(slot)
    at = plan.start_us + slot * region.slot_us + rng.integers(0, region.slot_us // US_PER_MS, n) * US_PER_MS
    lat, lon = _scatter(city, region, cell, rng)
    elsewhere = rng.random(n) < ELSEWHERE
    south, north, west, east = city.box
    far_lat, far_lon = rng.uniform(south, north, n), rng.uniform(west, east, n)
    elsewhere &= inside(region.polygon, far_lat, far_lon)
    lat, lon = np.where(elsewhere, far_lat, lat), np.where(elsewhere, far_lon, lon)
    hour = plan.hour[slot]
    to_lat, to_lon = _destinations(city, region, lat, lon, hour, plan.weekend[slot], rng)
    crowding = (plan.expected[slot, cell] / plan.usual[slot, cell]) * (1 + 0.3 * plan.rain[slot])
    inner = inside(region.polygon, np.round(lat, 6), np.round(lon, 6))  # a point in a border cell may be outside the region
    return _Rides(
        number=first_number + np.arange(int(inner.sum())),
        requested_at=at[inner],
        lat=np.round(lat[inner], 6),
        lon=np.round(lon[inner], 6),
        to_lat=np.round(to_lat[inner], 6),
        to_lon=np.round(to_lon[inner], 6),
        crowding=crowding[inner],
        hour=hour[inner],
    )


def _scatter(city: City, region: Region, cell: Int64s, rng: np.random.Generator) -> tuple[Float64s, Float64s]:
    """Random points in the given cells."""
    lon_bits, lat_bits = (region.cell_bits + 1) // 2, region.cell_bits // 2
    lat = city.lat[cell] + (rng.random(len(cell)) - 0.5) * (180.0 / (1 << lat_bits))
    lon = city.lon[cell] + (rng.random(len(cell)) - 0.5) * (360.0 / (1 << lon_bits))
    return lat, lon


def _destinations(
    city: City, region: Region, lat: Float64s, lon: Float64s, hour: Int64s, weekend: Int64s, rng: np.random.Generator
) -> tuple[Float64s, Float64s]:
    """Draw destinations: places that will be busy some hours later, preferring near ones."""
    n = len(lat)
    draws = rng.random((2, n))
    chosen = np.zeros((2, n), np.int64)
    for moment in np.unique(hour + 24 * weekend).tolist():
        rows = np.flatnonzero(hour + 24 * weekend == moment)
        pull = np.cumsum(city.weight * (city.sort @ SHAPES[moment // 24, :, (moment % 24 + 9) % 24]))
        chosen[:, rows] = np.minimum(np.searchsorted(pull, draws[:, rows] * pull[-1]), len(pull) - 1)
    apart = (city.lat[chosen] - lat) ** 2 + (city.lon[chosen] - lon) ** 2
    return _scatter(city, region, np.where(apart[0] <= apart[1], chosen[0], chosen[1]), rng)


@dataclass(frozen=True, slots=True)
class _Events:
    """Steps of rides, m rows; `ride` has the rides' ids, other columns are as in EventColumns."""

    at: Int64s
    ride: Int64s
    kind: Int64s
    places: Float64s  # float64[m, 4]: from lat, lon, to lat, lon
    rider: Int64s
    driver: Int64s  # -1 for none yet
    vehicle: Int64s
    fare: Float64s  # NaN for none

    def where(self, rows: Bools) -> "_Events":
        return _Events(*(getattr(self, name)[rows] for name in self.__slots__))

    def followed_by(self, more: "_Events") -> "_Events":
        """Both merged, ascending by time, with the steps of one ride in their order."""
        both = [np.concatenate([getattr(self, name), getattr(more, name)]) for name in self.__slots__]
        order = np.lexsort((both[2], both[1], both[0]))
        return _Events(*(column[order] for column in both))

    def columns(self, region: str) -> EventColumns:
        rides = [f"{ride:016x}" for ride in self.ride.view(np.uint64).tolist()]
        return EventColumns(
            event_id=[f"{ride}-{step}" for ride, step in zip(rides, self.kind.tolist(), strict=True)],
            ride_id=rides,
            kind=self.kind.astype(np.uint8),
            occurred_at_us=self.at,
            region=region,
            lat=self.places[:, 0],
            lon=self.places[:, 1],
            dropoff_lat=self.places[:, 2],
            dropoff_lon=self.places[:, 3],
            rider_id=[f"rider-{rider}" for rider in self.rider.tolist()],
            driver_id=[None if driver < 0 else f"driver-{driver}" for driver in self.driver.tolist()],
            vehicle_class=[CLASSES[vehicle] for vehicle in self.vehicle.tolist()],
            fare=self.fare,
        )


def _lives(rides: _Rides, seed: int, rides_per_day: int, rng: np.random.Generator) -> _Events:
    """Every step of every ride, ascending by time."""
    n = len(rides.number)
    chance = rng.random((3, n))
    # Where demand is above usual, more requests go unserved and more are cancelled.
    short = np.clip(rides.crowding - 1, 0, 2)
    unserved = chance[0] < 0.03 + 0.12 * short
    gave_up = ~unserved & (chance[1] < 0.02 + 0.02 * short)
    accepted = ~unserved & ~gave_up
    cancelled = accepted & (chance[2] < 0.06)
    started = accepted & ~cancelled
    accepted_at = rides.requested_at + _wait(np.clip(rng.exponential(35.0, n) * (1 + short), 4, 240))
    given_up_at = rides.requested_at + _wait(rng.uniform(20, 200, n))
    unserved_at = rides.requested_at + _wait(rng.uniform(150, 300, n))
    cancelled_at = accepted_at + _wait(np.clip(rng.exponential(120.0, n), 5, 900))
    started_at = accepted_at + _wait(np.clip(rng.lognormal(5.4, 0.5, n) * (1 + 0.5 * short), 30, 1_800))
    km_lon = KM_PER_DEGREE * np.cos(np.radians(rides.lat))
    distance_km = DETOUR * np.hypot((rides.to_lat - rides.lat) * KM_PER_DEGREE, (rides.to_lon - rides.lon) * km_lon) + 0.5
    duration_s = 3_600 * distance_km / SPEED_KMH[rides.hour] * rng.lognormal(0.0, 0.15, n)
    completed_at = started_at + _wait(np.clip(duration_s, 60, 3 * 3_600))
    vehicle = rng.choice(len(CLASSES), n, p=CLASS_SHARES)
    price = FARE_BASE + FARE_PER_KM * distance_km + FARE_PER_MIN * duration_s / 60
    fare = np.asarray(1_000 * np.round(price * (1 + 0.4 * vehicle) / 1_000), np.float64)
    rider, driver = rng.integers(0, 15 * rides_per_day, n), rng.integers(0, max(1, rides_per_day // 8), n)
    ride = _mixed(seed, rides.number)
    places = np.stack([rides.lat, rides.lon, rides.to_lat, rides.to_lon], axis=1)
    no_driver, no_fare = np.full(n, -1), np.full(n, np.nan)
    steps = (
        (RideKind.REQUESTED, np.ones(n, np.bool_), rides.requested_at, no_driver, no_fare),
        (RideKind.UNSERVED, unserved, unserved_at, no_driver, no_fare),
        (RideKind.CANCELLED, gave_up, given_up_at, no_driver, no_fare),
        (RideKind.ACCEPTED, accepted, accepted_at, driver, no_fare),
        (RideKind.CANCELLED, cancelled, cancelled_at, driver, no_fare),
        (RideKind.STARTED, started, started_at, driver, no_fare),
        (RideKind.COMPLETED, started, completed_at, driver, fare),
    )
    parts = [
        _Events(at[on], ride[on], np.full(int(on.sum()), _CODES[kind]), places[on], rider[on], who[on], vehicle[on], paid[on])
        for kind, on, at, who, paid in steps
    ]
    events = _Events(*(np.concatenate([getattr(part, name) for part in parts]) for name in _Events.__slots__))
    order = np.lexsort((events.kind, events.ride, events.at))
    return _Events(*(getattr(events, name)[order] for name in _Events.__slots__))


def _wait(seconds: Float64s) -> Int64s:
    """Seconds as microseconds, rounded to whole milliseconds."""
    return np.round(seconds * 1_000).astype(np.int64) * US_PER_MS


def _mixed(seed: int, number: Int64s) -> Int64s:
    """Ids that look random but never repeat within a seed: splitmix64 of a counter is a bijection."""
    x = number.astype(np.uint64) + np.uint64(1) + np.uint64(seed % (1 << 32)) * np.uint64(1 << 31)
    x = x * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return (x ^ x >> np.uint64(31)).view(np.int64)
