"""Thresholds that change between two slots: the next slot is judged by the new one, and what is usual is learned as before."""

import pytest

from schemas.events.cells import cell_code
from state.detect.detector import MOST_EVIDENCE, Threshold
from state.detect.signals import Signal
from state.detect.table import DETECTORS, Row, signals_of
from tests.state.detect.streams import REGION
from tests.state.detect.test_every_detector import faulty, of_row


def of_source(row: Row, signals: list[Signal]) -> list[tuple[int, bool]]:
    """Slot and state of what one detector said."""
    return [(signal.slot, signal.firing) for signal in signals if signal.source == row.name]


@pytest.mark.parametrize("row", DETECTORS, ids=lambda row: row.name)
def test_a_threshold_takes_effect_at_the_next_judgement(row: Row) -> None:
    """A detector that is switched off while it fires ends with the next slot that it judges; one that is switched on begins with it."""
    slots = of_row(row)
    usual = of_source(row, list(signals_of(REGION, slots)))
    begun = next(slot for slot, firing in usual if firing)
    then = begun + max(row.judged_min // REGION.slot_min, 1)
    never, usually = {row.name: Threshold(row.never)}, {row.name: Threshold(row.threshold)}
    off = of_source(row, list(signals_of(REGION, slots, lambda watched: usually if watched.slot <= begun else never)))
    assert [one for one in usual if one[0] <= begun] == [one for one in off if one[0] <= begun]
    assert {(then, False)} == {one for one in off if one[0] > begun}
    on = of_source(row, list(signals_of(REGION, slots, lambda watched: never if watched.slot <= begun else usually)))
    assert (then, True) == on[0]


def test_a_cell_has_a_threshold_of_its_own() -> None:
    """A surge leaves out the cell whose threshold is never reached, and only that cell."""
    [row] = [row for row in DETECTORS if row.by_cell]
    slots = faulty("surge")
    first = next(signal for signal in signals_of(REGION, slots) if signal.source == row.name)
    spared = first.cells[0]
    given = {row.name: Threshold(row.threshold, {cell_code(spared): MOST_EVIDENCE})}
    found = [signal for signal in signals_of(REGION, slots, lambda _: given) if signal.slot == first.slot and signal.source == row.name]
    assert set(first.cells) - {spared} == set(found[0].cells if found else ())
