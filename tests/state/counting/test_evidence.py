"""Cuts by evidence: strays move none, whatever the batches and restarts; against the plain reference."""

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.errors import ContractError
from schemas.events.rides import Int64s
from state.counting.evidence import Evidence, EvidenceRules, held_marks, kth_largest, largest_kth
from state.counting.intake import IntakeRules, PartitionIntake
from state.counting.partials import ResumePoint, Standing
from state.counting.slots import Agreement, ClosedSlot, OpenSlots
from tests.state.counting.plain_slots import SLOT_US, Event, PlainSlot, close_all
from tests.state.counting.test_excuses import live_partials, run
from tests.state.counting.test_slots import HORIZON, PLACES, REGION, START, assert_same, batch_of, logs, merge, partials_of

World = tuple[dict[int, list[Event]], dict[int, int]]

RULES = st.builds(
    lambda events, more, hold: EvidenceRules(events, events + more, hold * 300),
    st.integers(1, 4),
    st.integers(0, 5),
    st.sampled_from((0, 6, 25)),
)


@st.composite
def stray_logs(draw: st.DrawFn) -> World:
    """Logs in which some events are slots or hours ahead of all others, and some have the broker's time."""
    events, ends = draw(logs())
    for log in events.values():
        for event in log:
            fault = draw(st.integers(0, 19))
            if fault <= 1:
                event.at_us += draw(st.sampled_from((SLOT_US, 9 * SLOT_US, 14 * SLOT_US, 60 * SLOT_US)))
            elif fault == 2:
                event.by_broker = True
    return events, ends


def agreement(rules: EvidenceRules) -> Agreement:
    """Of the partitions of the test's region."""
    return Agreement.of(REGION, rules)


def resume_points(done: list[ClosedSlot], rules: EvidenceRules) -> dict[int, ResumePoint]:
    """Where a run resumes after its last closed slot, from what is recorded."""
    last, first = done[-1], done[0].slot
    points = {}
    for at, cut in enumerate(last.cuts):

        def cut_of(slot: int, at: int = at) -> int | None:
            return done[slot - first].cuts[at].cut if slot >= first else None

        marks = held_marks(last.slot, cut.cut, rules.hold_slots(SLOT_US), cut_of)
        points[cut.partition] = ResumePoint(cut.open_from, cut.cut, last.slot, cut.largest_us, START, marks)
    return points


def assert_all_same(expected: list[PlainSlot], found: list[ClosedSlot]) -> None:
    """Every slot equals that of the reference."""
    assert len(expected) == len(found)
    for plain, mine in zip(expected, found, strict=True):
        assert_same(plain, mine)


# --- laws -----------------------------------------------------------------------------------------


@settings(max_examples=120, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(1, 5), st.integers(0, 12))
def test_the_kth_largest_of_every_window(times: list[int], k: int, more: int) -> None:
    """The columnar selection equals sorting each window."""
    window = k + more
    padded = [-1] * (window - 1) + times
    expected = [sorted(padded[i : i + window])[-k] for i in range(len(times))]
    assert expected == kth_largest(np.array(padded, np.int64), k, window).tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.one_of(st.integers(0, 900), st.integers(250, 280)),
    st.sampled_from((0, 10, 1_000, 1_000_000)),
    st.sampled_from((-1, 0, 1)),
)
def test_the_largest_of_all_windows(seed: int, n: int, disorder: int, trend: int) -> None:
    """The faster search for the largest evidence equals the slower one, whether times rise, fall or neither."""
    times = 10**7 + trend * 100 * np.arange(n) + np.random.default_rng(seed).integers(0, disorder + 1, n)
    expected = max((sorted(times[i : i + 16].tolist())[-4] for i in range(n - 15)), default=-1)
    assert expected == largest_kth(times, 4, 16)


@settings(max_examples=120, deadline=None)
@given(stray_logs(), RULES, st.integers(0, 2**32))
def test_any_division_closes_what_the_reference_closes(world: World, rules: EvidenceRules, seed: int) -> None:
    """With any strays and rules, whatever the batches and the interleaving, every slot equals the plain reference."""
    events, ends = world
    rng = random.Random(seed)
    expected = close_all(events, ends, START, 10_000_000, HORIZON, rules=rules)
    fresh = {p: ResumePoint(0, 0, START - 1, -1, START) for p in events}
    streams = [partials_of(events[p], ends[p], p, fresh[p], 0, rng, rules) for p in events]
    assert_all_same(expected, merge(OpenSlots("r", 1, START, fresh, agreement(rules)), streams, rng))


