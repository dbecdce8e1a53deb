"""Events of other regions are none of a region's business: it closes the same slots alone and beside any others."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.events.codec import Decoder, encode_event
from schemas.events.rides import RawBatch, Reason, Rejected
from schemas.regions import Region, RegionId
from state.counting.intake import IntakeRules, PartitionIntake
from state.counting.partials import Partial, ResumePoint, Standing
from state.counting.slots import ClosedSlot, OpenSlots

SLOT_US = 300_000_000
START = 4_000_000
EAST = Region(RegionId("east"), "UTC", ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0)))
WEST = Region(RegionId("west"), "UTC", ((0.0, -2.0), (0.0, -1.0), (1.0, -1.0), (1.0, -2.0)))
RULES = IntakeRules(skew_s=300, dedup_horizon_events=20, others_ok=True)
DAY_US = 86_400_000_000

# An event: its region, id, time within four slots, and what is wrong with it.
Drawn = tuple[str, int, int, str]
drawn = st.tuples(
    st.sampled_from(["east", "east", "west", "north", "North"]),
    st.integers(0, 6),
    st.integers(0, 4 * SLOT_US),
    st.sampled_from(["", "", "", "outside", "ahead", "ancient", "no id", "fare", "bytes"]),
)


def value_of(event: Drawn) -> bytes:
    """The bytes of an event."""
    region, number, after_us, wrong = event
    at_us = START * SLOT_US + after_us
    at_us = {"ahead": at_us + DAY_US, "ancient": 7}.get(wrong, at_us)
    lon = {"east": 0.5, "west": -1.5}.get(region, 30.0)
    fields: dict[str, object] = {
        "event_id": "" if wrong == "no id" else f"e-{number}",
        "ride_id": "r",
        "kind": "requested",
        "occurred_at": at_us,
        "region": region,
        "lat": 9.0 if wrong == "outside" else 0.5,
        "lon": lon,
        "fare": -1.0 if wrong == "fare" else None,
    }
    value = encode_event(fields)
    return value[:-3] if wrong == "bytes" else value


def closed(events: list[Drawn], regions: tuple[Region, ...], batch_events: int, rules: IntakeRules = RULES) -> dict[str, list[ClosedSlot]]:
    """What each region closes of one partition, and that its totals add up."""
    fresh = ResumePoint(0, 0, START - 1, -1, START)
    decoder = Decoder(tuple(region.id for region in regions))
    intake = PartitionIntake(0, regions, rules, (fresh,) * len(regions), 0)
    partials: list[Partial] = []
    for start in range(0, len(events), batch_events):
        part = events[start : start + batch_events]
        offsets = np.arange(start, start + len(part))
        logged = np.array([START * SLOT_US + event[2] for event in part], np.int64)
        batch, undecodable = decoder.decode(RawBatch(0, offsets, logged, [value_of(event) for event in part]))
        end = start + len(part)
        partials += intake.absorb(batch, undecodable, end, Standing.ENDED if end == len(events) else Standing.FLOWING)[0]
    out: dict[str, list[ClosedSlot]] = {}
    for region in regions:
        slots = OpenSlots(region.id, 1, START, {0: fresh})
        for partial in partials:
            if partial.region == region.id:
                slots.absorb(partial)
        slots.close_rest(START + 5)
        out[region.id] = [slots.close() for _ in range(slots.closable_until - START)]
    return out


def same(left: list[ClosedSlot], right: list[ClosedSlot]) -> bool:
    """Whether two regions closed the same: cuts, totals, counts and corrections."""
    if [slot.cuts for slot in left] != [slot.cuts for slot in right]:
        return False
    pairs = [
        (a, b)
        for x, y in zip(left, right, strict=True)
        for a, b in zip((*x.counts, *x.corrections), (*y.counts, *y.corrections), strict=True)
    ]
    return all(
        np.array_equal(a.slots, b.slots) and np.array_equal(a.cells, b.cells) and np.array_equal(a.counts, b.counts) for a, b in pairs
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(drawn, min_size=1, max_size=60), st.integers(1, 60))
def test_a_region_counts_the_same_alone_and_with_others(events: list[Drawn], batch_events: int) -> None:
    """Cuts, totals by reason and counts do not depend on which regions run beside, nor on batches."""
    alone = closed(events, (EAST,), len(events))["east"]
    assert same(alone, closed(events, (EAST, WEST), batch_events)["east"])
    assert same(alone, closed(events, (WEST, EAST), batch_events)["east"])
    assert same(alone, closed(events, (EAST,), batch_events)["east"])
    for slot in alone:
        for cut in slot.cuts:
            assert cut.received == cut.accepted + cut.duplicate + sum(cut.rejected.values())
            assert cut.accepted == cut.counted + sum(cut.uncounted.values())


@pytest.mark.parametrize("seed", range(30))
def test_long_logs_count_the_same_alone_and_with_others(seed: int) -> None:
    """The same holds for sixty events in which ids repeat within and across regions."""
    rng = random.Random(seed)
    faults = ("", "", "", "outside", "ahead", "ancient", "no id", "fare", "bytes")
    events = [
        (rng.choice(("east", "east", "west", "north", "North")), rng.randrange(7), rng.randrange(4 * SLOT_US), rng.choice(faults))
        for _ in range(60)
    ]
    alone = closed(events, (EAST,), 60)["east"]
    assert same(alone, closed(events, (EAST, WEST), rng.randint(1, 60))["east"])
    assert same(alone, closed(events, (WEST, EAST), rng.randint(1, 60))["east"])


@settings(max_examples=100, deadline=None)
@given(st.lists(drawn, min_size=1, max_size=60))
def test_events_of_other_regions_are_uncounted_whatever_is_wrong_with_them(events: list[Drawn]) -> None:
    """Every decodable event of another id is `other_region`, and only a region's own events and texts that are no id are its rejects."""
    totals: Counter[str] = Counter()
    for slot in closed(events, (EAST,), 7)["east"]:
        for cut in slot.cuts:
            totals.update({"rejected": sum(cut.rejected.values()), "other_region": cut.uncounted.get("other_region", 0)})
    others = sum(event[0] in ("west", "north") and event[3] != "bytes" for event in events)
    broken = sum(event[3] == "bytes" or event[0] == "North" or (event[0] == "east" and event[3] != "") for event in events)
    assert (others, broken) == (totals["other_region"], totals["rejected"])


