"""The baseline and the quiet forecast by value, against their definitions worked out one cell at a time."""

import numpy as np
import pytest

from schemas.regions import Region
from state.demand.seasons import expected_rides, profile
from state.models.quiet import mean_rate, quiet_parts
from tests.state.demand.plain_seasons import plain_expected, plain_profile, plain_quiet_parts, plain_rate
from tests.state.demand.small_city import CELLS, FIVE, HOUR, QUARTER, city

TOWNS = [
    # More than 29 days, over a change of the clock.
    pytest.param(FIVE, "2014-02-13", 31 * 288 + 211, (), id="a month"),
    # Of the last week's window the first quarter was observed and the last not; the week before has none.
    pytest.param(FIVE, "2014-02-20", 25 * 288 + 120, (18 * 288 + 127, 11 * 288 + 120), id="a week in part"),
    # No week is there; of six days two are missing at that time, and the last hour was not observed whole.
    pytest.param(FIVE, "2014-03-03", 6 * 288 + 40, (4 * 288 + 40, 2 * 288 + 40, 6 * 288 + 35), id="days"),
    pytest.param(FIVE, "2014-03-03", 40, (3, 4), id="the first day"),
    # Beside the window of yesterday, half an hour that only the shape of a quiet cell looks at is missing.
    pytest.param(FIVE, "2014-03-03", 9 * 288 + 40, (8 * 288 + 35, 7 * 288 + 56), id="beside the window"),
    pytest.param(QUARTER, "2014-02-13", 31 * 96 + 70, (24 * 96 + 70,), id="quarter hours"),
    pytest.param(HOUR, "2014-03-05", 30 * 24 + 8, (23 * 24 + 9,), id="hours"),
]


@pytest.mark.parametrize(("region", "first_day", "slots", "outages"), TOWNS)
def test_the_baseline_is_what_it_means(region: Region, first_day: str, slots: int, outages: tuple[int, ...]) -> None:
    """Profile of every cell and horizon, and rides expected of the region in the next slots, equal the plain definition."""
    made = city(region, first_day, slots, outages=outages)
    at = made.history.next_slot - 1
    cells = [cell for cell in CELLS if cell in made.counts.cells()]
    found = profile(made.history, made.calendar, at, made.columns(cells), region.horizons)
    for cell, row in zip(cells, found.tolist(), strict=True):
        assert plain_profile(made.counts, made.clock, at, cell, region.horizons) == pytest.approx(row)
    for slot in range(at + 1, at + 13):
        assert plain_expected(made.counts, made.clock, slot) == pytest.approx(expected_rides(made.history, made.calendar, slot))


@pytest.mark.parametrize(("region", "first_day", "slots", "outages"), TOWNS)
def test_quiet_parts_are_what_they_mean(region: Region, first_day: str, slots: int, outages: tuple[int, ...]) -> None:
    """Rate, profile, last hour and last day of every cell equal the plain definition."""
    made = city(region, first_day, slots, outages=outages)
    at = made.history.next_slot - 1
    cells = [cell for cell in CELLS if cell in made.counts.cells()]
    rates = mean_rate(made.history, at, made.columns(cells))
    assert [plain_rate(made.counts, at, cell) for cell in cells] == pytest.approx(rates.tolist())
    parts = quiet_parts(made.history, made.calendar, at, made.columns(cells), region.horizons)
    for i, cell in enumerate(cells):
        expected = np.array(plain_quiet_parts(made.counts, made.clock, at, cell, region.horizons))
        assert expected == pytest.approx(parts[:, :, i])
