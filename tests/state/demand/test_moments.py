"""Repeated running totals against a plain table of counts."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from state.demand.moments import MomentRing, parabola
from state.demand.ring import FIRST_COLUMNS, MOST_NEW_COLUMNS

ROWS, COLUMNS = 40, 5
COUNTS = st.dictionaries(st.integers(0, COLUMNS - 1), st.integers(1, 2_000), max_size=4)
STEPS = st.lists(st.tuples(COUNTS, COUNTS, st.integers(1, 30)), min_size=1, max_size=90)


def arrays(counts: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Columns and counts."""
    return np.array(list(counts), np.int64), np.array(list(counts.values()), np.int64)


@given(STEPS, st.integers(0, 10**6), st.integers(1, 6), st.data())
@settings(max_examples=100, deadline=None)
def test_smoothed_windows_are_those_of_a_table(
    steps: list[tuple[dict[int, int], dict[int, int], int]], first: int, width: int, data: st.DataObject
) -> None:
    """Any kept window has the sum of its smoothed counts to the last unit, late rides included, in all columns or some."""
    ring, plain = MomentRing(ROWS), np.zeros((len(steps), COLUMNS), np.int64)
    ring.widen(COLUMNS)
    for i, (counts, late, back) in enumerate(steps):
        if 0 < back <= min(i, ROWS - 1):
            columns, values = arrays(late)
            ring.add(first + i - back, first + i, columns, values)
            plain[i - back, columns] += values
        columns, values = arrays(counts)
        ring.push(first + i, columns, values)
        plain[i, columns] += values
    oldest, end = max(0, len(steps) - ROWS + 1), len(steps)
    if end - oldest < 2 * width + 2:
        return
    low = data.draw(st.integers(oldest + width + 2, end - width + 1))
    high = data.draw(st.integers(low, end - width + 1))
    expected = sum(
        weight * plain[slot + k] for slot in range(low, high) for k, weight in zip(range(1 - width, width), parabola(width), strict=True)
    )
    bounds = np.array([first + low, first + high])
    before, after = ring.smoothed(bounds, width)
    assert (np.zeros(COLUMNS) + expected).tolist() == (after - before).tolist()
    before, after = ring.smoothed(bounds, width, np.array([3, 0]))
    assert (np.zeros(COLUMNS) + expected)[[3, 0]].tolist() == (after - before).tolist()


def test_a_filled_ring_goes_on_as_the_one_that_lived() -> None:
    """Filled from sparse counts of the kept slots, later windows are the same."""
    rng = np.random.default_rng(1)
    table = rng.poisson(1.0, (60, COLUMNS))
    lived, filled = MomentRing(ROWS), MomentRing(ROWS)
    for ring in (lived, filled):
        ring.widen(COLUMNS)
    for slot in range(50):
        lived.push(slot, np.arange(COLUMNS), table[slot])
    slots, columns = np.nonzero(table[20:50])
    filled.fill(20, 50, slots + 20, columns, table[20:50][slots, columns])
    for ring in (lived, filled):
        for slot in range(50, 60):
            ring.push(slot, np.arange(COLUMNS), table[slot])
    bounds = np.arange(28, 57)
    assert np.diff(lived.smoothed(bounds, 4), axis=0).tolist() == np.diff(filled.smoothed(bounds, 4), axis=0).tolist()


def test_rows_asked_for_before_follow_late_rides_and_new_columns() -> None:
    """Whatever was asked before, late rides came, columns grew or rows were dropped: the same as computed from the totals."""
    rng = np.random.default_rng(2)
    ring, columns, most = MomentRing(ROWS), 3, 0
    for slot in range(100, 260):
        if slot % 11 == 0:
            columns += 9 if slot > 200 else 1
        ring.widen(columns)
        if slot % 3 == 0 and slot > 120:
            ring.add(slot - int(rng.integers(1, ROWS - 1)), slot, rng.integers(0, columns, 1), np.array([2]))
        ring.push(slot, np.arange(columns), rng.poisson(1.0, columns))
        if slot < 100 + ROWS or slot % 40 > 30:  # for a while nothing is asked
            continue
        for width in (1, 4):
            bounds = np.array([[slot - 16, slot - 14], [slot - 9, slot - 16]]) + 1
            computed = ring.smoothed(bounds, width, np.arange(columns))
            assert computed.tolist() == ring.smoothed(bounds, width).tolist()
        most = max(most, ring.kept)
    assert 2 * 3 < most <= 2 * 3 * 13


@pytest.mark.parametrize("columns", [1, FIRST_COLUMNS, FIRST_COLUMNS + 1, 3 * MOST_NEW_COLUMNS + 5])
def test_wider_rings_keep_what_they_counted(columns: int) -> None:
    """However wide it becomes, old counts stay and new columns have none."""
    ring = MomentRing(ROWS)
    ring.widen(1)
    for slot in range(10):
        ring.push(slot, np.array([0]), np.array([slot]))
    ring.widen(columns)
    before, after = ring.smoothed(np.array([5, 6]), 2)
    assert [3 * 4 + 4 * 5 + 3 * 6] + [0] * (columns - 1) == (after - before).tolist()
