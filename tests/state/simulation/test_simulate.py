"""Simulated cities: the same seed, the same rides; whole lives; demand that looks like a city's."""

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest

from schemas.errors import UsageError
from schemas.events.cells import encode, inside
from schemas.events.codec import EventColumns, encode_events
from schemas.events.measures import KINDS, RideKind
from schemas.regions import load_region
from state.simulation.city import SHAPES, build_city
from state.simulation.simulate import DAY_US, simulate_city

TEHRAN = load_region("tehran")
START_US = 1_743_798_600_000_000  # Saturday 2025-04-05, local midnight
REQUESTED = KINDS.index(RideKind.REQUESTED)
LIVES = {
    ("requested", "unserved"),
    ("requested", "cancelled"),
    ("requested", "accepted", "cancelled"),
    ("requested", "accepted", "started", "completed"),
}


@pytest.fixture(scope="module")
def week() -> list[EventColumns]:
    """Seven days from a Saturday."""
    return list(simulate_city(TEHRAN, START_US, 7, seed=7, rides_per_day=5_000))


def test_same_seed_same_bytes(week: list[EventColumns]) -> None:
    """A seed decides every byte, and a longer simulation begins with a shorter one."""
    again = list(simulate_city(TEHRAN, START_US, 2, seed=7, rides_per_day=5_000))
    assert [encode_events(day) for day in again] == [encode_events(day) for day in week[:2]]
    (other,) = simulate_city(TEHRAN, START_US, 1, seed=8, rides_per_day=5_000)
    assert set(other.ride_id).isdisjoint(week[0].ride_id)


def test_days_are_in_order_and_apart(week: list[EventColumns]) -> None:
    """Every event lies in its own day, ascending by time, with an id of its own."""
    for number, day in enumerate(week):
        assert START_US + number * DAY_US <= day.occurred_at_us[0]
        assert day.occurred_at_us[-1] < START_US + (number + 1) * DAY_US
        assert (np.diff(day.occurred_at_us) >= 0).all()
    ids = [event for day in week for event in day.event_id]
    assert len(set(ids)) == len(ids)


def test_rides_have_whole_lives(week: list[EventColumns]) -> None:
    """Each ride goes one of the ways that rides go; only those under way at the end are cut short."""
    lives: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for day in week:
        for ride, kind, at in zip(day.ride_id, day.kind.tolist(), day.occurred_at_us.tolist(), strict=True):
            lives[ride].append((str(KINDS[kind]), at))
    end_us = START_US + 7 * DAY_US
    kinds = {ride: tuple(kind for kind, _ in steps) for ride, steps in lives.items()}
    assert {life for ride, life in kinds.items() if lives[ride][0][1] < end_us - 4 * 3_600_000_000} == LIVES
    assert all(any(whole[: len(life)] == life for whole in LIVES) for life in kinds.values())
    assert all(earlier[1] < later[1] for steps in lives.values() for earlier, later in pairwise(steps))
    done = sum(life[-1] == "completed" for life in kinds.values()) / len(lives)
    assert 0.8 < done < 0.95


def test_steps_know_what_is_known_by_then(week: list[EventColumns]) -> None:
    """A driver is known from acceptance on, a fare at completion, places and rider from the start."""
    day = week[0]
    assert day.driver_id is not None
    assert day.fare is not None
    for kind, driver, fare in zip(day.kind.tolist(), day.driver_id, day.fare.tolist(), strict=True):
        step = KINDS[kind]
        assert (driver is not None) == (step in (RideKind.ACCEPTED, RideKind.STARTED, RideKind.COMPLETED)) or step is RideKind.CANCELLED
        assert (fare > 0) == (step is RideKind.COMPLETED)
    assert all(rider is not None for rider in day.rider_id or [])
    assert day.dropoff_lat is not None
    assert not np.isnan(day.dropoff_lat).any()


def test_every_pickup_is_in_the_region(week: list[EventColumns]) -> None:
    """No simulated pickup would be rejected for its place."""
    assert all(inside(TEHRAN.polygon, day.lat, day.lon).all() for day in week)


def test_demand_has_the_shape_of_a_city(week: list[EventColumns]) -> None:
    """Nights are quiet, evenings busy; a few cells hold half of the rides and hundreds hold the rest."""
    requests = [day.kind == REQUESTED for day in week]
    hours = np.concatenate([(day.occurred_at_us[rows] - START_US) // 3_600_000_000 % 24 for day, rows in zip(week, requests, strict=True)])
    by_hour = np.bincount(hours, minlength=24)
    assert by_hour[2:5].sum() * 4 < by_hour[17:20].sum()
    total = sum(int(rows.sum()) for rows in requests)
    assert 0.7 < total / (7 * 5_000) < 1.3
    lat, lon = (np.concatenate([getattr(day, axis)[rows] for day, rows in zip(week, requests, strict=True)]) for axis in ("lat", "lon"))
    _, counts = np.unique(encode(lat, lon, TEHRAN.cell_bits), return_counts=True)
    counts = np.sort(counts)[::-1]
    assert len(counts) > 500
    assert 0.3 < counts[:40].sum() / total < 0.7


def test_days_off_differ_from_working_days(week: list[EventColumns]) -> None:
    """Tehran's Thursday and Friday have no morning peak; Saturday to Wednesday have one."""
    shares = []
    for number, day in enumerate(week):
        hours = (day.occurred_at_us[day.kind == REQUESTED] - START_US - number * DAY_US) // 3_600_000_000
        shares.append(float(((hours >= 7) & (hours < 9)).mean()))
    assert max(shares[5:]) < min(shares[:5])


def test_shapes_average_one() -> None:
    """Each sort of neighbourhood has as many rides in a week as its weight says."""
    np.testing.assert_allclose((5 * SHAPES[0].mean(axis=1) + 2 * SHAPES[1].mean(axis=1)) / 7, 1.0)


def test_a_city_is_whole() -> None:
    """Shares add up to one, cells are distinct, the busiest first."""
    for region in (TEHRAN, load_region("nyc")):
        city = build_city(region, 3)
        assert city.weight.sum() == pytest.approx(1.0)
        assert len(set(city.cells.tolist())) == len(city.cells) > 300
        np.testing.assert_allclose(city.sort.sum(axis=1), 1.0)
        assert city.weight[:20].sum() > city.weight[-200:].sum()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((START_US, 0, 1, 100), "days: expected 1 to 3660, got 0"),
        ((START_US, 1, -1, 100), "seed: expected 0 or more, got -1"),
        ((START_US, 1, 1, 0), "rides_per_day: expected 1 to 10000000, got 0"),
        ((START_US + 1, 1, 1, 100), "start: expected the start of a slot"),
        ((-300_000_000, 1, 1, 100), "start: expected the start of a slot"),
    ],
)
def test_values_out_of_bounds(values: tuple[int, int, int, int], message: str) -> None:
    """A simulation that makes no sense is refused before it begins."""
    with pytest.raises(UsageError, match=message):
        simulate_city(TEHRAN, *values)
