"""What crosses to a region: a partition's log cut into partials anywhere merges to the same slots."""

import dataclasses
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.errors import DiscontinuityError
from schemas.events.rides import no_rides
from schemas.regions import load_region
from state.counting.intake import IntakeRules, PartitionIntake
from state.counting.partials import NO_ROWS, Partial, ResumePoint, Rows, Standing
from state.counting.slots import ClosedSlot, GapFound, HorizonFound, OpenSlots

SLOT_US = 300_000_000
FIRST = 100  # first slot counted live
CELLS = (5, 9, 12)

Event = tuple[int, int]  # slot, cell


def partial_of(events: list[Event], start: int, stop: int, standing: Standing = Standing.FLOWING) -> Partial:
    """Offsets [start, stop) of a log as intake would hand them on: a cut wherever the largest slot rises."""
    largest = [max([FIRST, *(slot for slot, _ in events[: offset + 1])]) for offset in range(len(events))]
    before = largest[start - 1] if start else FIRST
    cuts, first_uncut = [], [before]
    for offset in range(start, stop):
        if largest[offset] > first_uncut[-1]:
            cuts.append(offset)
            first_uncut.append(largest[offset])
    pieces = np.searchsorted(cuts, np.arange(start, stop), side="right")
    counts: dict[tuple[int, int, int], int] = {}
    lowest: dict[tuple[int, int], int] = {}
    for offset, piece in zip(range(start, stop), pieces.tolist(), strict=True):
        slot, cell = events[offset]
        counts[piece, slot, cell] = counts.get((piece, slot, cell), 0) + 1
        lowest.setdefault((piece, slot), offset)
    keys = sorted(counts)
    in_piece, slots, cells = (np.array([key[i] for key in keys], np.int64) for i in range(3))
    values = np.array([counts[key] for key in keys], np.int64)
    rows = Rows(in_piece.astype(np.int32), slots, np.zeros(len(keys), np.uint8), cells.astype(np.uint64), values)
    low = sorted(lowest)
    events_per_piece = np.bincount(pieces, minlength=len(first_uncut)).astype(np.int64)
    ends = [*cuts, stop]
    reached = np.array([max([-1, *((slot + 1) * SLOT_US - 1 for slot, _ in events[:end])]) for end in ends], np.int64)
    return Partial(
        "town",
        0,
        start,
        stop,
        np.array(cuts, np.int64),
        np.array(first_uncut, np.int64),
        reached,
        rows if keys else NO_ROWS,
        (np.array([k[0] for k in low], np.int32), np.array([k[1] for k in low], np.int64), np.array([lowest[k] for k in low], np.int64)),
        dict.fromkeys(("received", "accepted", "counted"), events_per_piece),
        standing,
    )


def fresh() -> OpenSlots:
    """A region of one partition that has read nothing."""
    return OpenSlots("town", 1, FIRST, {0: ResumePoint(0, 0, FIRST - 1, -1, FIRST)})


def told(closed: ClosedSlot) -> tuple[object, ...]:
    """A closed slot in a form that compares."""
    columns = [[part.tolist() for part in (c.slots, c.cells, c.counts)] for c in (*closed.counts, *closed.corrections)]
    return closed.slot, closed.cuts, columns, closed.findings


def closed_by(events: list[Event], bounds: list[tuple[int, int]]) -> list[tuple[object, ...]]:
    """All slots that close when the log comes in these pieces and then ends."""
    slots, out = fresh(), []
    for start, stop in bounds:
        slots.absorb(partial_of(events, start, stop, Standing.ENDED if stop == len(events) else Standing.FLOWING))
        if slots.ended:
            slots.close_rest(max([FIRST, *(slot for slot, _ in events)]))
        while slots.next_slot < slots.closable_until:
            out.append(told(slots.close()))
    return out


@given(st.lists(st.tuples(st.integers(-3, 4), st.sampled_from(CELLS)), max_size=40), st.lists(st.integers(0, 40), max_size=6))
@settings(max_examples=150, deadline=None)
def test_any_cut_into_partials_closes_the_same(steps: list[tuple[int, int]], cuts: list[int]) -> None:
    """However a log is divided, every slot has the same counts, corrections, cuts and totals."""
    reached, events = FIRST, []
    for step, cell in steps:
        slot = max(FIRST, reached + step)
        reached = max(reached, slot)
        events.append((slot, cell))
    marks = [0, *sorted({min(cut, len(events)) for cut in cuts} - {0, len(events)}), len(events)]
    bounds = list(pairwise(marks))
    whole = closed_by(events, [(0, len(events))])
    assert whole == closed_by(events, bounds)
    assert len(events) == sum(cut.received for _, found, _, _ in whole for cut in found)  # type: ignore[attr-defined]


def test_pieces_are_counted_by_the_slots_that_begin_them() -> None:
    """A partial has one piece more than cuts; one without events has one piece and no rows."""
    assert 1 == partial_of([], 0, 0).pieces
    assert 0 == len(partial_of([], 0, 0).rows)
    partial = partial_of([(100, 5), (101, 5), (101, 9), (103, 5)], 0, 4)
    assert 3 == partial.pieces
    assert [1, 3] == partial.cuts.tolist()
    assert [100, 101, 103] == partial.first_uncut.tolist()
    assert 4 == len(partial.rows)


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_a_range_that_does_not_continue_is_refused(start: int) -> None:
    """Neither a hole nor an overlap of offsets passes: the message says what was expected and what came."""
    events = [(100, 5)] * 6
    slots = fresh()
    slots.absorb(partial_of(events, 0, 2))
    with pytest.raises(DiscontinuityError, match=rf"region town, partition 0: expected offset 2, got {start}"):
        slots.absorb(partial_of(events, start, 5))


def test_a_partition_that_takes_no_part_is_refused() -> None:
    """A partial of an unknown partition is not merged."""
    with pytest.raises(DiscontinuityError, match=r"expected partitions \[0\], got 7"):
        fresh().absorb(dataclasses.replace(partial_of([], 0, 0), partition=7))


def test_partials_travel() -> None:
    """A partial that was pickled, as between workers, is the same."""
    partial = partial_of([(100, 5), (101, 5)], 0, 2, Standing.IDLE)
    again = pickle.loads(pickle.dumps(partial))
    assert partial.standing is again.standing
    assert [array.tobytes() for array in (partial.cuts, partial.rows.cell, *partial.lowest)] == [
        array.tobytes() for array in (again.cuts, again.rows.cell, *again.lowest)
    ]
    assert partial.totals["received"].tolist() == again.totals["received"].tolist()


def test_an_end_behind_the_position_is_said() -> None:
    """A range that ends before it starts raises an error, also without an event in it."""
    region = load_region("nyc")
    intake = PartitionIntake(3, [region], IntakeRules(), [ResumePoint(7, 7, 0, -1, 0)], 7)
    with pytest.raises(DiscontinuityError, match=r"partition 3: expected offsets in \[7, 5\), got 5 as their end and events at none"):
        intake.absorb(no_rides(3), [], 5)


def test_what_the_source_lost_is_told_at_the_next_close() -> None:
    """A gap and a short horizon that a partial names are findings of the slot that closes next, once."""
    slots = fresh()
    slots.absorb(
        dataclasses.replace(partial_of([(FIRST, 5), (FIRST + 1, 9), (FIRST + 2, 5)], 0, 3), gap_until=2, wanted_from=0, short_from=1)
    )
    assert (GapFound(0, 0, 2), HorizonFound(0, 0, 1)) == slots.close().findings
    assert () == slots.close().findings
