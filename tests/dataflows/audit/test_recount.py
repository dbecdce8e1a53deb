"""Counting again from rides and recorded excuses gives the same result as any first count."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dataflows.audit.recount import RidesEnded, Stretch, plan_stretches, recount
from dataflows.connectors.source_identity import SourceIdentity
from ledger.store.log import Stored
from ledger.views.closes import Close
from schemas.events.codec import Decoder, decode_slow, encode_event
from schemas.events.rides import RawBatch, no_rides
from schemas.records.record_codec import encode
from schemas.records.records import HorizonShort, Record, RegionBootstrapped, SlotClosed
from state.counting.evidence import EvidenceRules
from state.counting.intake import IntakeRules, PartitionIntake
from state.counting.partials import Partial, ResumePoint, Standing
from state.counting.slots import Agreement, ClosedSlot, OpenSlots
from tests.simulation.world import SKEW_S, START_SLOT, Entry, World, make_world

HORIZON = 40  # offsets; some repeats are nearer, some farther
ONE, FOUR = EvidenceRules(), EvidenceRules(4, 16, 1_800)
STRAY_US = (7 * 60_000_000, 45 * 60_000_000, 7_200_000_000)


def with_strays(world: World, seed: int) -> World:
    """A world in which a thirtieth of the events are ahead by their producer's clock: minutes, or too far to be counted."""
    rng = random.Random(seed)

    def changed(entry: Entry) -> Entry:
        fields = decode_slow(entry.value)
        if isinstance(fields, str) or rng.random() > 0.03:
            return entry
        ahead_us, at_us = rng.choice(STRAY_US), fields["occurred_at"]
        assert isinstance(at_us, int)
        return replace(entry, logged_at_us=entry.logged_at_us + ahead_us, value=encode_event({**fields, "occurred_at": at_us + ahead_us}))

    return replace(world, logs=tuple(tuple(map(changed, log)) for log in world.logs))


WORLDS = [*(make_world(seed, hours=2.0) for seed in (1, 2)), with_strays(make_world(3, hours=2.0), 3)]


class ListRides:
    """A source of entries in memory; partition 0 may lack the first ones."""

    def __init__(self, logs: Sequence[Sequence[Entry]], lowest: int = 0) -> None:
        self.logs, self.lowest = logs, lowest

    def partitions(self) -> tuple[int, ...]:
        return tuple(range(len(self.logs)))

    def bounds(self, partition: int) -> tuple[int, int]:
        return 0 if partition else self.lowest, len(self.logs[partition])

    def open(self, partition: int, offset: int) -> "ListReader":
        return ListReader(partition, self.logs[partition], offset)

    def identity(self) -> SourceIdentity:
        return SourceIdentity()

    def close(self) -> None:
        pass


class ListReader:
    """Reads one partition of such a source."""

    def __init__(self, partition: int, log: Sequence[Entry], offset: int) -> None:
        self._partition, self._log, self._at = partition, log, offset

    def read(self, limit: int, timeout_s: float) -> RawBatch | None:
        entries = self._log[self._at : self._at + limit]
        if not entries:
            return None
        batch = raw_of(self._partition, self._at, entries)
        self._at += len(entries)
        return batch

    def position(self) -> int:
        return self._at

    def start(self) -> int:
        return 0

    def end(self) -> int:
        return len(self._log)

    def close(self) -> None:
        pass


def raw_of(partition: int, first: int, entries: Sequence[Entry]) -> RawBatch:
    """Entries as a source returns them."""
    offsets = np.arange(first, first + len(entries), dtype=np.int64)
    return RawBatch(partition, offsets, np.array([entry.logged_at_us for entry in entries], np.int64), [entry.value for entry in entries])


# --- a first count, live --------------------------------------------------------------------------


