"""Two or three measures, two regions: every ride and every correction is counted for its own, whatever the batches."""

import math
import random
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest

from schemas.events.cells import encode
from schemas.events.measures import KINDS, RideKind
from schemas.events.rides import RideBatch
from schemas.regions import Region, RegionId
from state.counting.intake import IntakeRules, PartitionIntake
from state.counting.partials import Partial, ResumePoint, Standing
from state.counting.slots import ClosedSlot, CountColumns, OpenSlots

SLOT_US = 300_000_000
LATENESS_US = 10_000_000
START = 4_000_000
EAST = Region(RegionId("east"), "UTC", ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0)), measures=("requests", "pickups", "dropoffs"))
WEST = Region(RegionId("west"), "UTC", ((0.0, -2.0), (0.0, -1.0), (1.0, -1.0), (1.0, -2.0)), measures=("pickups", "requests"))
REGIONS = (EAST, WEST)
KIND_OF = {"requests": RideKind.REQUESTED, "pickups": RideKind.STARTED, "dropoffs": RideKind.COMPLETED}
UNKNOWN, ELSEWHERE = (math.nan, math.nan), (0.5, 5.0)
PLACES = {"east": ((0.5, 0.5), (0.25, 0.75)), "west": ((0.5, -1.5), (0.25, -1.25))}


@dataclass(frozen=True, slots=True)
class Ride:
    """One accepted event of a partition's log."""

    offset: int
    at_us: int
    region: int
    kind: RideKind
    place: tuple[float, float]
    end: tuple[float, float]


