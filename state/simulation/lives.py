"""The life of each simulated ride: accepted, started, completed, cancelled or unserved, as events."""

from dataclasses import dataclass

import numpy as np

from schemas.events.codec import EventColumns
from schemas.events.measures import KINDS, RideKind
from schemas.events.rides import Bools, Float64s, Int64s
from state.simulation.city import KM_PER_DEGREE
from state.simulation.requests import US_PER_MS, Rides

DETOUR = 1.3  # length of a route over the straight line's
SPEED_KMH = np.array([38, 40, 42, 42, 40, 36, 28, 21, 19, 22, 24, 24, 23, 23, 24, 23, 20, 17, 18, 22, 26, 30, 33, 36], np.float64)
CLASSES = ("eco", "comfort", "van")
CLASS_SHARES = (0.8, 0.15, 0.05)
FARE_BASE, FARE_PER_KM, FARE_PER_MIN = 30_000, 9_000, 1_500
_CODES = {kind: KINDS.index(kind) for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Events:
    """Steps of rides, m rows; `ride` has the rides' ids, other columns are as in EventColumns."""

    at: Int64s
    ride: Int64s
    kind: Int64s
    places: Float64s  # float64[m, 4]: from lat, lon, to lat, lon
    rider: Int64s
    driver: Int64s  # -1 for none yet
    vehicle: Int64s
    fare: Float64s  # NaN for none
    requested_at: Int64s  # of the ride

    def where(self, rows: Bools) -> "Events":
        return Events(*(getattr(self, name)[rows] for name in self.__slots__))

    def followed_by(self, more: "Events") -> "Events":
        """Both merged, ascending by time, with the steps of one ride in their order."""
        both = [np.concatenate([getattr(self, name), getattr(more, name)]) for name in self.__slots__]
        order = np.lexsort((both[2], both[1], both[0]))
        return Events(*(column[order] for column in both))

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


def lives_of(rides: Rides, seed: int, rides_per_day: int, rng: np.random.Generator, *, all_served: bool = False) -> Events:
    """Every step of every ride, ascending by time.

    Args:
        all_served: No ride is unserved by chance: a fleet decides that.
    """
    n = len(rides.number)
    chance = rng.random((3, n))
    # Where demand is above usual, more requests go unserved and more are cancelled.
    short = np.clip(rides.crowding - 1, 0, 2)
    unserved = (chance[0] < 0.03 + 0.12 * short) & (not all_served)
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
    ride = mixed(seed, rides.number)
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
        Events(
            at[on],
            ride[on],
            np.full(int(on.sum()), _CODES[kind]),
            places[on],
            rider[on],
            who[on],
            vehicle[on],
            paid[on],
            rides.requested_at[on],
        )
        for kind, on, at, who, paid in steps
    ]
    events = Events(*(np.concatenate([getattr(part, name) for part in parts]) for name in Events.__slots__))
    order = np.lexsort((events.kind, events.ride, events.at))
    return Events(*(getattr(events, name)[order] for name in Events.__slots__))


def _wait(seconds: Float64s) -> Int64s:
    """Seconds as microseconds, rounded to whole milliseconds."""
    return np.round(seconds * 1_000).astype(np.int64) * US_PER_MS


def mixed(seed: int, number: Int64s) -> Int64s:
    """Ids that look random but never repeat within a seed: splitmix64 of a counter is a bijection."""
    x = number.astype(np.uint64) + np.uint64(1) + np.uint64(seed % (1 << 32)) * np.uint64(1 << 31)
    x = x * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return (x ^ x >> np.uint64(31)).view(np.int64)