def live(world: World, rng: random.Random, evidence: EvidenceRules = ONE) -> list[ClosedSlot]:
    """Count a world as a live run does whose partitions are idle at random moments, and which is never restarted."""
    points = {p: ResumePoint(0, 0, START_SLOT - 1, -1, START_SLOT) for p in range(len(world.logs))}
    slots = OpenSlots(world.region.id, 1, START_SLOT, points, Agreement.of(world.region, evidence))
    streams = [_partials(world, p, points[p], rng, evidence) for p in points]
    closed: list[ClosedSlot] = []
    while streams:
        stream = streams[int(len(streams) * rng.random() ** 1.5)]  # unevenly: some are ahead of the others
        partial = next(stream, None)
        if partial is None:
            streams.remove(stream)
            continue
        slots.absorb(partial)
        while slots.next_slot < slots.closable_until:
            closed.append(slots.close())
    return closed


def _partials(world: World, partition: int, point: ResumePoint, rng: random.Random, evidence: EvidenceRules) -> Iterator[Partial]:
    intake = PartitionIntake(partition, (world.region,), IntakeRules(SKEW_S, HORIZON), (point,), 0, (evidence,))
    decoder, log = Decoder((world.region.id,)), world.logs[partition]
    position = 0
    while position < len(log):
        if rng.random() < 0.1:
            yield from intake.absorb(no_rides(partition), [], position, Standing.IDLE)[0]
        to = min(len(log), position + rng.randint(1, 9))
        yield from intake.absorb(*decoder.decode(raw_of(partition, position, log[position:to])), to)[0]
        position = to
    for _ in range(60):  # idle from now on, which it reports repeatedly
        yield from intake.absorb(no_rides(partition), [], position, Standing.IDLE)[0]


def recorded(closed: Sequence[ClosedSlot], shorts: Sequence[HorizonShort] = ()) -> list[Close]:
    """The records of closed slots without their counts: a second count must not need them."""
    out: list[Close] = []
    for found in closed:
        record = SlotClosed(
            region="small",
            slot=found.slot,
            status="observed",
            partitions=found.cuts,
            counts=(),
            corrections=(),
            counts_blob=b"",
            control_size=0,
            control_root=b"",
        )
        before: tuple[Stored[Record], ...] = (
            tuple(Stored("region/small", 0, "HorizonShort", None, "", encode(short)) for short in shorts) if not out else ()
        )
        out.append(Close(before, Stored("region/small", 1, "SlotClosed", found.slot, "", encode(record)), record, ()))
    return out


def boot_of(world: World, evidence: EvidenceRules = ONE) -> RegionBootstrapped:
    """A bootstrap without history."""
    definition = world.region.to_json()
    return RegionBootstrapped(
        region="small",
        definition=definition,
        until="",
        first_slot=START_SLOT,
        start_slot=START_SLOT,
        rides=0,
        counts_blob=b"",
        dedup_horizon_events=HORIZON,
        skew_s=SKEW_S,
        evidence_events=evidence.events,
        evidence_window_events=evidence.window_events,
        hold_s=evidence.hold_s,
    )


def assert_same(expected: Sequence[ClosedSlot], found: Sequence[ClosedSlot]) -> None:
    """Slots, cuts, totals, counts and corrections are equal."""
    assert len(expected) == len(found)
    for theirs, mine in zip(expected, found, strict=True):
        assert (theirs.slot, theirs.cuts) == (mine.slot, mine.cuts)
        for a, b in zip((*theirs.counts, *theirs.corrections), (*mine.counts, *mine.corrections), strict=True):
            assert list(zip(a.slots.tolist(), a.cells.tolist(), a.counts.tolist(), strict=True)) == list(
                zip(b.slots.tolist(), b.cells.tolist(), b.counts.tolist(), strict=True)
            )


def again(world: World, source: ListRides, stretches: Sequence[Stretch], batch_events: int) -> list[ClosedSlot]:
    """The slots of all ranges that the source still has."""
    rules = IntakeRules(SKEW_S, HORIZON)
    return [slot for found in stretches if found.held for slot in recount(source, world.region, (), rules, found, batch_events)]


