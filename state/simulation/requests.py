"""Where and when a simulated city's rides are requested, and where they go."""

from dataclasses import dataclass

import numpy as np

from schemas.events.cells import encode, inside
from schemas.events.rides import Bools, Float64s, Int64s
from schemas.regions import Region
from state.simulation.city import SHAPES, City, Day

US_PER_MS = 1_000
ELSEWHERE = 0.02  # share of rides from anywhere in the region, so that new cells keep appearing


@dataclass(frozen=True, slots=True)
class Rides:
    """Requests of one day, n unordered rows; times in microseconds.

    Attributes:
        number: int64[n], unique within a simulation; ids are made from it.
        crowding: float64[n], demand over usual demand.
        slot, cell: int64[n], of the day's plan, that each was drawn from.
    """

    number: Int64s
    requested_at: Int64s
    lat: Float64s
    lon: Float64s
    to_lat: Float64s
    to_lon: Float64s
    crowding: Float64s
    hour: Int64s
    slot: Int64s
    cell: Int64s

    def where(self, rows: Bools) -> "Rides":
        """Some of the requests."""
        return Rides(*(getattr(self, name)[rows] for name in self.__slots__))

    def followed_by(self, more: "Rides") -> "Rides":
        """Both."""
        return Rides(*(np.concatenate([getattr(self, name), getattr(more, name)]) for name in self.__slots__))


def draw_requests(city: City, region: Region, plan: Day, first_number: int, rng: np.random.Generator) -> Rides:
    """Draw the requests of a planned day: time, place and destination."""
    slot, cell = _drawn(plan.expected, rng)
    n = len(slot)
    at = _moments(plan, region, slot, rng)
    lat, lon = _scatter(city, region, cell, rng)
    elsewhere = rng.random(n) < ELSEWHERE
    south, north, west, east = city.box
    far_lat, far_lon = rng.uniform(south, north, n), rng.uniform(west, east, n)
    elsewhere &= inside(region.polygon, far_lat, far_lon)
    lat, lon = np.where(elsewhere, far_lat, lat), np.where(elsewhere, far_lon, lon)
    return _rides(city, region, plan, plan.expected, slot, cell, at, lat, lon, first_number, rng, np.ones(n, np.bool_))


def draw_more(city: City, region: Region, plan: Day, before: Float64s, first_number: int, rng: np.random.Generator) -> Rides:
    """Draw the requests that a day has more than it had before; all lie in the cell that they were drawn for.

    Args:
        plan: The day, with what is expected now.
        before: float64[slots, n], what was expected before.
    """
    slot, cell = _drawn(np.maximum(plan.expected - before, 0.0), rng)
    at = _moments(plan, region, slot, rng)
    lat, lon = _scatter(city, region, cell, rng)
    own = encode(np.round(lat, 6), np.round(lon, 6), region.cell_bits) == city.cells[cell]
    return _rides(city, region, plan, plan.expected, slot, cell, at, lat, lon, first_number, rng, own)


def _drawn(expected: Float64s, rng: np.random.Generator) -> tuple[Int64s, Int64s]:
    """Slot and cell of each request."""
    counts = rng.poisson(expected)
    slot, cell = (np.repeat(axis, counts[counts > 0]) for axis in np.nonzero(counts))
    return slot, cell


def _moments(plan: Day, region: Region, slot: Int64s, rng: np.random.Generator) -> Int64s:
    """Random whole milliseconds of the given slots."""
    drawn = rng.integers(0, region.slot_us // US_PER_MS, len(slot)) * US_PER_MS
    return np.asarray(plan.start_us + slot * region.slot_us + drawn, np.int64)


def _rides(
    city: City,
    region: Region,
    plan: Day,
    expected: Float64s,
    slot: Int64s,
    cell: Int64s,
    at: Int64s,
    lat: Float64s,
    lon: Float64s,
    first_number: int,
    rng: np.random.Generator,
    kept: Bools,
) -> Rides:
    """Requests with their destinations; those outside the region are left out."""
    hour = plan.hour[slot]
    to_lat, to_lon = _destinations(city, region, lat, lon, hour, plan.weekend[slot], rng)
    crowding = (expected[slot, cell] / plan.usual[slot, cell]) * (1 + 0.3 * plan.rain[slot])
    inner = kept & inside(region.polygon, np.round(lat, 6), np.round(lon, 6))  # a point in a border cell may be outside the region
    return Rides(
        number=first_number + np.arange(int(inner.sum())),
        requested_at=at[inner],
        lat=np.round(lat[inner], 6),
        lon=np.round(lon[inner], 6),
        to_lat=np.round(to_lat[inner], 6),
        to_lon=np.round(to_lon[inner], 6),
        crowding=crowding[inner],
        hour=hour[inner],
        slot=slot[inner],
        cell=cell[inner],
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
