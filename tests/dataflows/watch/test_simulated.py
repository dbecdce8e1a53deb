"""A region that is watched live in memory: it sees what records say, and its branches leave the days before alone."""

from dataclasses import replace

import numpy as np
import pytest

from dataflows.watch.simulated import City, LiveCity
from schemas.forecasts.watched import WatchedSlot
from schemas.regions import load_region
from state.demand.calendar import Calendar
from state.simulation.simulate import DAY_US, simulate_city

REGION = replace(load_region("tehran"), measures=("requests",), horizons_min=(15,))
START_US = Calendar(REGION).first_slot("2025-04-05") * REGION.slot_us
RIDES = 800


def city(horizons_min: tuple[int, ...] = (15,)) -> LiveCity:
    """A small city after a day of history."""
    return LiveCity(City(replace(REGION, horizons_min=horizons_min), 3, START_US, RIDES, 1), START_US + 9 * DAY_US)


def same(left: WatchedSlot, right: WatchedSlot) -> bool:
    """Whether two slots are equal."""
    arrays = ("cells", "counts", "means", "dispersion")
    plain = ("slot", "observed", "partitions", "forecast", "late")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in arrays) and all(
        getattr(left, name) == getattr(right, name) for name in plain
    )


@pytest.fixture(scope="module")
def quiet() -> list[WatchedSlot]:
    """A day without a fault."""
    return list(city().day())


def test_every_ride_is_counted_once(quiet: list[WatchedSlot]) -> None:
    """The counts and late rides of the slots of a day are the requests of these slots."""
    live, slots = city(), list(quiet)
    list(live.day())
    slots = [*slots, *city_after(live)]
    until_us = (slots[-1].slot + 1) * REGION.slot_us
    requested = [
        at
        for events in simulate_city(REGION, START_US, 3, 3, RIDES)
        for at, kind in zip(events.occurred_at_us.tolist(), events.kind.tolist(), strict=True)
        if kind == 0 and START_US + DAY_US <= at < until_us
    ]
    assert sum(int(one.counts.sum()) + one.late for one in slots) == len(requested) > RIDES


def city_after(live: LiveCity) -> list[WatchedSlot]:
    """The next day of a city."""
    return list(live.day())


def test_a_branch_differs_only_from_its_fault_on(quiet: list[WatchedSlot]) -> None:
    """Slots that are closed an hour before a fault begins are those without it, and the city that it branched from stays as it was."""
    live = city()
    branch = live.branch("outage:from=+1d12h,hours=2")
    faulty, usual = list(branch.day()), list(live.day())
    assert all(map(same, usual, quiet))
    assert all(map(same, faulty[:130], quiet[:130]))
    assert not all(map(same, faulty[130:], quiet[130:]))
    assert sum(one.arrived.received for one in faulty[148:164]) == 0


@pytest.mark.long
def test_longer_windows_change_nothing(quiet: list[WatchedSlot]) -> None:
    """Detectors see the shortest window, whose forecasts are the same with others beside it."""
    assert all(map(same, city((15, 30, 60)).day(), quiet))
