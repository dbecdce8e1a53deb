"""Forecasts of a region that has just started: no model, hardly any history."""

import numpy as np
import pytest

from schemas.records.records import FALLBACKS, Fallback, PartitionCut, SlotStatus
from schemas.regions import load_region
from state.counting.slots import ClosedSlot, CountColumns
from state.forecast.region import RegionFold, SlotOutcome

REGION = load_region("nyc")
CELLS = np.sort(np.array([0x0C91A0000 + 7 * i for i in range(12)], np.uint64))
START = 5_000_000


def closed(slot: int, counts: list[int]) -> ClosedSlot:
    """A closed slot with so many rides in each of the cells."""
    cells = np.flatnonzero(counts)
    columns = CountColumns(np.full(len(cells), slot), CELLS[cells], np.array(counts, np.int64)[cells])
    none = CountColumns(np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.int64))
    cut = PartitionCut(partition=0, cut=slot, largest_us=-1, open_from=slot, excused=False, received=0, accepted=0, duplicate=0, counted=0)
    return ClosedSlot(slot, (cut,), (columns,) * len(REGION.measures), (none,) * len(REGION.measures))


def outcomes(slots: list[list[int]], version: int = 3) -> list[SlotOutcome]:
    """The outcomes of folding these slots from a start without history."""
    fold = RegionFold(REGION, START, version)
    return [fold.apply(closed(START + number, counts)) for number, counts in enumerate(slots)]


def totals(outcome: SlotOutcome) -> tuple[float, float, float]:
    """Rides of the region expected in the next 15 minutes, and the sums of the bounds."""
    columns = outcome.issues[0].draft.columns
    mean, lower, upper = (float(values[:, 0].sum()) / 1000 for values in (columns.mean, columns.lower, columns.upper))
    return mean, lower, upper


@pytest.mark.parametrize("idle_slots", [0, 24, 288])
def test_the_first_forecasts_follow_the_level_within_a_quarter_of_an_hour(idle_slots: int) -> None:
    """However long the stream was silent before its first ride, three slots later the level is right within a third."""
    slots = [[0] * len(CELLS)] * idle_slots + [[6] * len(CELLS)] * 4
    found = outcomes(slots)
    mean, lower, upper = totals(found[-1])
    assert 3 * 72 * 2 / 3 < mean < 3 * 72 * 4 / 3
    assert lower < 3 * 72 < upper
    assert {Fallback.LEVEL} == {FALLBACKS[code] for code in found[-1].issues[0].draft.columns.fallback.tolist()}
    assert [SlotStatus.UNOBSERVED] * idle_slots + [SlotStatus.OBSERVED] * 4 == [outcome.status for outcome in found]


def test_an_earlier_version_of_the_fold_takes_silence_for_zero_demand() -> None:
    """Version 2 keeps its rule: slots before the first ride are observed and lower the first forecasts."""
    found = outcomes([[0] * len(CELLS)] * 24 + [[6] * len(CELLS)], version=2)
    assert {SlotStatus.OBSERVED} == {outcome.status for outcome in found}
    assert totals(found[-1])[0] < 72


def test_a_part_is_kept_for_cells_that_have_not_been_seen() -> None:
    """After one slot in which every cell had one ride, the seen cells are not expected to repeat them all."""
    mean, _, _ = totals(outcomes([[1] * len(CELLS)])[-1])
    assert 0 < mean < 3 * len(CELLS) / 4


def test_recent_rides_weigh_more_in_a_share() -> None:
    """A cell that was busy in the last hour gets more than one that was as busy before it."""
    early, late = [6] + [0] * 11, [0] * 11 + [6]
    columns = outcomes([early] * 24 + [late] * 24)[-1].issues[0].draft.columns
    means = dict(zip(columns.cells.tolist(), columns.mean[:, 0].tolist(), strict=True))
    assert means[int(CELLS[-1])] > 2 * means[int(CELLS[0])]


def test_a_fall_of_the_day_before_is_expected_again() -> None:
    """With one earlier day, the region's course of that day is followed."""
    busy, calm = [6] * len(CELLS), [1] * len(CELLS)
    day = [busy] * 144 + [calm] * 144
    found = outcomes([*day, *[busy] * 144])
    steady, falling = totals(found[288 + 71])[0], totals(found[288 + 143])[0]
    assert falling < steady / 2


def test_a_week_of_history_ends_it() -> None:
    """From the seventh day on, the weekly profile and the quiet profile serve."""
    found = outcomes([[1] * len(CELLS)] * (7 * 288))
    used = [{FALLBACKS[code] for code in outcome.issues[0].draft.columns.fallback.tolist()} for outcome in found[-2:]]
    assert {Fallback.LEVEL} == used[0]
    assert Fallback.LEVEL not in used[1]
