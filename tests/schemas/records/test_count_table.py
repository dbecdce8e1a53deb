"""Counts survive the way into a record and back, and nothing unsorted gets in or out."""

import doctest

import numpy as np
import pytest
from hypothesis import given, strategies as st

import schemas.records.count_table
from schemas.errors import ContractError, DamagedError
from schemas.records.count_table import from_table, to_table
from schemas.records.record_codec import decode, encode
from schemas.records.records import CountTable

KEYS = st.tuples(st.integers(0, 2**33), st.integers(0, 2**60 - 1))


def test_documented_examples_run() -> None:
    """The examples in the docstrings give what they say."""
    assert doctest.testmod(schemas.records.count_table).failed == 0


@given(st.dictionaries(KEYS, st.integers(0, 2**40)))
def test_rows_come_back_through_the_bytes_of_a_record(rows: dict[tuple[int, int], int]) -> None:
    """from_table(decode(encode(to_table(rows)))) gives the same rows with the promised types."""
    keys = sorted(rows)
    slots, cells = [slot for slot, _ in keys], [cell for _, cell in keys]
    counts = [rows[key] for key in keys]
    back = from_table(decode(encode(to_table("pickups", slots, cells, counts)), CountTable))
    assert [slots, cells, counts] == [column.tolist() for column in back]
    assert [np.int64, np.uint64, np.int64] == [column.dtype for column in back]


@pytest.mark.parametrize(
    ("slots", "cells", "counts", "said"),
    [
        ([1, 2], [1], [1, 1], "one length"),
        ([2, 1], [1, 2], [1, 1], "ascending"),
        ([1, 1], [2, 2], [1, 1], "ascending"),
        ([1], [2**63], [1], "below 2"),
        ([1], [2], [-1], "0 or more"),
    ],
)
def test_unsorted_rows_are_refused(slots: list[int], cells: list[int], counts: list[int], said: str) -> None:
    """A caller that breaks the order is told which rows."""
    with pytest.raises(ContractError, match=said):
        to_table("pickups", slots, np.array(cells, np.uint64), counts)


@pytest.mark.parametrize(
    "table",
    [
        CountTable(measure="pickups", slots=(1, 0), cells=(1, 1), counts=(1,)),
        CountTable(measure="pickups", slots=(1, -1), cells=(1, 1), counts=(1, 1)),
        CountTable(measure="pickups", slots=(1, 0), cells=(1, 0), counts=(1, 1)),
        CountTable(measure="pickups", slots=(1,), cells=(-1,), counts=(1,)),
        CountTable(measure="pickups", slots=(1,), cells=(1,), counts=(-1,)),
    ],
)
def test_a_damaged_table_is_named(table: CountTable) -> None:
    """A table that to_table cannot have written is damage, not counts."""
    with pytest.raises(DamagedError, match="counts of pickups"):
        from_table(table)
