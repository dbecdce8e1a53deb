"""Converts (slot, cell, count) arrays to the delta-coded `CountTable` and back."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from schemas.errors import ContractError, DamagedError
from schemas.events.rides import Int64s, UInt64s
from schemas.records.record_codec import decode
from schemas.records.records import CountTable, SlotClosed, SlotCounts


def to_table(measure: str, slots: npt.ArrayLike, cells: npt.ArrayLike, counts: npt.ArrayLike) -> CountTable:
    """Encode one measure's counts as a table.

    Args:
        measure: Name of a row of `schemas.events.measures.MEASURES`.
        slots: int64[n], ascending.
        cells: uint64[n], strictly ascending within a slot.
        counts: int64[n], rides, >= 0.
    Raises:
        ContractError: lengths differ, rows are not sorted or repeat, or a count is negative.

    >>> to_table("pickups", [7, 7, 9], [3, 10, 4], [1, 2, 5])
    CountTable(measure='pickups', slots=(7, 0, 2), cells=(3, 7, -6), counts=(1, 2, 5))
    """
    slot, cell, count = np.asarray(slots, np.int64), np.asarray(cells, np.uint64).view(np.int64), np.asarray(counts, np.int64)
    if not len(slot) == len(cell) == len(count):
        raise ContractError(f"counts of {measure}: expected columns of one length, got {len(slot)}, {len(cell)}, {len(count)}")
    problem = _problem(slot, cell, count)
    if problem:
        raise ContractError(f"counts of {measure}: {problem}")
    return CountTable(
        measure=measure,
        slots=tuple(np.diff(slot, prepend=0).tolist()),
        cells=tuple(np.diff(cell, prepend=0).tolist()),
        counts=tuple(count.tolist()),
    )


def from_table(table: CountTable) -> tuple[Int64s, UInt64s, Int64s]:
    """Decode the rows of a table, sorted by slot and cell.

    Returns:
        slots int64[n], cells uint64[n], counts int64[n]
    Raises:
        DamagedError: not written by `to_table`: different lengths, rows out of order, or a negative count.

    >>> slots, cells, counts = from_table(CountTable(measure="pickups", slots=(7, 0, 2), cells=(3, 7, -6), counts=(1, 2, 5)))
    >>> slots.tolist(), cells.tolist(), counts.tolist()
    ([7, 7, 9], [3, 10, 4], [1, 2, 5])
    """
    n = len(table.slots)
    if not n == len(table.cells) == len(table.counts):
        raise DamagedError(f"counts of {table.measure}: expected {n} rows, got {len(table.cells)} cells and {len(table.counts)} counts")
    slots = np.cumsum(np.array(table.slots, np.int64))
    cells = np.cumsum(np.array(table.cells, np.int64))
    counts = np.array(table.counts, np.int64)
    problem = _problem(slots, cells, counts)
    if problem:
        raise DamagedError(f"counts of {table.measure}: {problem}")
    return slots, cells.view(np.uint64), counts


def tables_of(record: SlotClosed, read: Callable[[bytes], bytes]) -> tuple[tuple[CountTable, ...], tuple[CountTable, ...]]:
    """Counts and corrections of a recorded slot, from its entry or, if too large for an entry, from its blob.

    Args:
        record: The slot.
        read: Digest -> bytes of a blob; raises the errors of the blob store.
    """
    if not record.counts_blob:
        return record.counts, record.corrections
    body = decode(read(record.counts_blob), SlotCounts)
    return body.counts, body.corrections


def _problem(slots: Int64s, cells: Int64s, counts: Int64s) -> str:
    """What is wrong with the rows, or an empty text. A cell code has at most 60 bits, so it fits int64."""
    if len(slots) and int(cells.min()) < 0:
        return f"expected cell codes below 2^63, got {int(cells.min())}"
    if len(slots) and int(counts.min()) < 0:
        return f"expected counts of 0 or more, got {int(counts.min())}"
    slot_steps, cell_steps = np.diff(slots), np.diff(cells)
    wrong = np.flatnonzero((slot_steps < 0) | (slot_steps == 0) & (cell_steps <= 0))
    if len(wrong):
        at = int(wrong[0]) + 1
        return f"expected rows ascending by slot and cell, got ({slots[at]}, {cells[at]}) after ({slots[at - 1]}, {cells[at - 1]})"
    return ""
