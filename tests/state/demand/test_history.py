"""History compared with a plain dictionary, and its snapshots with an uninterrupted history."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.errors import ContractError, DamagedError
from schemas.events.cells import encode, neighbours, parents
from schemas.regions import Region, RegionId
from state.demand.history import HISTORY_DAYS, CountHistory
from tests.differences import assert_same
from tests.state.model_city import CELLS, FIRST_SLOT, HOURLY, fold, town_slots

COARSE = Region(id=RegionId("coarse"), timezone="UTC", polygon=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)), slot_min=720, horizons_min=(720,))

SLOT = st.tuples(
    st.dictionaries(st.sampled_from(CELLS[:9].tolist()), st.integers(1, 5), max_size=5),
    st.booleans(),
    st.lists(st.tuples(st.integers(1, 70), st.sampled_from(CELLS[:12].tolist()), st.integers(1, 3)), max_size=3),
)


Step = tuple[dict[int, int], bool, list[tuple[int, int, int]]]


def feed(history: CountHistory, plain: dict[tuple[int, int], int], slot: int, step: Step) -> None:
    """One slot into the history and into a dictionary (slot, cell) -> rides."""
    counts, observed, late = step
    known = [(slot - back, cell, rides) for back, cell, rides in late if 100 <= slot - back]
    if known:
        late_slots, late_cells, late_counts = zip(*known, strict=True)
        history.correct(np.array(late_slots), np.array(late_cells, np.uint64), np.array(late_counts))
    history.close(slot, np.array(list(counts), np.uint64), np.array(list(counts.values()), np.int64), observed=observed)
    oldest = slot - HISTORY_DAYS * history.day_slots
    for late_slot, cell, rides in known:
        if late_slot >= oldest:
            plain[late_slot, cell] = plain.get((late_slot, cell), 0) + rides
    for cell, rides in counts.items():
        plain[slot, cell] = plain.get((slot, cell), 0) + rides


@settings(max_examples=60, deadline=None)
@given(st.lists(SLOT, min_size=1, max_size=80), st.integers(0, 79), st.data())
def test_windows_equal_a_plain_count(steps: list[Step], cut: int, data: st.DataObject) -> None:
    """Any window of any cell, parent, neighbourhood and the city counts what a dictionary counts, snapshots in between or not."""
    history, plain = CountHistory(COARSE), dict[tuple[int, int], int]()
    for i, step in enumerate(steps):
        feed(history, plain, 100 + i, step)
        if i == cut:
            restored = CountHistory(COARSE)
            restored.from_arrays(history.to_arrays())
            assert history.digest() == restored.digest()
            history = restored
    low = data.draw(st.integers(history.oldest_slot, history.next_slot))
    high = data.draw(st.integers(low, history.next_slot))
    rides = {cell: sum(n for (slot, other), n in plain.items() if other == cell and low <= slot < high) for cell in history.cells.tolist()}
    columns = np.arange(len(rides))
    assert list(rides.values()) == history.window(low, high).tolist()
    before, after = history.cumulative((low, high), columns)
    assert list(rides.values()) == (after - before).tolist()
    before, after = history.parent_cumulative((low, high), columns)
    above = parents(history.cells)
    assert [sum(n for cell, n in rides.items() if cell >> 5 == parent) for parent in above.tolist()] == (after - before).tolist()
    before, after = history.neighbour_cumulative((low, high), columns)
    around = neighbours(history.cells, COARSE.cell_bits)
    assert [sum(rides.get(cell, 0) for cell in row) for row in around.tolist()] == (after - before).tolist()
    whole = history.city_cumulative((low, high))
    assert sum(n for (slot, _), n in plain.items() if low <= slot < high) == whole[1] - whole[0]
    observed = [step[1] for step in steps]
    assert sum(observed[low - 100 : high - 100]) == history.observed_slots(low, high)


def test_digest_does_not_depend_on_how_corrections_came() -> None:
    """Late rides given one at a time or together leave the same state."""
    one, other = CountHistory(HOURLY), CountHistory(HOURLY)
    for known in town_slots(30):
        fold(one, known)
        fold(other, known)
    slots, cells, counts = np.array([FIRST_SLOT + 3, FIRST_SLOT + 9]), CELLS[:2], np.array([2, 1])
    one.correct(slots, cells, counts)
    for i in (0, 1):
        other.correct(slots[i : i + 1], cells[i : i + 1], counts[i : i + 1])
    assert one.digest() == other.digest()


def test_universe_holds_cells_of_the_last_28_days_in_order() -> None:
    """A cell leaves the universe 28 days after its last ride; the others are sorted by code."""
    history = CountHistory(HOURLY)
    history.close(0, CELLS[[5, 2]], np.array([1, 1]), observed=True)
    for slot in range(1, 28 * 24 + 1):
        history.close(slot, CELLS[:1], np.array([1]), observed=True)
        assert [CELLS[0], CELLS[2], CELLS[5]] == history.cells[history.universe(slot)].tolist() or slot == 28 * 24
    assert [CELLS[0]] == history.cells[history.universe(28 * 24)].tolist()


def test_dead_columns_are_forgotten_and_nothing_else_changes() -> None:
    """After 29 days without a ride a cell's column goes; the windows of the others stay."""
    history = CountHistory(HOURLY)
    history.close(0, CELLS[:20], np.ones(20, np.int64), observed=True)
    for slot in range(1, 31 * 24):
        history.close(slot, CELLS[18:22], np.array([1, 2, 3, 4]), observed=True)
    assert CELLS[18:22].tolist() == history.cells.tolist()
    assert history.generation > 0
    assert [24, 48, 72, 96] == history.window(history.next_slot - 24, history.next_slot).tolist()
    assert -1 == history.columns_of(CELLS[:1])[0]


