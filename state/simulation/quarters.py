"""The quarters of a simulated city: which cells are central, rich, or far from a metro, from the seed that made the city."""

import numpy as np

from schemas.configuration.areas import Area, Areas
from schemas.events.cells import cell_texts
from schemas.events.rides import Float64s
from schemas.regions import Region
from state.simulation.city import KM_PER_DEGREE, City, build_city

CENTRE_SHARE = 0.5  # of all rides start in the centre
NEAR_KM = 1.5  # a walk of twenty minutes to a station
INCOMES = ("low", "middle", "high")


def quarters_of(region: Region, seed: int) -> Areas:
    """The areas of a simulated city, with the attributes position, income and transit.

    Around its hubs a city is central, there are its stations, and all cells nearest to one hub have one class of income. The
    forecasts do not know any of it, and demand does not depend on it: what differs between classes is what cells are like there.

    >>> from schemas.regions import load_region
    >>> quarters_of(load_region("tehran"), seed=7).attributes
    ('income', 'position', 'transit')
    """
    city = build_city(region, seed)
    away_km = _from_hubs_km(city)
    nearest, distance_km = away_km.argmin(axis=1), away_km.min(axis=1)
    by_distance = np.argsort(_from_middle_km(city), kind="stable")
    central = np.zeros(len(city.cells), np.bool_)
    central[by_distance[: int(np.searchsorted(np.cumsum(city.weight[by_distance]), CENTRE_SHARE)) + 1]] = True
    of_hub = np.arange(away_km.shape[1]) % len(INCOMES)
    income = np.random.default_rng([seed, 2]).permutation(of_hub)[nearest]  # streams 0 and 1 make the city and its days
    texts = cell_texts(city.cells, region.precision)
    areas = []
    for position in ("centre", "outskirts"):
        for number, name in enumerate(INCOMES):
            for transit in ("near", "far"):
                held = (central == (position == "centre")) & (income == number) & ((distance_km <= NEAR_KM) == (transit == "near"))
                if held.any():
                    classes = (("income", name), ("position", position), ("transit", transit))
                    areas.append(Area(f"{position}, {name} income, {transit} transit", tuple(sorted(texts[held].tolist())), (), classes))
    return Areas(region.id, region.precision, tuple(areas))


def _from_hubs_km(city: City) -> Float64s:
    """float64[n, hubs]"""
    north = (city.lat[:, None] - city.lat[city.hub_cells]) * KM_PER_DEGREE
    east = (city.lon[:, None] - city.lon[city.hub_cells]) * KM_PER_DEGREE * np.cos(np.radians(city.lat[:, None]))
    return np.asarray(np.hypot(north, east), np.float64)


def _from_middle_km(city: City) -> Float64s:
    """float64[n], from the place that the average ride starts at."""
    lat, lon = float(city.weight @ city.lat), float(city.weight @ city.lon)
    return np.asarray(np.hypot((city.lat - lat) * KM_PER_DEGREE, (city.lon - lon) * KM_PER_DEGREE * np.cos(np.radians(lat))), np.float64)