@settings(max_examples=120, deadline=None)
@given(stray_logs(), RULES, st.integers(0, 2**32))
def test_resuming_after_any_slot_closes_the_same_rest(world: World, rules: EvidenceRules, seed: int) -> None:
    """Stopping after any closed slot and resuming from its record gives the slots of an uninterrupted run."""
    events, ends = world
    rng = random.Random(seed)
    expected = close_all(events, ends, START, 10_000_000, HORIZON, rules=rules)
    resume = {p: ResumePoint(0, 0, START - 1, -1, START) for p in events}
    done: list[ClosedSlot] = []
    while len(done) < len(expected):
        streams = [partials_of(events[p], ends[p], p, resume[p], max(0, resume[p].open_from - HORIZON), rng, rules) for p in events]
        slots = OpenSlots("r", 1, done[-1].slot + 1 if done else START, resume, agreement(rules))
        found = merge(slots, streams, rng, stop_after=rng.randint(1, 6))
        assert found
        done += found
        resume = resume_points(done, rules)
    assert_all_same(expected, done)


@settings(max_examples=120, deadline=None)
@given(stray_logs(), RULES, st.integers(0, 2**32))
def test_excused_partitions_come_back_as_the_reference_says(world: World, rules: EvidenceRules, seed: int) -> None:
    """Given the recorded excuses, every slot of a live run with strays equals the reference, over any number of restarts."""
    events, ends = world
    rng = random.Random(seed)
    resume = {p: ResumePoint(0, 0, START - 1, -1, START) for p in events}
    done: list[ClosedSlot] = []
    for _ in range(4):
        streams = [live_partials(events[p], ends[p], p, resume[p], rng, rules) for p in events]
        done += run(resume, done[-1].slot + 1 if done else START, streams, rng, rng.choice((1, 3, 1_000)), agreement(rules))
        if done:
            resume = resume_points(done, rules)
    excuses = {(cut.partition, closed.slot): cut.cut for closed in done for cut in closed.cuts if cut.excused}
    assert_all_same(close_all(events, ends, START, 10_000_000, HORIZON, excuses, START + len(done), rules=rules), done)


@settings(max_examples=60, deadline=None)
@given(logs(), st.integers(0, 2**32))
def test_one_event_of_one_is_the_largest_time(world: World, seed: int) -> None:
    """The rules of old records give the cuts of the largest accepted time, with and without the parts that are new."""
    events, ends = world
    fresh = {p: ResumePoint(0, 0, START - 1, -1, START) for p in events}
    found = []
    for agreed in (None, agreement(EvidenceRules())):
        rng = random.Random(seed)
        streams = [partials_of(events[p], ends[p], p, fresh[p], 0, rng) for p in events]
        found.append(merge(OpenSlots("r", 1, START, fresh, agreed), streams, rng))
    assert [slot.cuts for slot in found[0]] == [slot.cuts for slot in found[1]]
    assert_all_same(close_all(events, ends, START, 10_000_000, HORIZON), found[1])


# --- cases ----------------------------------------------------------------------------------------

FOUR = EvidenceRules(4, 16, 86_400)


def steady(n: int, step_us: int = 10_000_000, first: int = 0) -> list[Event]:
    """Events in order of time."""
    return [Event(first + i, first + i + 1, START * SLOT_US + i * step_us, PLACES[i % 3]) for i in range(n)]


def reached_by(times: list[int], rules: EvidenceRules = FOUR, by_broker: list[bool] | None = None) -> Int64s:
    """The evidenced time after each event."""
    flags = None if by_broker is None else np.array(by_broker)
    reached = Evidence(rules, -1).absorb(np.array(times), np.arange(len(times)), flags, -1).us
    assert reached is not None
    return reached[1:]


def test_the_fourth_event_is_evidence() -> None:
    """Three events of a window move nothing, the fourth does, and a window forgets."""
    assert [-1, -1, -1, 5, 6, 7] == reached_by([5, 6, 7, 8, 9, 10]).tolist()
    strays = [1, 1, 1, 1, 900, 900, 900, *[2] * 13, 900]  # The first stray is 16 events before the last one.
    assert 2 == reached_by(strays)[-1]
    assert 900 == reached_by([*strays[:-2], 900])[-1]


def test_the_brokers_time_is_evidence_alone() -> None:
    """An event with the broker's time cuts as before, one with the producer's time beside it does not."""
    assert [5, 5, 9] == reached_by([5, 900, 9], by_broker=[True, False, True]).tolist()


def test_rules_that_cannot_be_met_are_refused() -> None:
    """More events than a window holds could never be evidence."""
    with pytest.raises(ContractError, match="expected 1 <= events <= window_events, got 5 of 4"):
        EvidenceRules(5, 4)


def closed_by(logs: list[list[Event]], rules: EvidenceRules = FOUR) -> list[ClosedSlot]:
    """The slots that a bounded run over some partitions closes."""
    rng = random.Random(1)
    fresh = {p: ResumePoint(0, 0, START - 1, -1, START) for p in range(len(logs))}
    streams = [partials_of(log, len(log), p, fresh[p], 0, rng, rules) for p, log in enumerate(logs)]
    return merge(OpenSlots("r", 1, START, fresh, agreement(rules)), streams, rng)


