"""A simulated city: where people are, when they ride, weather and events; all from one seed.

The steps of a simulated ride are in `state.simulation.simulate`.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from schemas.events.cells import centres, encode, inside
from schemas.events.rides import Float64s, Int64s, UInt64s
from schemas.regions import US_PER_S, Region

HUBS = 12
KNOWN_CELLS = 900  # with rides of their own; New York's busy third of the map has about as many
# Share of the k-th busiest cell ~ (k + 8)^-1.3: about 40 cells see a ride per 15 minutes at 20,000 rides a day, as in New York.
RANK_OFFSET, RANK_POWER = 8, 1.3
HUB_SPREAD_KM = 3.0
KM_PER_DEGREE = 111.2  # of latitude
WEEKENDS = {"Asia/Tehran": (3, 4)}  # Thursday and Friday; elsewhere Saturday and Sunday
WEEKEND = (5, 6)

# Rides by local hour for four kinds of neighbourhood: a working day, then a day off. Only the shapes matter.
_HOME = (
    [1, 1, 0, 0, 1, 3, 9, 14, 13, 8, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 4, 3, 2, 1],
    [2, 1, 1, 0, 0, 1, 2, 4, 6, 8, 9, 9, 8, 8, 8, 8, 8, 8, 8, 7, 6, 5, 4, 3],
)
_WORK = (
    [1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 9, 13, 17, 14, 8, 5, 3, 2, 1],
    [1, 1, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 5, 5, 5, 5, 4, 4, 4, 3, 3, 2, 2, 1],
)
_NIGHT = (
    [5, 3, 1, 1, 0, 0, 1, 2, 2, 2, 3, 4, 5, 5, 5, 5, 6, 8, 10, 12, 13, 13, 12, 9],
    [12, 9, 6, 3, 1, 1, 1, 1, 2, 3, 4, 6, 7, 7, 7, 8, 9, 10, 12, 15, 17, 18, 18, 16],
)
_STATION = (
    [2, 1, 1, 1, 3, 7, 8, 8, 7, 6, 6, 6, 6, 6, 6, 6, 7, 8, 8, 8, 7, 6, 5, 3],
    [2, 1, 1, 1, 3, 6, 6, 6, 6, 6, 6, 6, 6, 6, 7, 7, 8, 8, 8, 8, 7, 6, 5, 3],
)
SORTS = 4


def _shapes() -> Float64s:
    """float64[2 kinds of day, SORTS, 24], each sort's week averaging 1."""
    raw = np.array([_HOME, _WORK, _NIGHT, _STATION], np.float64).transpose(1, 0, 2)
    week = (5 * raw[0].mean(axis=1) + 2 * raw[1].mean(axis=1)) / 7
    return np.asarray(raw / week[None, :, None], np.float64)


SHAPES = _shapes()


@dataclass(frozen=True, slots=True)
class City:
    """The constant part of a simulated city.

    Attributes:
        cells: uint64[n], busiest first.
        lat, lon: float64[n], their centres.
        weight: float64[n], share of rides; sums to 1.
        sort: float64[n, SORTS], share of each kind of neighbourhood in a cell; rows sum to 1.
        hub_cells: int64[HUBS], positions in `cells` of the cells at hubs.
        box: Lowest and highest latitude and longitude of the region.
    """

    cells: UInt64s
    lat: Float64s
    lon: Float64s
    weight: Float64s
    sort: Float64s
    hub_cells: Int64s
    box: tuple[float, float, float, float]


def build_city(region: Region, seed: int) -> City:
    """The city of a seed, within the region's outline."""
    rng = np.random.default_rng([seed, 0])
    corners = np.array(region.polygon)
    (south, west), (north, east) = corners.min(axis=0), corners.max(axis=0)
    middle_lat, middle_lon = (south + north) / 2, (west + east) / 2
    km_lon = KM_PER_DEGREE * np.cos(np.radians(middle_lat))
    reach_lat, reach_lon = min(0.3 * (north - south), 12 / KM_PER_DEGREE), min(0.3 * (east - west), 16 / km_lon)
    hub_lat = np.clip(rng.normal(middle_lat, reach_lat / 2, HUBS), middle_lat - reach_lat, middle_lat + reach_lat)
    hub_lon = np.clip(rng.normal(middle_lon, reach_lon / 2, HUBS), middle_lon - reach_lon, middle_lon + reach_lon)
    hub_share = rng.dirichlet(np.full(HUBS, 2.0))
    points = 60 * KNOWN_CELLS
    hub = rng.choice(HUBS, points, p=hub_share)
    spread_km = HUB_SPREAD_KM * rng.lognormal(0.0, 0.5, points)
    lat = hub_lat[hub] + rng.normal(0.0, 1.0, points) * spread_km / KM_PER_DEGREE
    lon = hub_lon[hub] + rng.normal(0.0, 1.0, points) * spread_km / km_lon
    within = inside(region.polygon, lat, lon)
    codes, first, counts = np.unique(encode(lat[within], lon[within], region.cell_bits), return_index=True, return_counts=True)
    busiest = np.lexsort((codes, -counts))[:KNOWN_CELLS]
    n = len(busiest)
    weight = (np.arange(n) + RANK_OFFSET) ** -RANK_POWER * rng.lognormal(0.0, 0.25, n)
    weight = weight / weight.sum()
    # A cell resembles its hub, with a part of its own.
    hub_sort = rng.dirichlet(np.full(SORTS, 0.7), HUBS)
    sort = 0.75 * hub_sort[hub[within][first[busiest]]] + 0.25 * rng.dirichlet(np.full(SORTS, 1.0), n)
    middle = centres(codes[busiest], region.cell_bits)
    hub_cells = np.array([int(np.argmin((middle[0] - y) ** 2 + (middle[1] - x) ** 2)) for y, x in zip(hub_lat, hub_lon, strict=True)])
    return City(codes[busiest], *middle, weight, sort, hub_cells, (float(south), float(north), float(west), float(east)))