# --- laws -----------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None, print_blob=True)
@given(
    st.sampled_from(range(len(WORLDS))),
    st.integers(0, 2**32),
    st.sampled_from((1, 7, 5_000)),
    st.floats(0.0, 1.0),
    st.sampled_from((ONE, FOUR)),
)
def test_a_second_count_gives_the_first(place: int, seed: int, batch_events: int, begin: float, evidence: EvidenceRules) -> None:
    """From any slot on, in batches of any size, with partitions that were idle and came back, every slot is counted the same again."""
    world = WORLDS[place]
    closed = live(world, random.Random(seed), evidence)
    first = int(begin * (len(closed) - 1))
    closes = recorded(closed)
    source = ListRides(world.logs)
    records = {close.record.slot: close.record for close in closes}
    before = closes[first - 1].record if first else None
    stretches = plan_stretches(boot_of(world, evidence), before, (), closes[first:], source, records.get)
    assert [(closed[first].slot, closed[-1].slot + 1, True)] == [(s.first_slot, s.until_slot, s.held) for s in stretches]
    assert_same(closed[first:], again(world, source, stretches, batch_events))


def test_there_are_rides_ahead_of_time_and_too_far_ahead() -> None:
    """The recounted runs include rides that are held, and some that are too far ahead, and a resume that must read rides again."""
    cuts = [cut for slot in live(WORLDS[2], random.Random(5), FOUR) for cut in slot.cuts]
    assert sum(cut.uncounted.get("too_far_ahead", 0) for cut in cuts) > 3
    assert sum(cut.open_from < cut.cut - 16 for cut in cuts) > 3


def test_partitions_become_idle_and_come_back() -> None:
    """The recounted runs include the hard case: a partition that is excused for one slot and cuts a later slot itself."""
    for world in WORLDS[:2]:
        excused = [[found.cuts[p].excused for found in live(world, random.Random(5))] for p in range(3)]
        assert any(True in row and False in row[row.index(True) :] for row in excused)


def test_deleted_rides_are_not_counted() -> None:
    """If a source has lost its start, the slots that need it form their own range, and the others are counted again."""
    world = WORLDS[0]
    closed = live(world, random.Random(5))
    source = ListRides(world.logs, lowest=30)
    gone, held = plan_stretches(boot_of(world), None, (), recorded(closed), source)
    cut = held.first_slot - START_SLOT
    assert (False, True, len(closed)) == (gone.held, held.held, held.until_slot - START_SLOT)
    assert gone.read_from[0] < source.lowest <= held.read_from[0]
    assert_same(closed[cut:], again(world, source, (gone, held), 50))


def test_a_short_horizon_is_repeated() -> None:
    """A recorded late start of deduplication is repeated: an event that it could not know is not a duplicate."""
    world = WORLDS[1]
    shorts = [HorizonShort(region="small", partition=0, wanted_offset=0, found_offset=25)]
    [stretch] = plan_stretches(boot_of(world), None, (), recorded(live(world, random.Random(3)), shorts), ListRides(world.logs, 25))
    assert {0: 25, 1: 0, 2: 0} == stretch.read_from
    assert {0: 25, 1: 0, 2: 0} == {partition: point.open_from for partition, point in stretch.points.items()}
    assert stretch.held


def test_rides_that_end_early_are_reported() -> None:
    """A slot that needs more rides than there are is not counted."""
    world = WORLDS[0]
    closed = live(world, random.Random(9))
    shorter = ListRides([log[: len(log) // 2] for log in world.logs])
    [stretch] = plan_stretches(boot_of(world), None, (), recorded(closed), shorter)
    slots = recount(shorter, world.region, (), IntakeRules(SKEW_S, HORIZON), stretch)
    assert_same(closed[:1], [next(slots)])
    with pytest.raises(RidesEnded, match=r"partition \d: the rides end at offset \d+"):
        list(slots)
