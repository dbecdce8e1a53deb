"""Cumulative rows compared with a plain table of counts, for any sequence of operations."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.events.rides import Int64s
from state.demand.ring import FIRST_COLUMNS, MOST_NEW_COLUMNS, CumulativeRing, count_hash

ROWS = 7  # boundaries, so the last six slots are known

COUNTS = st.dictionaries(st.integers(0, 9), st.integers(1, 50), max_size=5)
STEPS = st.lists(st.tuples(COUNTS, COUNTS, st.integers(1, ROWS - 2)), min_size=1, max_size=25)


def arrays(counts: dict[int, int]) -> tuple[Int64s, Int64s]:
    """Columns and counts of a dictionary."""
    return np.array(list(counts), np.int64), np.array(list(counts.values()), np.int64)


def lived(steps: list[tuple[dict[int, int], dict[int, int], int]], first: int) -> tuple[CumulativeRing, np.ndarray]:
    """A ring that was pushed to and corrected, and the plain table int64[slot - first, column]."""
    ring, plain = CumulativeRing(ROWS), np.zeros((len(steps), 10), np.int64)
    ring.widen(10)
    for i, (counts, late, back) in enumerate(steps):
        ring.push(first + i, *arrays(counts))
        columns, values = arrays(counts)
        plain[i, columns] += values
        if back <= i:
            columns, values = arrays(late)
            ring.add(first + i - back, first + i + 1, columns, values)
            plain[i - back, columns] += values
    return ring, plain


@given(STEPS, st.integers(0, 10**6), st.data())
@settings(max_examples=150, deadline=None)
def test_windows_and_corrections_are_those_of_a_table(
    steps: list[tuple[dict[int, int], dict[int, int], int]], first: int, data: st.DataObject
) -> None:
    """Any window that is still kept has the sum of the table, through every method that returns it."""
    ring, plain = lived(steps, first)
    end = len(steps)
    low = data.draw(st.integers(max(0, end - ROWS + 1), end))
    high = data.draw(st.integers(low, end))
    expected = plain[low:high].sum(axis=0)
    picked = np.array([3, 3, 0, 9])
    assert expected.tolist() == ring.between(first + low, first + high).tolist()
    assert expected[picked].tolist() == ring.between(first + low, first + high, picked).tolist()
    before, after = ring.totals([first + low, first + high], picked.reshape(2, 2))
    assert expected[picked].reshape(2, 2).tolist() == (after - before).tolist()
    slots, columns, counts = ring.sparse(first + low, first + high)
    listed = [(slot, column, int(plain[slot, column])) for slot in range(low, high) for column in range(10) if plain[slot, column]]
    assert listed == list(zip((slots - first).tolist(), columns.tolist(), counts.tolist(), strict=True))


@given(STEPS, st.integers(0, 10**6))
@settings(max_examples=80, deadline=None)
def test_filling_undoes_sparse(steps: list[tuple[dict[int, int], dict[int, int], int]], first: int) -> None:
    """A ring filled from another's sparse counts has equal windows, also after later operations."""
    ring, _ = lived(steps, first)
    low, end = first + max(0, len(steps) - ROWS + 1), first + len(steps)
    other = CumulativeRing(ROWS)
    other.widen(10)
    other.fill(low, end, *ring.sparse(low, end))
    for one in (ring, other):
        one.push(end, np.array([2]), np.array([5]))
    for slot in range(low + 1, end + 2):
        assert ring.between(slot, end + 1).tolist() == other.between(slot, end + 1).tolist()


@pytest.mark.parametrize("columns", [1, FIRST_COLUMNS - 1, FIRST_COLUMNS, FIRST_COLUMNS + 1, 3 * MOST_NEW_COLUMNS + 5])
def test_wider_rings_keep_what_they_counted_and_a_free_column(columns: int) -> None:
    """However wide it becomes, old counts stay, new columns have none, and index -1 stands for no cell."""
    ring = CumulativeRing(ROWS)
    ring.widen(1)
    ring.push(0, np.array([0]), np.array([4]))
    ring.widen(columns)
    assert [4] + [0] * (columns - 1) == ring.between(0, 1).tolist()
    ring.push(1, np.arange(columns), np.full(columns, 2))
    low, high = ring.totals([0, 2], np.array([-1, 0, columns - 1]))
    assert 0 == (high - low)[0]
    assert 6 == (high - low)[1]
    ring.widen(1)  # never narrower
    assert columns == ring.columns


def test_a_column_may_come_more_than_once() -> None:
    """Counts of one column in one push add up."""
    ring = CumulativeRing(ROWS)
    ring.widen(2)
    ring.push(5, np.array([1, 0, 1]), np.array([2, 3, 4]))
    assert [3, 6] == ring.between(5, 6).tolist()


def test_dropped_columns_are_gone_and_the_others_move() -> None:
    """Kept columns are in the given order; all others are zero."""
    ring = CumulativeRing(ROWS)
    ring.widen(4)
    ring.push(0, np.arange(4), np.array([1, 2, 3, 4]))
    ring.keep(np.array([3, 1]))
    assert [4, 2] == ring.between(0, 1).tolist()
    low, high = ring.totals([0, 1], np.array([-1]))
    assert [0] == (high - low).tolist()


def test_totals_may_wrap_around() -> None:
    """Totals beyond 2^31 wrap, and windows across that point are still correct."""
    ring = CumulativeRing(ROWS)
    ring.widen(1)
    for slot in range(5):
        ring.push(slot, np.array([0]), np.array([1 << 30]))
    ring.push(5, np.array([0]), np.array([7]))
    assert [(1 << 30) + 7] == ring.between(4, 6).tolist()


@given(st.lists(st.tuples(st.integers(0, 2**31), st.integers(0, 2**40 - 1), st.integers(1, 1_000)), max_size=20), st.randoms())
def test_the_hash_of_counts_adds_up(rows: list[tuple[int, int, int]], random: object) -> None:
    """Any order and any split of the same counts hash alike, and one ride more does not."""

    def hashed(some: list[tuple[int, int, int]]) -> np.ndarray:
        slots, cells, counts = (np.array([row[i] for row in some], np.int64) for i in range(3))
        return count_hash(slots, cells.astype(np.uint64), counts)

    mixed = list(rows)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    half = len(rows) // 2
    ones = [(slot, cell, 1) for slot, cell, count in rows for _ in range(min(count, 3))]
    rest = [(slot, cell, count - 3) for slot, cell, count in rows if count > 3]
    assert hashed(rows).tolist() == (hashed(mixed[:half]) + hashed(mixed[half:])).tolist()
    assert hashed(rows).tolist() == (hashed(ones) + hashed(rest)).tolist()
    assert hashed(rows).tolist() != hashed([*rows, (1, 2, 1)]).tolist()
