"""The slow, plain reference of intake and closing: one event at a time, straight from the definitions."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from state.counting.evidence import EvidenceRules

SLOT_US = 300_000_000
HOUR_US = 3_600_000_000
ONE = EvidenceRules()


@dataclass
class Event:
    """One event of a partition's log, already decoded."""

    offset: int
    event_id: int
    at_us: int
    cell_at: tuple[float, float]
    reason: str | None = None  # why it is rejected
    counted: bool = True  # a kind that the measure counts
    by_broker: bool = False  # its log time is the broker's


@dataclass
class PlainSlot:
    """What one slot must say."""

    slot: int
    counts: Counter[tuple[float, float]] = field(default_factory=Counter)
    corrections: Counter[tuple[int, tuple[float, float]]] = field(default_factory=Counter)
    partitions: dict[int, dict[str, object]] = field(default_factory=dict)


@dataclass
class Gap:
    """Offsets that a run found gone when it started again: nothing below `until` could be read any more."""

    closed_through: int  # last slot that was closed before
    open_from: int  # where it would have gone on reading
    counted_until: int  # cut of `closed_through`
    until: int  # first offset that is left, not below `counted_until`


def close_all(
    logs: Mapping[int, list[Event]],
    ends: Mapping[int, int],
    start_slot: int,
    lateness_us: int,
    horizon: int,
    excuses: Mapping[tuple[int, int], int] | None = None,
    until_slot: int | None = None,
    gaps: Mapping[int, Gap] | None = None,
    rules: EvidenceRules = ONE,
) -> list[PlainSlot]:
    """Every slot that a run over these logs closes.

    Args:
        excuses: (partition, slot) -> position that a live run recorded as the cut; None for a bounded run, where a
            partition is excused at its end.
        until_slot: Where a live run has stopped; a bounded one goes through the slot of `last_us`.
        gaps: Per partition, at most one.
        rules: Of evidence; by default the largest event time is evidenced.
    """
    gaps = gaps or {}
    whole = {partition: _accept(log, horizon, None, rules) for partition, log in logs.items()}
    rest = {partition: _accept(log, horizon, gaps.get(partition), rules) for partition, log in logs.items()}
    if until_slot is None:
        last = last_us({partition: rows for partition, (rows, _) in rest.items()}, rules)
        until_slot = last // SLOT_US + 1 if last >= 0 else start_slot
    too_far: dict[int, set[int]] = {partition: set() for partition in logs}
    out = []
    previous = dict.fromkeys(logs, 0)
    for slot in range(start_slot, until_slot):
        end_us = (slot + 1) * SLOT_US
        said = PlainSlot(slot)
        for partition in logs:
            gap = gaps.get(partition)
            rows, duplicates = whole[partition] if gap and slot <= gap.closed_through else rest[partition]
            reached = [event.offset for event, m in rows if m >= end_us + lateness_us]
            excused = not reached if excuses is None else (partition, slot) in excuses
            cut = reached[0] if not excused else ends[partition] if excuses is None else excuses[partition, slot]
            low = previous[partition]
            below = [(event, m) for event, m in rows if event.offset < cut]
            taken = [event for event, _ in below if event.offset >= low]
            too_far[partition] |= {event.offset for event in taken if event.counted and event.at_us // SLOT_US >= _limit(slot, rules)}
            for event, _ in below:
                place = event.at_us // SLOT_US
                if event.offset in too_far[partition]:
                    continue
                if gap and gap.open_from <= event.offset < gap.until and place > gap.closed_through:
                    continue  # It was held for its slot when the run ended, and could not be read again.
                if event.counted and place == slot:
                    said.counts[event.cell_at] += 1
                if event.counted and event.offset >= low and start_slot <= place < slot:
                    said.corrections[place, event.cell_at] += 1
            inside = [event for event in logs[partition] if low <= event.offset < cut]
            if gap:
                inside = [event for event in inside if not gap.counted_until <= event.offset < gap.until]
            early = [event for event in taken if event.counted and event.at_us // SLOT_US < start_slot]
            far = sum(event.offset in too_far[partition] for event in taken)
            kept = [e.offset for e, _ in below if e.counted and e.at_us // SLOT_US > slot and e.offset not in too_far[partition]]
            known = [row for row in below if not gap or slot <= gap.closed_through or row[0].offset >= gap.until]
            needed = [event.offset for event in _ahead(known, rules)]
            said.partitions[partition] = {
                "cut": cut,
                "largest_us": max((m for _, m in below), default=-1),
                "open_from": min([*kept, *needed], default=cut),
                "excused": excused,
                "received": len(inside),
                "accepted": len(taken),
                "duplicate": sum(low <= offset < cut for offset in duplicates),
                "counted": sum(event.counted for event in taken) - len(early) - far,
                "rejected": dict(Counter(event.reason for event in inside if event.reason is not None)),
                "uncounted": {
                    name: n
                    for name, n in (
                        ("before_start", len(early)),
                        ("other_kind", sum(not event.counted for event in taken)),
                        ("too_far_ahead", far),
                    )
                    if n
                },
            }
            previous[partition] = cut
        out.append(said)
    return out


def last_us(rows: Mapping[int, list[tuple[Event, int]]], rules: EvidenceRules) -> int:
    """The time through whose slot a bounded run closes: the latest of the last events within an hour of the evidence, -1 for none."""
    reached = reached_together(rows, rules)
    every = sorted((event.at_us for accepted in rows.values() for event in _ahead(accepted, rules)), reverse=True)
    if reached < 0 and every:
        reached = every[min(rules.events, len(every)) - 1]
    return max([reached, *(at for at in every if reached <= at <= reached + HOUR_US)])


def reached_together(rows: Mapping[int, list[tuple[Event, int]]], rules: EvidenceRules) -> int:
    """What accepted events of all partitions evidence together, -1 for nothing."""
    alone = max((m for accepted in rows.values() for _, m in accepted), default=-1)
    share = min(math.ceil(rules.window_events / len(rows)), rules.window_events - 1)
    newest = sorted((event.at_us for accepted in rows.values() for event, _ in accepted[len(accepted) - min(share, len(accepted)) :]))
    together = [at for at in newest if at > alone]
    needed = max(rules.events, math.ceil(rules.events * len(rows) / rules.window_events))
    return together[-needed] if len(together) >= needed else alone


def _ahead(rows: list[tuple[Event, int]], rules: EvidenceRules) -> list[Event]:
    """Events on which the evidenced time may still depend: of the last W - 1, those that exceed it."""
    last = rows[len(rows) - min(len(rows), rules.window_events - 1) :]
    return [event for event, _ in last if rules.events > 1 and event.at_us > rows[-1][1]]


def _limit(uncut: int, rules: EvidenceRules) -> int:
    """First slot that is too far ahead."""
    hold_slots = rules.hold_slots(SLOT_US)
    return (uncut // hold_slots + 2) * hold_slots if hold_slots else 10**12


def accepted_of(log: list[Event], horizon: int, rules: EvidenceRules) -> list[tuple[Event, int]]:
    """Accepted events, each with the evidenced time after it."""
    return _accept(log, horizon, None, rules)[0]


def _accept(log: list[Event], horizon: int, gap: Gap | None, rules: EvidenceRules) -> tuple[list[tuple[Event, int]], list[int]]:
    """Accepted events, each with the evidenced time after it, and offsets of duplicates; of what could be read."""
    accepted: list[tuple[Event, int]] = []
    duplicates: list[int] = []
    last_seen: dict[int, int] = {}
    largest = -1
    for event in log:
        if gap and gap.counted_until <= event.offset < gap.until:
            continue
        if gap and event.offset >= gap.until and min(last_seen.values(), default=gap.until) < gap.until:
            last_seen = {}
        if event.reason is not None:
            continue
        before = last_seen.get(event.event_id)
        last_seen[event.event_id] = event.offset
        if before is not None and event.offset - before <= horizon:
            duplicates.append(event.offset)
            continue
        before_it = [e for e, _ in accepted if not gap or event.offset < gap.until or e.offset >= gap.until]
        before_it = before_it[len(before_it) - min(len(before_it), rules.window_events - 1) :]
        window = sorted([event.at_us, *(e.at_us for e in before_it)])
        if len(window) >= rules.events:
            largest = max(largest, window[-rules.events])
        if event.by_broker:
            largest = max(largest, event.at_us)
        accepted.append((event, largest))
    return accepted, duplicates
