"""The slow, plain reference of intake and closing: one event at a time, straight from the definitions."""

from collections import Counter, defaultdict
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


def close_all(logs: dict[int, list[Event]], ends: dict[int, int], start_slot: int, lateness_us: int, horizon: int) -> list[PlainSlot]:
    """Every slot that a bounded run over these logs closes."""
    accepted: dict[int, list[tuple[Event, int]]] = {}  # with the running maximum after it
    duplicates: dict[int, list[int]] = defaultdict(list)
    for partition, log in logs.items():
        last_seen: dict[int, int] = {}
        largest = -1
        accepted[partition] = []
        for event in log:
            if event.reason is not None:
                continue
            before = last_seen.get(event.event_id)
            last_seen[event.event_id] = event.offset
            if before is not None and event.offset - before <= horizon:
                duplicates[partition].append(event.offset)
                continue
            largest = max(largest, event.at_us)
            accepted[partition].append((event, largest))
    largest = max((m for rows in accepted.values() for _, m in rows), default=-1)
    out = []
    previous = dict.fromkeys(logs, 0)
    for slot in range(start_slot, largest // SLOT_US + 1 if largest >= 0 else start_slot):
        end_us = (slot + 1) * SLOT_US
        said = PlainSlot(slot)
        for partition, rows in accepted.items():
            reached = [event.offset for event, m in rows if m >= end_us + lateness_us]
            cut = reached[0] if reached else ends[partition]
            low = previous[partition]
            below = [(event, m) for event, m in rows if event.offset < cut]
            for event, _ in below:
                place = event.at_us // SLOT_US
                if event.counted and place == slot:
                    said.counts[event.cell_at] += 1
                if event.counted and event.offset >= low and start_slot <= place < slot:
                    said.corrections[place, event.cell_at] += 1
            inside = [event for event in logs[partition] if low <= event.offset < cut]
            taken = [event for event, _ in below if event.offset >= low]
            early = [event for event in taken if event.counted and event.at_us // SLOT_US < start_slot]
            said.partitions[partition] = {
                "cut": cut,
                "largest_us": max((m for _, m in below), default=-1),
                "open_from": min([e.offset for e, _ in below if e.counted and e.at_us // SLOT_US > slot], default=cut),
                "excused": not reached,
                "received": len(inside),
                "accepted": len(taken),
                "duplicate": sum(low <= offset < cut for offset in duplicates[partition]),
                "counted": sum(event.counted for event in taken) - len(early),
                "rejected": dict(Counter(event.reason for event in inside if event.reason is not None)),
                "uncounted": {
                    name: n for name, n in (("before_start", len(early)), ("other_kind", sum(not event.counted for event in taken))) if n
                },
            }
            previous[partition] = cut
        out.append(said)
    return out