def rides(seed: int) -> list[Ride]:
    """A log in which both regions and both kinds mix, some rides come late, some kinds are no measure, some lie before the start."""
    rng = random.Random(seed)
    now, out = START * SLOT_US - SLOT_US // 2, []
    for offset in range(120):
        now += rng.choice((0, SLOT_US // 7, SLOT_US // 2))
        at = now - rng.choice((0, 0, SLOT_US // 3, 2 * SLOT_US))
        region = rng.randrange(2)
        kind = rng.choice((RideKind.REQUESTED, RideKind.STARTED, RideKind.COMPLETED))
        ends = (*PLACES[REGIONS[region].id], UNKNOWN, ELSEWHERE)
        out.append(Ride(offset, at, region, kind, rng.choice(PLACES[REGIONS[region].id]), rng.choice(ends)))
    return out


def batch_of(events: list[Ride]) -> RideBatch:
    """The events as the decoder would give them; every id is another."""
    at = np.array([event.at_us for event in events], np.int64)
    place, end = (
        np.array(places, np.float64).reshape(-1, 2) for places in zip(*((event.place, event.end) for event in events), strict=True)
    )
    none = np.zeros(len(events), np.bool_)
    return RideBatch(
        0,
        np.array([event.offset for event in events], np.int64),
        np.array([event.offset + 1 for event in events], np.uint64),
        np.array([KINDS.index(event.kind) for event in events], np.uint8),
        at,
        at,
        np.array([event.region for event in events], np.int16),
        place[:, 0],
        place[:, 1],
        none,
        none,
        end_lat=end[:, 0],
        end_lon=end[:, 1],
    )


def closed_of(log: list[Ride], seed: int) -> dict[str, list[ClosedSlot]]:
    """What both regions close when the log is cut into batches at random."""
    rng = random.Random(seed)
    fresh = ResumePoint(0, 0, START - 1, -1, START)
    intake = PartitionIntake(0, REGIONS, IntakeRules(), (fresh, fresh), 0)
    partials: list[Partial] = []
    position = 0
    while position < len(log):
        to = min(len(log), position + rng.randint(1, 25))
        standing = Standing.ENDED if to == len(log) else Standing.FLOWING
        partials += intake.absorb(batch_of(log[position:to]), [], to, standing)[0]
        position = to
    out: dict[str, list[ClosedSlot]] = {}
    for region in REGIONS:
        slots = OpenSlots(region.id, len(region.measures), START, {0: fresh})
        for partial in partials:
            if partial.region == region.id:
                slots.absorb(partial)
        slots.close_rest(slots.largest_us // SLOT_US)
        out[region.id] = [slots.close() for _ in range(slots.closable_until - START)]
    return out


def plain(log: list[Ride], region: Region, measure: str) -> tuple[Counter[tuple[int, int]], Counter[tuple[int, int, int]]]:
    """(slot, cell) -> rides below its cut, and (slot of the close, slot, cell) -> corrections, one event at a time."""
    counts: Counter[tuple[int, int]] = Counter()
    corrections: Counter[tuple[int, int, int]] = Counter()
    largest = -1
    for event in log:
        # Every accepted event moves the cuts, of whatever region and kind; its own included.
        largest = max(largest, event.at_us)
        open_slot = max((largest - LATENESS_US) // SLOT_US, START)
        slot = event.at_us // SLOT_US
        if REGIONS[event.region] is not region or event.kind is not KIND_OF[measure] or slot < START:
            continue
        place = event.end if measure == "dropoffs" else event.place
        if place in (UNKNOWN, ELSEWHERE):
            continue
        cell = int(encode(np.array([place[0]]), np.array([place[1]]), 30)[0])
        if slot < open_slot:
            corrections[open_slot, slot, cell] += 1
        else:
            counts[slot, cell] += 1
    return counts, corrections


def rows(columns: CountColumns) -> list[tuple[int, int, int]]:
    """(slot, cell, rides) of sparse counts."""
    return list(zip(columns.slots.tolist(), columns.cells.tolist(), columns.counts.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_every_ride_counts_for_its_region_and_measure(seed: int) -> None:
    """Counts and corrections of both regions and both measures equal a plain account of the log."""
    log = rides(seed)
    corrected = 0
    for division in range(3):
        closed = closed_of(log, 100 * seed + division)
        for region in REGIONS:
            for number, measure in enumerate(region.measures):
                counts, corrections = plain(log, region, measure)
                assert dict(counts) == {(slot, cell): n for one in closed[region.id] for slot, cell, n in rows(one.counts[number])}
                late = {(one.slot, slot, cell): n for one in closed[region.id] for slot, cell, n in rows(one.corrections[number])}
                assert dict(corrections) == late
                corrected += len(late)
    assert corrected > 20


def test_ends_that_no_cell_has_are_in_the_totals() -> None:
    """A completed ride without an end inside the region is accepted, not counted, and the totals say why; others say nothing of it."""
    log = rides(1)
    nowhere = [event for event in log if event.kind is RideKind.COMPLETED and event.end in (UNKNOWN, ELSEWHERE)]
    fresh = ResumePoint(0, 0, START - 1, -1, START)
    partials = PartitionIntake(0, REGIONS, IntakeRules(), (fresh, fresh), 0).absorb(batch_of(log), [], len(log), Standing.ENDED)[0]
    said = {partial.region: partial.totals for partial in partials}
    assert sum(event.region == 0 for event in nowhere) == int(said["east"]["uncounted.no_end"].sum()) > 0
    assert "uncounted.no_end" not in said["west"]
    for totals in said.values():
        uncounted = sum(int(values.sum()) for name, values in totals.items() if name.startswith("uncounted."))
        assert int(totals["accepted"].sum()) == int(totals["counted"].sum()) + uncounted


def test_a_batch_that_says_no_ends_counts_none() -> None:
    """Where no event of a batch has an end, completed rides are uncounted, and the others count as before."""
    log = rides(2)
    fresh = ResumePoint(0, 0, START - 1, -1, START)
    batch = replace(batch_of(log), end_lat=None, end_lon=None)
    [east, west] = PartitionIntake(0, REGIONS, IntakeRules(), (fresh, fresh), 0).absorb(batch, [], len(log), Standing.ENDED)[0]
    completed = sum(event.region == 0 and event.kind is RideKind.COMPLETED for event in log)
    assert completed == int(east.totals["uncounted.no_end"].sum())
    assert int(west.totals["counted"].sum()) > 0