@dataclass(frozen=True, slots=True)
class Day:
    """One day's expected demand, before random draws.

    Attributes:
        start_us: Its start, UTC.
        expected: float64[slots, n], rides requested.
        usual: float64[slots, n], the same without weather and events.
        hour: int64[slots], local.
        weekend: bool for each slot's local date, as int64[slots].
        rain: float64[slots], 0 to 1.
    """

    start_us: int
    expected: Float64s
    usual: Float64s
    hour: Int64s
    weekend: Int64s
    rain: Float64s


class Climate:
    """The part of a city that changes from day to day: level of demand, and rain."""

    def __init__(self) -> None:
        self.level = 0.0  # of log demand
        self.rain = 0.0  # in the last hour, 0 to 1

    def next_day(self, rng: np.random.Generator) -> tuple[float, Float64s]:
        """(factor of demand, float64[24] rain by hour) of one more day."""
        self.level = 0.6 * self.level + float(rng.normal(0.0, 0.04))
        hours, starts, ends, strength = np.zeros(24), rng.random(24), rng.random(24), rng.beta(2.0, 3.0, 24)
        for hour in range(24):
            # Showers last five hours on average, and one comes every four days.
            if self.rain == 0.0:
                self.rain = float(strength[hour]) if starts[hour] < 1 / 96 else 0.0
            elif ends[hour] < 1 / 5:
                self.rain = 0.0
            hours[hour] = self.rain
        return float(np.exp(self.level)), hours


def plan_day(city: City, region: Region, climate: Climate, start_us: int, rides_per_day: float, rng: np.random.Generator) -> Day:
    """Expected requests of 24 hours from a moment on, by slot and cell."""
    factor, rain_by_hour = climate.next_day(rng)
    slots = 86_400 * US_PER_S // region.slot_us
    hour, shape_at, weekend = local_clock(region, start_us, slots)
    by_sort = interpolated(shape_at, weekend)
    usual = (by_sort @ city.sort.T) * (city.weight * rides_per_day / slots * factor)
    rain = rain_by_hour[np.arange(slots) * 24 // slots]
    expected = usual * (1.0 + 0.35 * rain)[:, None]  # about what New York's taxis see in heavy rain
    for _ in range(int(rng.poisson(0.35))):
        _add_event(expected, city, hour, rides_per_day, rng)
    return Day(start_us, expected, usual, hour, weekend, rain)


def local_clock(region: Region, start_us: int, slots: int) -> tuple[Int64s, Float64s, Int64s]:
    """Local hour, hour with fraction, and weekend or holiday, of each slot."""
    zone, weekend_days = ZoneInfo(region.timezone), WEEKENDS.get(region.timezone, WEEKEND)
    first = datetime.fromtimestamp(start_us // US_PER_S, UTC)
    local = [(first + timedelta(minutes=slot * region.slot_min)).astimezone(zone) for slot in range(slots)]
    holidays = {date.fromisoformat(day) for day in region.holidays}
    hour = np.array([at.hour for at in local])
    fraction = np.array([at.hour + at.minute / 60 for at in local])
    weekend = np.array([int(at.weekday() in weekend_days or at.date() in holidays) for at in local])
    return hour, fraction, weekend


def interpolated(at: Float64s, weekend: Int64s) -> Float64s:
    """SHAPES between the middles of the hours: float64[slots, SORTS]."""
    before = np.floor(at - 0.5).astype(np.int64)
    share = (at - 0.5 - before)[:, None]
    return np.asarray((1 - share) * SHAPES[weekend, :, before % 24] + share * SHAPES[weekend, :, (before + 1) % 24], np.float64)


def _add_event(expected: Float64s, city: City, hour: Int64s, rides_per_day: float, rng: np.random.Generator) -> None:
    """A match or concert: its crowd leaves from a few cells at a hub within about an hour."""
    place = int(city.hub_cells[rng.integers(HUBS)])
    end_hour = int(rng.integers(20, 24))
    crowd = float(rng.uniform(0.003, 0.015)) * rides_per_day
    near = np.argsort((city.lat - city.lat[place]) ** 2 + (city.lon - city.lon[place]) ** 2, kind="stable")[:4]
    after = np.flatnonzero(hour == end_hour)
    if not len(after):  # daylight saving time skipped that hour
        return
    slots = np.arange(after[0], min(after[0] + len(after) * 3 // 2, len(expected)))
    fade = np.exp(-np.arange(len(slots)) / max(1.0, len(after) / 3))
    expected[np.ix_(slots, near)] += crowd * np.outer(fade / fade.sum(), np.array([0.6, 0.2, 0.1, 0.1])[: len(near)])
