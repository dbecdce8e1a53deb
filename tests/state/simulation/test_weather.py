"""The weather of a simulated city: it is the rain that its riders react to, told as a feed would."""

import numpy as np

from schemas.regions import load_region
from state.simulation.city import Climate, build_city, plan_day
from state.simulation.weather import HOUR_US, MOST_MM, rain_of

START_US = 1_743_798_600_000_000  # 2025-04-05 in Tehran
DAYS, SEED = 40, 7


def test_it_is_the_rain_that_riders_react_to() -> None:
    """Each hour's observation is the strength of the rain by which the demand of that hour was raised."""
    region, climate = load_region("tehran"), Climate()
    city = build_city(region, SEED)
    plans = [plan_day(city, region, climate, START_US + day * 24 * HOUR_US, 100, np.random.default_rng([SEED, 1, day])) for day in range(9)]
    rain = np.concatenate([plan.rain.reshape(24, -1)[:, 0] for plan in plans])
    observed = [one.mm for one in rain_of(START_US, 9, SEED) if one.known_us == one.valid_us]
    assert rain.any()
    np.testing.assert_allclose(np.round(MOST_MM * rain, 3), observed)


def test_forecasts_say_something_and_not_everything() -> None:
    """Forecasts are known before their hour begins, are near the rain to come, and miss some of it."""
    rows = list(rain_of(START_US, DAYS, SEED))
    told, came = np.array([one.mm for one in rows[::2]]), np.array([one.mm for one in rows[1::2]])
    assert all(one.known_us < one.valid_us - HOUR_US for one in rows[::2])
    assert 0.6 < np.corrcoef(told, came)[0, 1] < 0.99
    assert ((told == 0) & (came > 0)).any()
    assert ((told > 0) & (came == 0)).any()


def test_a_longer_simulation_begins_with_the_same_rain() -> None:
    """The hours of a shorter simulation are those with which the longer one starts."""
    short = list(rain_of(START_US, 3, SEED))
    assert short == list(rain_of(START_US, DAYS, SEED))[: len(short)]