def test_a_timely_event_of_another_region_moves_cuts_and_a_wrong_clock_does_not() -> None:
    """A quiet region's slots close by the time that others show, but an event a day ahead, of whatever region, closes none."""
    quiet: list[Drawn] = [("east", 1, 0, ""), ("north", 2, 2 * SLOT_US + 20_000_000, "")]
    assert 1 == closed(quiet, (EAST,), 2)["east"][0].cuts[0].cut
    wrong: list[Drawn] = [("east", 1, 0, ""), ("north", 2, 1, "ahead"), ("north", 3, 1, "ancient")]
    [first, *_] = closed(wrong, (EAST,), 3)["east"]
    assert (3, True, 2) == (first.cuts[0].cut, first.cuts[0].excused, first.cuts[0].uncounted["other_region"])


@pytest.mark.parametrize(
    ("region", "others_ok", "reason"), [("north", True, None), ("north", False, "unknown_region"), ("North", True, "unknown_region")]
)
def test_the_rule_of_the_log_decides(region: str, others_ok: bool, reason: str | None) -> None:
    """A log of the first release goes on rejecting regions that a run does not count; a text that is no id is always rejected."""
    rules = IntakeRules(skew_s=300, dedup_horizon_events=20, others_ok=others_ok)
    [first, *_] = closed([(region, 1, 0, "")], (EAST,), 1, rules)["east"]
    expected = ({}, {"other_region": 1}) if reason is None else ({reason: 1}, {})
    assert expected == (first.cuts[0].rejected, first.cuts[0].uncounted)


def test_rejects_are_those_of_the_regions_of_the_run() -> None:
    """The rejected events of a run have their reasons and offsets; one of another region is not among them."""
    events: list[Drawn] = [("north", 1, 0, "fare"), ("east", 2, 0, "fare"), ("west", 3, 0, "outside"), ("North", 4, 0, "")]
    decoder = Decoder(("east",))
    fresh = ResumePoint(0, 0, START - 1, -1, START)
    raw = RawBatch(0, np.arange(4), np.full(4, START * SLOT_US), [value_of(event) for event in events])
    batch, undecodable = decoder.decode(raw)
    _, rejected = PartitionIntake(0, (EAST,), RULES, (fresh,), 0).absorb(batch, undecodable, 4)
    expected = [Rejected(0, 1, START * SLOT_US, Reason.BAD_FARE, b""), Rejected(0, 3, START * SLOT_US, Reason.UNKNOWN_REGION, b"")]
    assert expected == rejected
