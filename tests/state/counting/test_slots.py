"""Cuts, counts and corrections: the columnar fold against the plain reference, however the input is cut up."""

import random
from collections import Counter

import numpy as np
from hypothesis import given, settings, strategies as st

from schemas.events.cells import encode
from schemas.events.measures import KINDS, RideKind
from schemas.events.rides import RideBatch
from schemas.regions import Region, RegionId
from state.counting.evidence import EvidenceRules
from state.counting.intake import IntakeRules, PartitionIntake
from state.counting.partials import Partial, ResumePoint, Standing
from state.counting.slots import NO_COUNTS, ClosedSlot, OpenSlots, merge_counts
from tests.state.counting.plain_slots import ONE, SLOT_US, Event, PlainSlot, close_all

REGION = Region(RegionId("r"), "UTC", ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0)), measures=("requests",))
START = 4_000_000  # a slot in 2008
HORIZON = 7
PLACES = ((0.5, 0.5), (0.25, 0.75), (0.9, 0.1))


@st.composite
def logs(draw: st.DrawFn) -> tuple[dict[int, list[Event]], dict[int, int]]:
    """Logs of one to three partitions: late rides, duplicates, rejects, other kinds, empty offsets."""
    out, ends = {}, {}
    for partition in range(draw(st.integers(1, 3))):
        offset, now, log = 0, START * SLOT_US + draw(st.integers(-SLOT_US, SLOT_US)), []
        for _ in range(draw(st.integers(0, 40))):
            offset += draw(st.sampled_from((1, 1, 1, 2)))
            now += draw(st.sampled_from((0, 1_000_000, SLOT_US // 3, SLOT_US, 4 * SLOT_US)))
            at = now - draw(st.sampled_from((0, 0, 0, SLOT_US // 2, 3 * SLOT_US)))
            event = Event(offset, draw(st.integers(1, 60)), at, draw(st.sampled_from(PLACES)))
            fault = draw(st.integers(0, 9))
            if fault == 0:
                event.reason = "outside_region"
            elif fault == 1:
                event.reason = "ahead_of_log"
            elif fault == 2:
                event.counted = False
            log.append(event)
        out[partition], ends[partition] = log, offset + 1 + draw(st.integers(0, 2))
    return out, ends


def batch_of(partition: int, events: list[Event]) -> RideBatch:
    """The events as the decoder would give them."""
    at = np.array([e.at_us for e in events], np.int64)
    ahead = np.array([e.reason == "ahead_of_log" for e in events], np.bool_)
    place = np.array([(9.0, 9.0) if e.reason == "outside_region" else e.cell_at for e in events], np.float64).reshape(-1, 2)
    kinds = [RideKind.REQUESTED if e.counted else RideKind.COMPLETED for e in events]
    none = np.zeros(len(events), np.bool_)
    return RideBatch(
        partition,
        np.array([e.offset for e in events], np.int64),
        np.array([e.event_id for e in events], np.uint64),
        np.array([KINDS.index(kind) for kind in kinds], np.uint8),
        at,
        np.where(ahead, at - 10**12, at),
        np.zeros(len(events), np.int16),
        place[:, 0],
        place[:, 1],
        none,
        none,
        np.array([e.by_broker for e in events], np.bool_) if any(e.by_broker for e in events) else None,
    )


def partials_of(
    log: list[Event], end: int, partition: int, resume: ResumePoint, read_from: int, rng: random.Random, evidence: EvidenceRules = ONE
) -> list[Partial]:
    """One partition's partials from a random division into batches."""
    rules = IntakeRules(dedup_horizon_events=HORIZON)
    intake = PartitionIntake(partition, (REGION,), rules, (resume,), read_from, (evidence,))
    out, position = [], read_from
    while position < end:
        to = min(end, position + rng.randint(1, 12))
        events = [e for e in log if position <= e.offset < to]
        found, _ = intake.absorb(batch_of(partition, events), [], to, Standing.ENDED if to == end else Standing.FLOWING)
        out += found
        position = to
    if read_from == end:
        out += intake.absorb(batch_of(partition, []), [], end, Standing.ENDED)[0]
    return out


def merge(slots: OpenSlots, streams: list[list[Partial]], rng: random.Random, stop_after: int | None = None) -> list[ClosedSlot]:
    """Interleave the partials at random and close what can be closed."""
    closed: list[ClosedSlot] = []
    queues = [list(stream) for stream in streams]
    while any(queues):
        slots.absorb(rng.choice([queue for queue in queues if queue]).pop(0))
        if slots.ended and not any(queues):
            slots.close_rest(slots.last_us // SLOT_US)
        while slots.next_slot < slots.closable_until:
            closed.append(slots.close())
            if stop_after is not None and len(closed) >= stop_after:
                return closed
    return closed


def assert_same(plain: PlainSlot, closed: ClosedSlot) -> None:
    """A closed slot equals the slot of the reference."""
    assert plain.slot == closed.slot
    codes = {place: int(encode(np.array([place[0]]), np.array([place[1]]), 30)[0]) for place in PLACES}
    assert {codes[place]: n for place, n in plain.counts.items()} == dict(
        zip(closed.counts[0].cells.tolist(), closed.counts[0].counts.tolist(), strict=True)
    )
    late = closed.corrections[0]
    assert {(slot, codes[place]): n for (slot, place), n in plain.corrections.items()} == dict(
        zip(zip(late.slots.tolist(), late.cells.tolist(), strict=True), late.counts.tolist(), strict=True)
    )
    for cut in closed.cuts:
        said = {name: getattr(cut, name) for name in plain.partitions[cut.partition]}
        assert plain.partitions[cut.partition] == said
        assert cut.received == cut.accepted + cut.duplicate + sum(cut.rejected.values())
        assert cut.accepted == cut.counted + sum(cut.uncounted.values())


@settings(max_examples=300, deadline=None)
@given(logs(), st.integers(0, 2**32))
def test_any_division_closes_what_the_reference_closes(world: tuple[dict[int, list[Event]], dict[int, int]], seed: int) -> None:
    """Whatever the batches and the interleaving of partitions, every slot equals the plain reference."""
    events, ends = world
    rng = random.Random(seed)
    expected = close_all(events, ends, START, 10_000_000, HORIZON)
    fresh = {p: ResumePoint(0, 0, START - 1, -1, START) for p in events}
    streams = [partials_of(events[p], ends[p], p, fresh[p], 0, rng) for p in events]
    closed = merge(OpenSlots("r", 1, START, fresh), streams, rng)
    assert len(expected) == len(closed)
    for plain, mine in zip(expected, closed, strict=True):
        assert_same(plain, mine)


@settings(max_examples=300, deadline=None)
@given(logs(), st.integers(0, 2**32))
def test_resuming_after_any_slot_closes_the_same_rest(world: tuple[dict[int, list[Event]], dict[int, int]], seed: int) -> None:
    """Stopping after any closed slot and resuming from its record gives the slots of an uninterrupted run."""
    events, ends = world
    rng = random.Random(seed)
    expected = close_all(events, ends, START, 10_000_000, HORIZON)
    resume = {p: ResumePoint(0, 0, START - 1, -1, START) for p in events}
    done: list[ClosedSlot] = []
    while len(done) < len(expected):
        streams = []
        for p in events:
            streams.append(partials_of(events[p], ends[p], p, resume[p], max(0, resume[p].open_from - HORIZON), rng))
        next_slot = done[-1].slot + 1 if done else START
        done += merge(OpenSlots("r", 1, next_slot, resume), streams, rng, stop_after=rng.randint(1, 6))
        resume = {cut.partition: ResumePoint(cut.open_from, cut.cut, done[-1].slot, cut.largest_us, START) for cut in done[-1].cuts}
    for plain, mine in zip(expected, done, strict=True):
        assert_same(plain, mine)


def test_idle_partition_is_excused_only_when_another_has_passed() -> None:
    """An idle partition keeps a slot open only until another partition has cut it."""
    fresh = {p: ResumePoint(0, 0, START - 1, -1, START) for p in (0, 1)}
    slots = OpenSlots("r", 1, START, fresh)
    idle = PartitionIntake(1, (REGION,), IntakeRules(), (fresh[1],), 0)
    busy = PartitionIntake(0, (REGION,), IntakeRules(), (fresh[0],), 0)
    early = Event(0, 1, START * SLOT_US + 1, PLACES[0])
    for partial in idle.absorb(batch_of(1, [early]), [], 1)[0]:
        slots.absorb(partial)
    [still] = idle.absorb(batch_of(1, []), [], 1, Standing.IDLE)[0]
    slots.absorb(still)
    assert slots.closable_until == START
    for partial in busy.absorb(batch_of(0, [Event(0, 2, (START + 2) * SLOT_US, PLACES[1])]), [], 1)[0]:
        slots.absorb(partial)
    assert slots.closable_until == START  # The idle report is older than the other partition's cut.
    slots.absorb(still)
    closed = slots.close()
    assert [cut.excused for cut in closed.cuts] == [False, True]
    late = Event(1, 3, START * SLOT_US + 2, PLACES[0])
    on_time = Event(2, 4, (START + 3) * SLOT_US, PLACES[0])
    for partial in idle.absorb(batch_of(1, [late, on_time]), [], 3)[0]:
        slots.absorb(partial)
    for partial in busy.absorb(batch_of(0, [Event(1, 5, (START + 4) * SLOT_US, PLACES[1])]), [], 2)[0]:
        slots.absorb(partial)
    second = slots.close()
    assert Counter({START: 1}) == Counter(second.corrections[0].slots.tolist())


def test_merging_nothing_gives_nothing() -> None:
    """No parts, and parts that are empty, are no counts at all."""
    empty = (NO_COUNTS.slots, NO_COUNTS.cells, NO_COUNTS.counts)
    assert [0, 0, 0] == [len(merge_counts(parts)) for parts in ([], [empty], [empty, empty])]
