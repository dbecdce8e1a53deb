"""Every feature by value, against its definition worked out one cell at a time."""

import math

import pytest

from schemas.regions import Region
from state.demand.features import NAMES, build
from tests.state.demand.plain_features import PlainFeatures
from tests.state.demand.small_city import CELLS, FIVE, HOUR, QUARTER, city


@pytest.mark.parametrize(
    ("region", "first_day", "slots", "outages"),
    [
        # Thirty-one days with a change of the clock, to a Sunday evening before a holiday.
        pytest.param(FIVE, "2014-02-13", 31 * 288 + 211, (), id="five minutes, a month"),
        # On the holiday: days of its kind are those of the weekend; a week before, a slot was not observed.
        pytest.param(FIVE, "2014-02-20", 25 * 288 + 120, (18 * 288 + 110,), id="five minutes, holiday, a week before missing"),
        # The last hour holds an outage, and yesterday one just outside the last horizon.
        pytest.param(FIVE, "2014-03-01", 11 * 288 + 100, (11 * 288 + 93, 10 * 288 + 115), id="five minutes, the last hour missing"),
        # The last quarter is whole, the last hour is not; the day of a week before is not either.
        pytest.param(FIVE, "2014-03-03", 9 * 288 + 40, (9 * 288 + 31, 288 + 200), id="five minutes, part of the last hour missing"),
        pytest.param(FIVE, "2014-03-03", 3 * 288 + 9, (), id="five minutes, before there is a week"),
        pytest.param(FIVE, "2014-03-03", 13, (2,), id="five minutes, an hour after the start"),
        pytest.param(QUARTER, "2014-02-13", 31 * 96 + 70, (24 * 96 + 80,), id="quarter hours, four horizons"),
        pytest.param(HOUR, "2014-03-19", 30 * 24 + 7, (), id="hours, on a holiday"),
        pytest.param(HOUR, "2014-03-05", 29 * 24 + 22, (22 * 24 + 1,), id="hours, a month with an outage"),
    ],
)
def test_every_feature_is_what_it_means(region: Region, first_day: str, slots: int, outages: tuple[int, ...]) -> None:
    """Each column of the matrix equals the plain definition for every cell, missing where that is missing."""
    made = city(region, first_day, slots, outages=outages)
    at = made.history.next_slot - 1
    cells = [cell for cell in CELLS if cell in made.counts.cells()]
    matrix = build(made.history, made.calendar, at, made.columns(cells))
    plain = PlainFeatures(made.counts, made.clock, at)
    wrong = []
    for cell, row in zip(cells, matrix.tolist(), strict=True):
        expected = plain.of(cell)
        assert set(expected) == set(NAMES)
        for name, found in zip(NAMES, row, strict=True):
            if not same(expected[name], found):
                wrong.append(f"{name} of cell {cell}: expected {expected[name]}, got {found}")
    assert [] == wrong


def same(expected: float, found: float) -> bool:
    """Equal but for the rounding of a float32, or missing both."""
    return math.isnan(found) if math.isnan(expected) else math.isclose(expected, found, rel_tol=2e-6, abs_tol=2e-6)
