"""Deduplication against a plain dictionary: a ride repeats if its id occurred within the horizon before it, and only then."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.events.rides import UInt64s
from state.counting.seen import Seen

U64 = np.uint64


def plainly(ids: list[int], offsets: list[int], horizon: int) -> list[bool]:
    """Which events are duplicates, from the definition: the last event with that id lies at most `horizon` offsets back."""
    last: dict[int, int] = {}
    out = []
    for key, offset in zip(ids, offsets, strict=True):
        out.append(key in last and offset - last[key] <= horizon)
        last[key] = offset
    return out


def marked(ids: list[int] | UInt64s, offsets: list[int], horizon: int, cuts: list[int]) -> list[bool]:
    """The same from `Seen`, its input cut into batches at these rows."""
    seen, out = Seen(horizon), list[bool]()
    bounds = [0, *sorted({min(cut, len(offsets)) for cut in cuts}), len(offsets)]
    for start, stop in pairwise(bounds):
        out += seen.mark(np.array(ids[start:stop], U64), np.array(offsets[start:stop], np.int64)).tolist()
    return out


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 9)), max_size=120),
    st.integers(1, 40),
    st.lists(st.integers(0, 120), max_size=8),
    st.integers(0, 10**9),
)
@settings(max_examples=300, deadline=None)
def test_the_horizon_law(steps: list[tuple[int, int]], horizon: int, cuts: list[int], first: int) -> None:
    """For any ids, any holes between offsets, any horizon and any batches the answer is the dictionary's."""
    offsets = (first + np.cumsum([step for _, step in steps])).tolist()
    ids = [key for key, _ in steps]
    assert plainly(ids, offsets, horizon) == marked(ids, offsets, horizon, cuts)


@pytest.mark.parametrize(("distance", "repeats"), [(1, True), (99, True), (100, True), (101, False), (200, False), (10**12, False)])
@pytest.mark.parametrize("first", [0, 1, 57, 99, 100, 12_345])
def test_the_horizon_is_exact(first: int, distance: int, repeats: bool) -> None:
    """An id is known for exactly the horizon, wherever the generations of the table change."""
    assert [False, repeats] == marked([7, 7], [first, first + distance], 100, [1])
    assert [False, repeats] == marked([7, 7], [first, first + distance], 100, [])


def test_a_duplicate_is_remembered_too() -> None:
    """A ride that repeats again and again stays a duplicate, since each repeat is seen anew."""
    offsets = list(range(0, 1_000, 90))
    assert [False] + [True] * (len(offsets) - 1) == marked([5] * len(offsets), offsets, 100, list(range(20)))


def test_a_long_silence_forgets() -> None:
    """After a hole of several horizons nothing of before is known."""
    assert [False] * 4 == marked([1, 2, 1, 2], [0, 1, 350, 351], 100, [2])


def test_ids_that_hash_to_nothing_or_alike_are_kept_apart() -> None:
    """The hash 0, which marks a free place, is a hash like another, and keys on one place find their own."""
    assert [False, True] == marked([0, 0], [3, 4], 10, [1])
    crowd = np.arange(1, 3_000, dtype=U64) << U64(44)  # few different places, so long chains
    twice = np.concatenate([crowd, crowd])
    expected = [False] * len(crowd) + [True] * len(crowd)
    assert expected == marked(twice, list(range(len(twice))), 10_000, [17, 2_000, 4_000])


def test_a_table_that_grows_loses_nothing() -> None:
    """Far more ids than the first table holds are all known afterwards, and no other is."""
    rng = np.random.default_rng(5)
    ids = np.unique(rng.integers(1, 2**63, 40_000).astype(U64))
    known, strangers = ids[::2], ids[1::2]
    seen = Seen(horizon=1_000_000)
    assert not seen.mark(known, np.arange(len(known))).any()
    probe = np.concatenate([known, strangers])
    offsets = len(known) + np.arange(len(probe))
    assert [True] * len(known) + [False] * len(strangers) == seen.mark(probe, offsets).tolist()


def test_nothing_marked_is_nothing_said() -> None:
    """A batch of no events has no duplicates and changes nothing."""
    seen = Seen(horizon=5)
    assert [] == seen.mark(np.empty(0, U64), np.empty(0, np.int64)).tolist()
    assert [False, True] == seen.mark(np.array([1, 1], U64), np.array([0, 1])).tolist()


def test_a_hash_of_zero_is_an_id_like_any_other() -> None:
    """Zero marks an empty place in the table, but an id whose hash is zero is new the first time and known the second."""
    seen = Seen(100)
    assert [False] == seen.mark(np.array([9], np.uint64), np.array([1])).tolist()
    assert [False] == seen.mark(np.array([0], np.uint64), np.array([2])).tolist()
    assert [True] == seen.mark(np.array([0], np.uint64), np.array([3])).tolist()
