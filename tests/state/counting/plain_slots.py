"""The slow, plain reference of intake and closing: one event at a time, straight from the definitions."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

SLOT_US = 300_000_000


@dataclass
class Event:
    """One event of a partition's log, already decoded."""

    offset: int
    event_id: int
    at_us: int
    cell_at: tuple[float, float]
    reason: str | None = None  # why it is rejected
    counted: bool = True  # a kind that the measure counts


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
) -> list[PlainSlot]:
    """Every slot that a run over these logs closes.

    Args:
        excuses: (partition, slot) -> position that a live run recorded as the cut; None for a bounded run, where a
            partition is excused at its end.
        until_slot: Where a live run has stopped; a bounded one goes through the slot of the largest event time.
        gaps: Per partition, at most one.
    """
    gaps = gaps or {}
    whole = {partition: _accept(log, horizon, None) for partition, log in logs.items()}
    rest = {partition: _accept(log, horizon, gaps.get(partition)) for partition, log in logs.items()}
    largest = max((m for rows, _ in rest.values() for _, m in rows), default=-1)
    if until_slot is None:
        until_slot = largest // SLOT_US + 1 if largest >= 0 else start_slot
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
            for event, _ in below:
                place = event.at_us // SLOT_US
                if gap and gap.open_from <= event.offset < gap.until and place > gap.closed_through:
                    continue  # It was held for its slot when the run ended, and could not be read again.
                if event.counted and place == slot:
                    said.counts[event.cell_at] += 1
                if event.counted and event.offset >= low and start_slot <= place < slot:
                    said.corrections[place, event.cell_at] += 1
            inside = [event for event in logs[partition] if low <= event.offset < cut]
            if gap:
                inside = [event for event in inside if not gap.counted_until <= event.offset < gap.until]
            taken = [event for event, _ in below if event.offset >= low]
            early = [event for event in taken if event.counted and event.at_us // SLOT_US < start_slot]
            said.partitions[partition] = {
                "cut": cut,
                "largest_us": max((m for _, m in below), default=-1),
                "open_from": min([e.offset for e, _ in below if e.counted and e.at_us // SLOT_US > slot], default=cut),
                "excused": excused,
                "received": len(inside),
                "accepted": len(taken),
                "duplicate": sum(low <= offset < cut for offset in duplicates),
                "counted": sum(event.counted for event in taken) - len(early),
                "rejected": dict(Counter(event.reason for event in inside if event.reason is not None)),
                "uncounted": {
                    name: n for name, n in (("before_start", len(early)), ("other_kind", sum(not event.counted for event in taken))) if n
                },
            }
            previous[partition] = cut
        out.append(said)
    return out


def _accept(log: list[Event], horizon: int, gap: Gap | None) -> tuple[list[tuple[Event, int]], list[int]]:
    """Accepted events, each with the running maximum after it, and offsets of duplicates; of what could be read."""
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
        largest = max(largest, event.at_us)
        accepted.append((event, largest))
    return accepted, duplicates
