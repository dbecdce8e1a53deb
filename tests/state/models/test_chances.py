"""One probability serves levels, scores, trials and fairness: the same bits as the shares that recorded folds learned from."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from schemas.events.rides import Float64s
from state.models.chances import COVERED, UNDER, chance_within

probabilities = st.one_of(st.floats(0.0, 1.0), st.sampled_from((0.0, 0.1, 0.5, 0.9, 1.0)))


def recorded_share(levels: Float64s, below: Float64s, until: Float64s) -> Float64s:
    """The share of an interval below a level, as versions 4 and 5 of the fold computed it."""
    width = until - below
    inside = np.clip(levels - below, 0.0, width)
    return np.asarray(np.where(width > 0.0, inside / np.where(width > 0.0, width, 1.0), (below < levels) * 1.0), np.float64)


@given(st.lists(st.tuples(probabilities, probabilities, st.floats(0.01, 0.99)), min_size=1, max_size=20))
def test_the_chance_below_a_level_has_the_recorded_bits(rows: list[tuple[float, float, float]]) -> None:
    """The chance between 0 and a level is what recorded levels were moved by, to the last bit, also where F has no step."""
    one, other, levels = np.array(rows).T
    below, until = np.minimum(one, other), np.maximum(one, other)
    found = chance_within(below, until, (0.0, levels))
    assert recorded_share(levels, below, until).tobytes() == found.tobytes()
    assert 0.0 <= found.min() <= found.max() <= 1.0


@pytest.mark.parametrize(
    ("point", "interval", "expected"),
    [(0.1, COVERED, 1.0), (0.9, COVERED, 0.0), (0.5, UNDER, 1.0), (1.0, UNDER, 1.0), (1.0, COVERED, 0.0), (0.0, COVERED, 0.0)],
)
def test_without_a_step_the_point_decides(point: float, interval: tuple[float, float], expected: float) -> None:
    """Where F(y - 1) and F(y) are equal, the value is inside from the lower bound on, up to the upper one, which 1 includes."""
    assert [expected] == chance_within(np.array([point]), np.array([point]), interval).tolist()


def test_parts_add_up() -> None:
    """The chances of intervals that meet sum to one."""
    below, until = np.array([0.0, 0.05, 0.4, 0.95]), np.array([0.2, 0.97, 0.4, 1.0])
    parts = [chance_within(below, until, bounds) for bounds in ((0.0, 0.1), COVERED, (0.9, 1.0))]
    assert [1.0] * 4 == pytest.approx(np.sum(parts, axis=0).tolist())