@pytest.mark.parametrize("ahead_us", [SLOT_US, 576 * SLOT_US, 2_200_000_000_000_000])
@pytest.mark.parametrize("at", [0, 100, 199])
def test_a_stray_closes_no_slot(ahead_us: int, at: int) -> None:
    """One event ahead of all others, at the start, within or at the end of a run: the others are all in their slots."""
    log = steady(200)
    expected = [slot.counts[0].counts.sum() for slot in closed_by([log])]
    log[at].at_us += ahead_us
    found = closed_by([log])
    sizes = [int(slot.counts[0].counts.sum()) for slot in found]
    expected[at * 10_000_000 // SLOT_US] -= 1
    place = log[at].at_us // SLOT_US - START
    if ahead_us == SLOT_US:
        expected += [0] * (place + 1 - len(expected))  # It is within an hour of the evidence: a bounded run closes its slot too.
        expected[place] += 1
    assert expected == sizes
    assert not any(slot.corrections[0].counts.sum() for slot in found)


def test_a_held_ride_is_counted_when_time_reaches_it() -> None:
    """A ride two hours ahead counts in its own slot, also after a resume in between, which reads it again."""
    log = steady(1_000)
    log[50].at_us += 24 * SLOT_US
    place = log[50].at_us // SLOT_US
    found = closed_by([log])
    assert 31 == next(slot for slot in found if slot.slot == place).counts[0].counts.sum()
    before = next(slot for slot in found if slot.slot == START + 10)
    assert (50, False) == (before.cuts[0].open_from, before.cuts[0].excused)


def test_a_ride_too_far_ahead_is_told_and_not_held() -> None:
    """A ride in the year 2084 is accepted and not counted, with the reason, and a resume does not read back to it."""
    log = steady(200)
    log[50].at_us = 3_600_000_000_000_000
    found = closed_by([log])
    told = [cut.uncounted for slot in found for cut in slot.cuts if cut.uncounted]
    assert [{"too_far_ahead": 1}] == told
    assert found[-2].cuts[0].open_from > 150
    assert len(closed_by([steady(200)])) == len(found)


def test_a_long_pause_is_not_a_stray() -> None:
    """After a pause of any length the fourth event moves the cuts on; only the first three are too far ahead if it was too long."""
    log = steady(100)
    for event in log[50:]:
        event.at_us += 10 * 86_400_000_000
    found = closed_by([log])
    assert 100 - 3 == sum(int(slot.counts[0].counts.sum()) for slot in found)
    assert 3 == sum(cut.uncounted.get("too_far_ahead", 0) for slot in found for cut in slot.cuts)
    for event in log[50:]:
        event.at_us -= 9 * 86_400_000_000
    assert 100 == sum(int(slot.counts[0].counts.sum()) for slot in closed_by([log]))


def test_idle_partitions_agree_together() -> None:
    """Partitions with one event each past a slot close it once they are idle; a stray in one of them does not."""
    fresh = {p: ResumePoint(0, 0, START - 1, -1, START) for p in range(4)}
    for past, expected in (((0,), START), ((0, 1, 2), START), ((0, 1, 2, 3), START + 1)):
        slots = OpenSlots("r", 1, START, fresh, agreement(FOUR))
        intakes = [PartitionIntake(p, (REGION,), IntakeRules(), (fresh[p],), 0, (FOUR,)) for p in range(4)]
        for p, intake in enumerate(intakes):
            at = (START + (p in past)) * SLOT_US + 20_000_000
            slots.absorb(intake.absorb(batch_of(p, [Event(0, p + 1, at, PLACES[0])]), [], 1)[0][0])
        for p, intake in enumerate(intakes):
            slots.absorb(intake.absorb(batch_of(p, []), [], 1, Standing.IDLE)[0][0])
        assert expected == slots.closable_until


@pytest.mark.parametrize(("past", "closes"), [(9, False), (10, True)])
def test_of_many_partitions_the_same_share_must_agree(past: int, closes: bool) -> None:
    """Where there are more partitions than a window has events, a quarter of 40 idle ones must be past a slot, not four of them."""
    fresh = {p: ResumePoint(0, 0, START - 1, -1, START) for p in range(40)}
    slots = OpenSlots("r", 1, START, fresh, agreement(FOUR))
    intakes = [PartitionIntake(p, (REGION,), IntakeRules(), (fresh[p],), 0, (FOUR,)) for p in range(40)]
    for p, intake in enumerate(intakes):
        at = (START + (p < past)) * SLOT_US + 20_000_000
        slots.absorb(intake.absorb(batch_of(p, [Event(0, p + 1, at, PLACES[0])]), [], 1)[0][0])
    for p, intake in enumerate(intakes):
        slots.absorb(intake.absorb(batch_of(p, []), [], 1, Standing.IDLE)[0][0])
    assert START + closes == slots.closable_until


def test_a_sparse_end_closes_through_its_last_ride() -> None:
    """A bounded run with fewer events than the evidence takes closes through them, if they are within an hour."""
    assert [START + slot for slot in range(4)] == [slot.slot for slot in closed_by([steady(3, step_us=SLOT_US + SLOT_US // 2)])]
    assert all(a.slot + 1 == b.slot for a, b in pairwise(closed_by([steady(1), steady(2)])))
