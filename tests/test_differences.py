"""A failing comparison names the first place that differs, not the size of what was compared."""

import dataclasses

import numpy as np
import pytest

from schemas.records.record_codec import encode
from schemas.records.records import StateDigested, UniverseChanged
from tests.differences import assert_same, assert_same_payloads, difference, payload_difference


@dataclasses.dataclass(frozen=True)
class Pair:
    """A value with two fields."""

    one: int
    rows: np.ndarray


@pytest.mark.parametrize(
    ("expected", "found", "said"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, "x['b']: expected nothing, got 2 (1 keys too many)"),
        ({"a": 1, "b": 2}, {"a": 1}, "x['b']: expected 2, got nothing (1 keys are missing)"),
        ([1, 2, 3], [1, 2], "x: expected 3 items, got 2; the first that is not there: 3"),
        ([1], [1, 2], "x: expected 1 items, got 2; the first that is too many: 2"),
        (b"abc", b"abd", "x, byte 2: expected 3 bytes with 63, got 3 bytes with 64"),
        (b"ab", b"abc", "x, byte 2: expected 2 bytes with the end, got 3 bytes with 63"),
        (np.array([1.0, np.nan]), np.array([2.0, np.nan]), "x[0]: expected 1.0, got 2.0 (1 of 2 values differ)"),
        (np.zeros(2), np.zeros(3), "x: expected float64[2], got float64[3]"),
        (np.zeros(2), np.zeros(2, np.int64), "x: expected float64[2], got int64[2]"),
        (Pair(1, np.zeros(1)), Pair(2, np.zeros(1)), "x.one: expected 1, got 2"),
        (Pair(1, np.zeros(1)), Pair(1, np.ones(1)), "x.rows[0]: expected 0.0, got 1.0 (1 of 1 values differ)"),
        (1, 1.0, "x: expected 1, got 1.0"),
        ("a" * 300, "b", f"x: expected {repr('a' * 300)[:200]}... (302 letters), got 'b'"),
    ],
)
def test_the_first_difference_is_named(expected: object, found: object, said: str) -> None:
    """Place and both values are said, whatever the values are."""
    assert said == difference(expected, found, "x")
    with pytest.raises(AssertionError):
        assert_same(expected, found)


@pytest.mark.parametrize("value", [{}, [1, "a", None], b"\x00", np.array([np.nan]), Pair(1, np.array([np.nan])), float("nan")])
def test_equal_values_have_no_difference(value: object) -> None:
    """A value equals itself, missing numbers too."""
    assert difference(value, value) is None
    assert_same(value, value)


def test_of_two_logs_the_record_is_named() -> None:
    """Entry and field are said where payloads differ, and how many are missing where one log is shorter."""
    first = UniverseChanged(region="nyc", slot=7, version=1, cells=0, added=(), retired=())
    one, other = (encode(StateDigested(region="nyc", slot=slot, integers=b"i", models=b"m")) for slot in (7, 8))
    assert "entry 1.slot: expected 7, got 8" == payload_difference([encode(first), one], [encode(first), other])
    assert "log: expected 2 items, got 1" in str(payload_difference([one, other], [one]))
    assert payload_difference([one], [one]) is None
    with pytest.raises(AssertionError, match="entry 0"):
        assert_same_payloads([one], [b"not a record"])
