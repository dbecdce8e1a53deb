"""Wrong clocks of producers: events days ahead with stamps to match, in every partition, from some of the producers."""

from dataclasses import dataclass

import numpy as np

from schemas.events.cells import encode
from schemas.events.measures import KINDS, RideKind
from schemas.events.rides import Bools, Int64s, RideBatch
from schemas.regions import US_PER_S, Region, RegionId
from state.counting.evidence import EvidenceRules
from state.counting.intake import IntakeRules, PartitionIntake
from state.counting.partials import Partial, ResumePoint, Standing
from state.counting.slots import Agreement, ClosedSlot, OpenSlots

REGION = Region(RegionId("town"), "UTC", ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0)), measures=("requests",))
PARTITIONS, PRODUCERS, BAD_PRODUCERS = 4, 20, 1
DAY_US = 86_400 * US_PER_S
FIRST_US = 1_400_000_100 * US_PER_S // REGION.slot_us * REGION.slot_us
START = FIRST_US // REGION.slot_us
DEFAULT = EvidenceRules(10, 16, 259_200)
BATCH = 1_000


@dataclass
class Stream:
    """Events of all partitions as they arrive: uint8[n], int64[n], ... in the order of arrival.

    Attributes:
        arrived_us: Real time at which each event reached the log.
        stamped_us: Its time by the producer's clock: its event time, and its time in a log with CreateTime.
        wrong: Whether that clock was two days ahead.
    """

    partition: Int64s
    arrived_us: Int64s
    stamped_us: Int64s
    wrong: Bools
    lat: np.ndarray[tuple[int], np.dtype[np.float64]]


def stream(events: int, days: float, share_wrong: float, seed: int = 16) -> Stream:
    """Rides that arrive up to eight seconds after they began; one producer of 20 makes all wrong stamps."""
    rng = np.random.default_rng(seed)
    began_us = FIRST_US + np.sort(rng.integers(0, int(days * DAY_US), events))
    arrived_us = began_us + rng.integers(0, 8 * US_PER_S, events)
    order = np.argsort(arrived_us, kind="stable")
    producer = rng.integers(0, PRODUCERS, events)
    wrong = (producer < BAD_PRODUCERS) & (rng.random(events) < share_wrong * PRODUCERS / BAD_PRODUCERS)
    stamped_us = began_us + np.where(wrong, 2 * DAY_US, 0)
    lat = rng.choice([0.25, 0.5, 0.75], events)
    return Stream(rng.integers(0, PARTITIONS, events), arrived_us[order], stamped_us[order], wrong[order], lat[order])


def partials(found: Stream, partition: int, rules: EvidenceRules) -> list[Partial]:
    """The partials of a bounded run over one partition."""
    mine = np.flatnonzero(found.partition == partition)
    at, lat, none = found.stamped_us[mine], found.lat[mine], np.zeros(len(mine), np.bool_)
    intake = PartitionIntake(partition, (REGION,), IntakeRules(), (ResumePoint(0, 0, START - 1, -1, START),), 0, (rules,))
    out: list[Partial] = []
    for first in range(0, len(mine), BATCH):
        rows = slice(first, first + BATCH)
        n = len(mine[rows])
        batch = RideBatch(
            partition,
            np.arange(first, first + n),
            mine[rows].astype(np.uint64) + np.uint64(1),
            np.full(n, KINDS.index(RideKind.REQUESTED), np.uint8),
            at[rows],
            at[rows],  # The stamp is the producer's own, so no rule can compare the two.
            np.zeros(n, np.int16),
            lat[rows],
            np.full(n, 0.5),
            none[rows],
            none[rows],
        )
        out += intake.absorb(batch, [], first + n, Standing.ENDED if first + n == len(mine) else Standing.FLOWING)[0]
    return out