def test_slots_must_follow_each_other() -> None:
    """A skipped slot, a repeated slot and a correction of a future slot raise ContractError."""
    history = CountHistory(HOURLY)
    history.close(7, CELLS[:1], np.array([1]), observed=True)
    with pytest.raises(ContractError, match="expected slot 8, got 9"):
        history.close(9, CELLS[:1], np.array([1]), observed=True)
    with pytest.raises(ContractError, match="slots before 8, got 8"):
        history.correct(np.array([8]), CELLS[:1], np.array([1]))


def test_a_changed_snapshot_is_refused() -> None:
    """One altered count in a snapshot is found when it is restored."""
    history = CountHistory(HOURLY)
    for known in town_slots(10):
        fold(history, known)
    arrays = history.to_arrays()
    arrays["count"] = arrays["count"] + (np.arange(len(arrays["count"])) == 4)
    with pytest.raises(DamagedError, match="hash"):
        CountHistory(HOURLY).from_arrays(arrays)


def test_what_left_after_29_days_left_the_hash_too() -> None:
    """A history of forty days comes back from its snapshot, and its digest is that of the counts which are still known."""
    history = CountHistory(COARSE)
    for slot in range(80):
        history.close(slot, CELLS[slot % 3 : slot % 3 + 2], np.array([1 + slot % 5, 2]), observed=True)
        if slot == 75:
            history.correct(np.array([70, 3]), CELLS[:2], np.array([3, 3]))  # the second is forgotten already
    kept = history.to_arrays()
    restored = CountHistory(COARSE)
    restored.from_arrays(kept)
    assert history.digest() == restored.digest()
    again = CountHistory(COARSE)
    again.from_arrays(kept)
    for one in (history, again):
        one.close(80, CELLS[:1], np.array([4]), observed=True)
    assert history.digest() == again.digest()
    assert_same(again.to_arrays(), history.to_arrays())


def test_a_cell_is_not_its_own_neighbour() -> None:
    """At a pole, where a cell is returned for missing neighbours, its own rides are not counted as neighbouring rides."""
    history = CountHistory(HOURLY)
    pole = encode(np.array([89.9999]), np.array([0.0]), HOURLY.cell_bits)
    history.close(7, pole, np.array([5]), observed=True)
    before, after = history.neighbour_cumulative((7, 8), np.array([0]))
    assert [0] == (after - before).tolist()
