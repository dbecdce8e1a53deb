"""Compares recorded slots with the plain reference, one event at a time, using the recorded excuses and gaps."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from dataflows.connectors.rejects_at import open_rejects
from dataflows.stream.stores import Stores
from ledger.views.regions import bootstrap_of
from schemas.events.cells import encode
from schemas.events.rides import Reason
from schemas.records.count_table import from_table
from schemas.records.record_codec import decode
from schemas.records.records import CountTable, SlotClosed, SlotCounts
from state.counting.evidence import recorded_evidence
from tests.simulation.world import PLACES, START_SLOT, World
from tests.state.counting.plain_slots import SLOT_US, Gap, PlainSlot, accepted_of, close_all, reached_together

CODES = {place: int(encode(np.array([place[0]]), np.array([place[1]]), 30)[0]) for place in PLACES}


def assert_bounded(world: World, records: Sequence[SlotClosed], stores: Stores) -> None:
    """A bounded run closed what the reference closes, through the end."""
    rules = recorded_evidence(bootstrap_of(stores.ledger, "small"))
    plain = close_all(world.truth, world.ends, START_SLOT, world.lateness_us, world.horizon, rules=rules)
    _assert_same(plain, records, stores)


def assert_live(world: World, records: Sequence[SlotClosed], stores: Stores, gaps: Mapping[int, Gap] | None = None) -> None:
    """A live run closed what the reference closes given the recorded excuses, and no excuse was given too early."""
    excuses = {(cut.partition, record.slot): cut.cut for record in records for cut in record.partitions if cut.excused}
    until = records[-1].slot + 1 if records else START_SLOT
    rules = recorded_evidence(bootstrap_of(stores.ledger, "small"))
    plain = close_all(world.truth, world.ends, START_SLOT, world.lateness_us, world.horizon, excuses, until, gaps, rules)
    _assert_same(plain, records, stores)
    accepted = {p: accepted_of(log, world.horizon, rules) for p, log in world.truth.items()}
    for record in records:
        if all(cut.excused for cut in record.partitions):
            read = {cut.partition: [row for row in accepted[cut.partition] if row[0].offset < cut.cut] for cut in record.partitions}
            end_us = (record.slot + 1) * SLOT_US + world.lateness_us
            assert reached_together(read, rules) >= end_us, f"slot {record.slot} closed on excuses alone"


def assert_rejects_kept(world: World, stores: Stores) -> None:
    """Exactly the rejected events are stored, with their bytes and reasons."""
    sink = open_rejects(stores.settings)
    kept = {(r.partition, r.offset): (r.reason, r.value) for r in sink.read()}
    sink.close()
    expected = {
        (partition, offset): (Reason(entry.event.reason), entry.value)
        for partition, log in enumerate(world.logs)
        for offset, entry in enumerate(log)
        if entry.event.reason is not None
    }
    assert expected == kept


def _assert_same(plain: Sequence[PlainSlot], records: Sequence[SlotClosed], stores: Stores) -> None:
    assert [expected.slot for expected in plain] == [record.slot for record in records]
    for expected, record in zip(plain, records, strict=True):
        counts, corrections = record.counts, record.corrections
        if record.counts_blob:
            body = decode(stores.blobs.get(record.counts_blob), SlotCounts)
            counts, corrections = body.counts, body.corrections
        assert {(expected.slot, CODES[place]): n for place, n in expected.counts.items()} == _counts(counts)
        assert {(slot, CODES[place]): n for (slot, place), n in expected.corrections.items()} == _counts(corrections)
        for cut in record.partitions:
            mine = {name: getattr(cut, name) for name in expected.partitions[cut.partition]}
            assert expected.partitions[cut.partition] == mine, (
                f"slot {expected.slot}, partition {cut.partition}: expected {expected.partitions[cut.partition]}, got {mine}"
            )
            assert cut.received == cut.accepted + cut.duplicate + sum(cut.rejected.values())
            assert cut.accepted == cut.counted + sum(cut.uncounted.values())


def _counts(tables: Sequence[CountTable]) -> dict[tuple[int, int], int]:
    found: Counter[tuple[int, int]] = Counter()
    for table in tables:
        slots, cells, counts = from_table(table)
        for slot, cell, count in zip(slots.tolist(), cells.tolist(), counts.tolist(), strict=True):
            found[slot, cell] += count
    return dict(found)