def closed_by(found: Stream, rules: EvidenceRules) -> list[ClosedSlot]:
    """The slots that a bounded run closes; partitions take turns."""
    slots = OpenSlots(
        "town", 1, START, {p: ResumePoint(0, 0, START - 1, -1, START) for p in range(PARTITIONS)}, Agreement.of(REGION, rules)
    )
    closed: list[ClosedSlot] = []
    streams = [partials(found, p, rules) for p in range(PARTITIONS)]
    for turn in range(max(map(len, streams))):
        for partial in (mine[turn] for mine in streams if turn < len(mine)):
            slots.absorb(partial)
        if slots.ended:
            slots.close_rest(slots.last_us // REGION.slot_us)
        while slots.next_slot < slots.closable_until:
            closed.append(slots.close())
    return closed


def early_cuts(found: Stream, closed: list[ClosedSlot]) -> int:
    """How many cuts are at an event that reached the log before the slot's end."""
    arrivals = [found.arrived_us[found.partition == p] for p in range(PARTITIONS)]
    return sum(
        cut.cut < len(arrivals[cut.partition]) and int(arrivals[cut.partition][cut.cut]) < (slot.slot + 1) * REGION.slot_us
        for slot in closed
        for cut in slot.cuts
    )


def test_one_event_of_a_thousand_two_days_ahead() -> None:
    """With 1 of 1,000 events two days ahead, in 4 partitions, from one producer of 20, every other ride is in its slot."""
    found = stream(420_000, days=3.5, share_wrong=0.001)
    assert 350 < found.wrong.sum() < 500
    assert 4 == len(set(found.partition[found.wrong]))
    closed = closed_by(found, DEFAULT)
    assert 0 == early_cuts(found, closed)
    assert int(3.5 * 288) == len(closed)
    assert 0 == sum(len(slot.corrections[0]) for slot in closed)
    # Every ride is in the slot of its stamp: those with a right clock, and the held ones when time has reached them.
    slot, cell = found.stamped_us // REGION.slot_us, encode(found.lat, np.full(len(found.lat), 0.5), REGION.cell_bits)
    inside = slot < START + len(closed)
    assert inside[~found.wrong].all()
    expected, numbers = np.unique(np.stack([slot[inside].astype(np.uint64), cell[inside]]), axis=1, return_counts=True)
    counted = [(closing.slot, c, n) for closing in closed for c, n in zip(closing.counts[0].cells, closing.counts[0].counts, strict=True)]
    assert list(zip(*expected.tolist(), numbers.tolist(), strict=True)) == [(s, int(c), int(n)) for s, c, n in counted]
    cuts = [cut for closing in closed for cut in closing.cuts]
    assert len(slot) == sum(cut.accepted for cut in cuts) == sum(cut.counted for cut in cuts)


def test_the_measure_sees_a_cut_that_is_moved() -> None:
    """Where one event is evidence enough, the same wrong clocks close slots before their end and make most rides late."""
    found = stream(40_000, days=0.5, share_wrong=0.001)
    closed = closed_by(found, EvidenceRules(1, 1, 0))
    assert early_cuts(found, closed) > 1_000
    assert sum(int(slot.corrections[0].counts.sum()) for slot in closed) > 20_000


def test_one_producer_of_twenty_whose_every_event_is_two_days_ahead() -> None:
    """With one producer of 20 whose every event is two days ahead, no slot closes early, and every other ride is in its slot."""
    found = stream(40_000, days=0.5, share_wrong=0.05)
    assert found.wrong.sum() > 1_800
    closed = closed_by(found, DEFAULT)
    assert 0 == early_cuts(found, closed)
    assert 144 == len(closed)
    right = found.stamped_us[~found.wrong] // REGION.slot_us - START
    assert np.bincount(right, minlength=144).tolist() == [int(slot.counts[0].counts.sum()) for slot in closed]
    assert 0 == sum(len(slot.corrections[0]) for slot in closed)


def test_four_of_sixteen_are_not_enough_for_that_producer() -> None:
    """The same producer moves cuts where four events of 16 are evidence, so the test above can fail."""
    found = stream(40_000, days=0.5, share_wrong=0.05)
    assert early_cuts(found, closed_by(found, EvidenceRules(4, 16, 259_200))) > 100
