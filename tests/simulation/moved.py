"""Sources that change: a world without duplicates, rides counted on both sides, and what must hold after every change."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from dataflows.audit.deep import fold_again
from dataflows.audit.replay import replay_region
from dataflows.audit.replay_report import Replay, Verdict
from dataflows.connectors.sources import open_rides
from schemas.records.count_table import from_table, tables_of
from schemas.records.record_codec import decode
from schemas.records.records import Record, SlotClosed
from tests.simulation.reference import CODES
from tests.simulation.runs import LOG, Place, payloads_at
from tests.simulation.world import START_SLOT, Entry, World, make_world
from tests.state.counting.plain_slots import SLOT_US, Event

Rides = Counter[tuple[int, int]]  # (slot, cell) -> rides


def world_without_duplicates(seed: int, *, hours: float = 4.0, partitions: int = 3) -> World:
    """A world in which every event id occurs once, so that rides can be counted by id."""
    world = make_world(seed, hours=hours, partitions=partitions, damage=False)
    return replace(world, logs=tuple(_once(log) for log in world.logs))


def _once(log: Iterable[Entry]) -> tuple[Entry, ...]:
    seen: dict[int, Entry] = {}
    for entry in log:
        seen.setdefault(entry.event.event_id, entry)
    return tuple(Entry(e.logged_at_us, e.value, replace(e.event, offset=offset)) for offset, e in enumerate(seen.values()))


def rides_of(events: Iterable[Event]) -> Rides:
    """The rides that these events must give, each id once."""
    by_id = {event.event_id: event for event in events if event.counted and event.reason is None}
    return Counter((e.at_us // SLOT_US, CODES[e.cell_at]) for e in by_id.values() if e.at_us // SLOT_US >= START_SLOT)


def rides_recorded(place: Place) -> Rides:
    """The rides of every slot in the ledger, with corrections."""
    found: Rides = Counter()
    stores = place.open()
    for record in stores.ledger.records(LOG, SlotClosed):
        for tables in tables_of(record, stores.blobs.get):
            for table in tables:
                for slot, cell, count in zip(*(column.tolist() for column in from_table(table)), strict=True):
                    found[slot, cell] += count
    stores.close()
    return found


def records_at(place: Place) -> list[Record]:
    """Every record of the region's log."""
    return [decode(payload) for payload in payloads_at(place)]


def assert_audited(place: Place, rides: str | None = None) -> Replay:
    """The log can be folded again, and a replay from these rides is identical; returns the replay."""
    stores = place.open()
    source = open_rides(rides or place.rides)
    try:
        assert [] == fold_again(stores.ledger, stores.blobs, stores.environment, "small", lambda at, size: None)
        found = replay_region(stores.ledger, stores.blobs, stores.environment, "small", source)
    finally:
        source.close()
        stores.close()
    assert {Verdict.IDENTICAL: len(found.slots)} == found.verdicts, found.first_bad
    return found
