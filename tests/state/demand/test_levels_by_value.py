"""Every feature of the second table by value, against definitions worked out one cell at a time."""

import math

import numpy as np
import pytest

from schemas.regions import Region
from state.demand.features import build
from state.demand.profiles import PRIOR_SLOTS
from state.demand.tables import TABLES
from tests.state.demand.plain_levels import HALF_LIVES_MIN, PlainLevels, PlainTracked
from tests.state.demand.small_city import CELLS, FIVE, HOUR, QUARTER, city

TABLE, FIRST = TABLES[2], TABLES[1]
OWN_FEATURES = TABLE.names[len(FIRST) :]
TOWNS = [
    pytest.param(FIVE, "2014-03-08", 2 * 288 + 70, (288 + 100,), id="a change of the clock"),
    pytest.param(QUARTER, "2014-03-08", 9 * 96 + 50, (8 * 96 + 20, 9 * 96 + 47), id="quarter hours, outages, a holiday"),
    pytest.param(HOUR, "2014-03-22", 24 * 24 + 11, (17 * 24 + 3,), id="hours, over a change of the clock"),
    pytest.param(HOUR, "2014-03-22", 3, (), id="the first hours"),
]


@pytest.mark.parametrize(("region", "first_day", "slots", "outages"), TOWNS)
def test_the_second_table_is_what_it_means(region: Region, first_day: str, slots: int, outages: tuple[int, ...]) -> None:
    """Each feature of each cell equals its plain definition."""
    made = city(region, first_day, slots, outages=outages, late=False, tracked=True)
    at = made.history.next_slot - 1
    cells = [cell for cell in CELLS if cell in made.counts.cells()]
    matrix = build(made.history, made.calendar, at, made.columns(cells), TABLE)
    plain = PlainTracked(PlainLevels(made.counts, made.clock, PRIOR_SLOTS), at)
    for cell, row in zip(cells, matrix[:, len(FIRST) :].tolist(), strict=True):
        expected = plain.of(cell)
        assert set(OWN_FEATURES) == set(expected)
        wrong = {name: (expected[name], found) for name, found in zip(OWN_FEATURES, row, strict=True) if not same(expected[name], found)}
        assert not wrong, f"cell {cell}"


@pytest.mark.parametrize(("region", "slots"), [(QUARTER, 400), (HOUR, 300)])
def test_late_rides_count_as_if_they_had_come_in_time(region: Region, slots: int) -> None:
    """Decayed counts of a cell, a parent and the region include late rides with the decay of their slot."""
    made = city(region, "2014-03-08", slots, outages=(slots - 30,), tracked=True)
    counts, until = made.counts, made.history.next_slot
    columns = made.columns(CELLS)
    groups = [
        (made.history.levels.own[0][:, columns[0]], [CELLS[0]]),
        (made.history.levels.parent[0][:, made.history.parent_of[columns[0]]], counts.siblings(CELLS[0])),
        (made.history.levels.city[0], CELLS),
    ]
    for found, cells in groups:
        for minutes, value in zip(HALF_LIVES_MIN, found.tolist(), strict=True):
            keep = 0.5 ** (1 / max(minutes / region.slot_min, 0.5))
            seen = [slot for slot in range(counts.first, until) if slot in counts.observed]
            assert sum(counts.total(cells, slot, slot + 1) * keep ** (until - 1 - slot) for slot in seen) == pytest.approx(value)


def same(expected: float, found: float) -> bool:
    """Whether they agree as float32; a missing value equals only a missing value."""
    return math.isnan(found) if math.isnan(expected) else bool(np.isclose(found, expected, rtol=2e-6, atol=2e-6))
