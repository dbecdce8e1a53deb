"""Rows of a lesson: some of them are the same rows, copied or not."""

import numpy as np
from hypothesis import given, strategies as st

from state.models.chain_fitting import Lesson


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_some_rows_are_those_wanted(wanted: list[bool]) -> None:
    """Rows that follow one another, and any others, are those that a mask picks; what follows one another is not copied."""
    n, mask = len(wanted), np.array(wanted)
    numbers = np.arange(n, dtype=np.float64)
    whole = Lesson(np.arange(2 * n, dtype=np.float32).reshape(n, 2), numbers, 2.0 * numbers, 3.0 * numbers)
    some = whole.where(mask)
    for name in ("features", "rides", "margin", "weights"):
        assert np.array_equal(getattr(whole, name)[mask], getattr(some, name))
    places = np.flatnonzero(mask)
    together = len(places) > 0 and np.array_equal(places, np.arange(places[0], places[-1] + 1))
    assert np.shares_memory(whole.features, some.features) == bool(together)
