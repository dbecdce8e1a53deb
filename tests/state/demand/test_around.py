"""Sums over the cells around each cell."""

import dataclasses
import math

import numpy as np
import pytest

from schemas.events.cells import encode
from state.demand.around import KERNELS_KM, MOST_STEPS, Around
from tests.state.demand.plain_counts import column_and_row
from tests.state.demand.small_city import FIVE
from tests.state.model_city import CELLS, HOURLY


@pytest.mark.parametrize("kernel", [0, 1])
def test_sums_weigh_cells_by_their_distance(kernel: int) -> None:
    """Every sum is that of a Gaussian over the other cells within two standard deviations."""
    rng = np.random.default_rng(2)
    values, km = rng.random((len(CELLS), 2)), KERNELS_KM[kernel]
    wide, high = 111.2 * math.cos(math.radians(40.5)) * 360 / 2**15, 111.2 * 180 / 2**15
    places = [column_and_row(int(cell), 30) for cell in CELLS]
    expected = np.zeros((len(CELLS), 2))
    for i, (x, y) in enumerate(places):
        for j, (other_x, other_y) in enumerate(places):
            away = math.hypot((other_x - x) * wide, (other_y - y) * high)
            if i != j and away <= 2 * km:
                expected[i] += math.exp(-0.5 * (away / km) ** 2) * values[j]
    found = Around(HOURLY).sums(kernel, CELLS, np.arange(len(CELLS)), values)
    assert expected.max() > 0
    assert expected.tolist() == [pytest.approx(row) for row in found.tolist()]


def test_sums_have_the_same_bits_in_any_order_of_cells() -> None:
    """Neither the order of the known cells, nor cells without rides, nor the choice of cells changes a bit."""
    rng = np.random.default_rng(3)
    values = rng.random((len(CELLS), 4))
    whole = Around(HOURLY).sums(1, CELLS, np.arange(len(CELLS)), values)
    order = rng.permutation(len(CELLS))
    again = Around(HOURLY).sums(1, CELLS[order], np.arange(len(CELLS)), values[order])
    assert whole[order].tobytes() == again.tobytes()
    moved = Around(HOURLY)
    moved.sums(1, CELLS[order], np.arange(len(CELLS)), values)
    assert whole.tobytes() == moved.sums(1, CELLS, np.arange(len(CELLS)), values).tobytes()
    more = np.concatenate([encode(40.5 + 0.00549316 * np.arange(9.0), np.full(9, -73.92), 30), CELLS])
    more = more[np.sort(np.unique(more, return_index=True)[1])]
    places = np.array([more.tolist().index(cell) for cell in CELLS.tolist()])
    wider = np.zeros((len(more), 4))
    wider[places] = values
    assert whole[[5, 1]].tobytes() == Around(HOURLY).sums(1, more, places[[5, 1]], wider).tobytes()


def test_small_cells_have_bounded_surroundings_and_large_cells_none() -> None:
    """The number of cells in a sum is bounded; without known cells or near ones, sums are zero."""
    small = Around(dataclasses.replace(FIVE, precision=8))
    lat, lon = (axis.ravel() for axis in np.meshgrid(40.5 + 0.00017 * np.arange(40.0), -74 + 0.00034 * np.arange(40.0)))
    cells = np.unique(encode(lat, lon, 40))
    assert small.sums(1, cells, np.arange(len(cells)), np.ones((len(cells), 1))).max() <= MOST_STEPS
    large = Around(dataclasses.replace(FIVE, precision=4))
    cells = np.unique(encode(np.arange(40.0, 41.0, 0.1), np.full(10, -74.0), 20))
    assert [0.0] * len(cells) == large.sums(1, cells, np.arange(len(cells)), np.ones((len(cells), 1)))[:, 0].tolist()
    assert (0, 3) == small.sums(0, cells[:0], np.arange(0), np.zeros((0, 3))).shape
