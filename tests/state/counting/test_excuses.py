"""Live runs: partitions that fall silent at any moment, are excused, and come back; against the plain reference."""

import random

from hypothesis import given, settings, strategies as st

from state.counting.evidence import EvidenceRules
from state.counting.intake import IntakeRules, PartitionIntake
from state.counting.partials import Partial, ResumePoint, Standing
from state.counting.slots import Agreement, ClosedSlot, OpenSlots
from tests.state.counting.plain_slots import ONE, Event, close_all
from tests.state.counting.test_slots import HORIZON, REGION, START, assert_same, batch_of, logs


def live_partials(
    log: list[Event], end: int, partition: int, resume: ResumePoint, rng: random.Random, evidence: EvidenceRules = ONE
) -> list[Partial]:
    """One partition's partials, cut up at random, with pauses in which it says that it stands idle."""
    position = max(0, resume.open_from - HORIZON)
    intake = PartitionIntake(partition, (REGION,), IntakeRules(dedup_horizon_events=HORIZON), (resume,), position, (evidence,))
    out: list[Partial] = []
    while position < end or rng.random() < 0.7:
        if rng.random() < 0.3 and position >= resume.counted_until:  # an end is never before what was read already
            out += intake.absorb(batch_of(partition, []), [], position, Standing.IDLE)[0]
        to = min(end, position + rng.randint(1, 12))
        events = [event for event in log if position <= event.offset < to]
        out += intake.absorb(batch_of(partition, events), [], to)[0]
        position = to
    return out


def run(
    resume: dict[int, ResumePoint],
    next_slot: int,
    streams: list[list[Partial]],
    rng: random.Random,
    stop: int,
    agreement: Agreement | None = None,
) -> list[ClosedSlot]:
    """Interleave the partials at random; close what can be closed, until that many slots are closed or nothing is left."""
    slots = OpenSlots("r", 1, next_slot, resume, agreement)
    closed: list[ClosedSlot] = []
    queues = [list(stream) for stream in streams]
    while any(queues):
        slots.absorb(rng.choice([queue for queue in queues if queue]).pop(0))
        while slots.next_slot < slots.closable_until:
            closed.append(slots.close())
            if len(closed) == stop:
                return closed
    return closed


@settings(max_examples=300, deadline=None)
@given(logs(), st.integers(0, 2**32))
def test_excused_partitions_come_back_as_the_reference_says(world: tuple[dict[int, list[Event]], dict[int, int]], seed: int) -> None:
    """Given the recorded excuses, every slot of a live run equals the reference, over any number of restarts."""
    events, ends = world
    rng = random.Random(seed)
    resume = {p: ResumePoint(0, 0, START - 1, -1, START) for p in events}
    done: list[ClosedSlot] = []
    for _ in range(4):
        streams = [live_partials(events[p], ends[p], p, resume[p], rng) for p in events]
        done += run(resume, done[-1].slot + 1 if done else START, streams, rng, rng.choice((1, 3, 1_000)))
        if done:
            resume = {cut.partition: ResumePoint(cut.open_from, cut.cut, done[-1].slot, cut.largest_us, START) for cut in done[-1].cuts}
    excuses = {(cut.partition, closed.slot): cut.cut for closed in done for cut in closed.cuts if cut.excused}
    expected = close_all(events, ends, START, 10_000_000, HORIZON, excuses, START + len(done))
    assert len(expected) == len(done)
    for plain, mine in zip(expected, done, strict=True):
        assert_same(plain, mine)
        assert not all(cut.excused for cut in mine.cuts)
