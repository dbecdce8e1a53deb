"""From outcomes to entries and back: the decoded slot equals the recorded one."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dataflows.stream.record import closed_of, history_by_slot, payloads_of
from ledger.formats.merkle import EMPTY_ROOT, leaf_hash, root
from ledger.store.blobs import Blobs, Retention, open_blobs
from ledger.store.log import Stored
from ledger.views.control import Control
from schemas.forecasts.chunks import unpack_blob
from schemas.records.count_table import to_table
from schemas.records.record_codec import decode, encode
from schemas.records.records import (
    ForecastIssued,
    HorizonShort,
    PartitionCut,
    PartitionsChanged,
    Record,
    RegionBootstrapped,
    SlotClosed,
    SlotCounts,
    SourceChanged,
    SourceGap,
    StateDigested,
    UniverseChanged,
)
from state.counting.slots import NO_COUNTS, ClosedSlot, CountColumns, GapFound, HorizonFound, merge_counts
from state.forecast.region import RegionFold
from tests.state.model_city import CELLS, HOURLY

REGION = dataclasses.replace(HOURLY, measures=("requests", "pickups"), slot_min=30)
START = 1_001  # so that the first close ends an hour
CONTROL = Control(7, b"c" * 32)
SLOTS = [START - 3, START - 2, START - 1]


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Blobs:
    """A place for blobs."""
    return open_blobs(tmp_path_factory.mktemp("blobs"), "")


def fold() -> RegionFold:
    """A region with three slots without rides."""
    new = RegionFold(REGION, START)
    new.remember((slot, (NO_COUNTS, NO_COUNTS)) for slot in SLOTS)
    return new


def stored(payloads: list[bytes]) -> list[Stored[Record]]:
    """Payloads as a ledger returns them."""
    return [Stored("region/town", i, type(decode(payload)).__name__, None, "", payload) for i, payload in enumerate(payloads)]


def columns(rides: dict[tuple[int, int], int]) -> CountColumns:
    """(slot, number of the cell) -> rides, as columns."""
    if not rides:
        return NO_COUNTS
    keys = sorted(rides)
    slots, cells = np.array([slot for slot, _ in keys]), CELLS[np.array([number for _, number in keys])]
    return merge_counts([(slots, cells, np.array([rides[key] for key in keys]))])


def plain(closed: ClosedSlot) -> tuple[object, ...]:
    """A closed slot in a form that compares."""
    parts = [[column.tolist() for column in (c.slots, c.cells, c.counts)] for c in (*closed.counts, *closed.corrections)]
    return closed.slot, closed.cuts, parts, closed.findings


numbers = st.integers(0, 2**40)
cuts = st.builds(
    PartitionCut,
    partition=st.integers(0, 3),
    largest_us=st.integers(-1, 2**55),
    excused=st.booleans(),
    **dict.fromkeys(("cut", "open_from", "received", "accepted", "duplicate", "counted"), numbers),
    rejected=st.dictionaries(st.sampled_from(["bad_id", "undecodable"]), st.integers(1, 9)),
    uncounted=st.dictionaries(st.just("other_kind"), st.integers(1, 9)),
)
counts = st.dictionaries(st.tuples(st.just(START), st.integers(0, 20)), st.integers(1, 10**6), max_size=9).map(columns)
late = st.dictionaries(st.tuples(st.sampled_from(SLOTS), st.integers(0, 20)), st.integers(1, 99), max_size=9).map(columns)
some_partitions = st.lists(st.integers(0, 3), max_size=3).map(tuple)
findings = st.one_of(
    st.builds(GapFound, st.integers(0, 3), numbers, numbers),
    st.builds(HorizonFound, st.integers(0, 3), numbers, numbers),
    st.builds(SourceChanged, region=st.just("town"), slot=numbers, before=st.text(max_size=9), after=st.text(max_size=9)),
    st.builds(PartitionsChanged, region=st.just("town"), slot=numbers, added=some_partitions, removed=some_partitions),
)
closes = st.builds(
    ClosedSlot,
    st.just(START),
    st.lists(cuts, min_size=1, max_size=4).map(tuple),
    st.tuples(counts, counts),
    st.tuples(late, late),
    st.lists(findings, max_size=3).map(tuple),
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(closes, st.booleans())
def test_recorded_slots_are_decoded_exactly(blobs: Blobs, closed: ClosedSlot, in_blobs: bool) -> None:
    """For any slot, its recorded entries give the same cuts, counts, corrections and findings, inline or in a blob."""
    with pytest.MonkeyPatch.context() as patch:
        if in_blobs:
            patch.setattr("dataflows.stream.record.INLINE_LIMIT_BYTES", 10)
        payloads = payloads_of(REGION, fold().apply(closed), CONTROL, blobs)
    found = stored(payloads)
    at = next(i for i, entry in enumerate(found) if entry.kind == SlotClosed.__name__)
    record = decode(payloads[at], SlotClosed)
    assert len(closed.findings) == at
    assert plain(closed) == plain(closed_of(REGION, record, found[:at], blobs))
    assert (7, b"c" * 32) == (record.control_size, record.control_root)
    rows = sum(len(part) for part in (*closed.counts, *closed.corrections))
    assert bool(record.counts_blob) == (in_blobs and rows > 0)
    if record.counts_blob:
        assert () == record.counts == record.corrections
        assert blobs.retention(record.counts_blob) is Retention.PERMANENT


def test_entries_are_in_order(blobs: Blobs) -> None:
    """Findings, the slot, the universe, the forecasts of each measure, the digest."""
    closed = ClosedSlot(
        START,
        (PartitionCut(partition=0, cut=5, largest_us=1, open_from=5, excused=False, received=5, accepted=5, duplicate=0, counted=5),),
        (columns({(START, 3): 2}), NO_COUNTS),
        (NO_COUNTS, NO_COUNTS),
        (GapFound(0, 1, 3), HorizonFound(0, 2, 4)),
    )
    records = [decode(payload) for payload in payloads_of(REGION, fold().apply(closed), CONTROL, blobs)]
    assert [
        SourceGap(region="town", partition=0, from_offset=1, to_offset=3),
        HorizonShort(region="town", partition=0, wanted_offset=2, found_offset=4),
    ] == records[:2]
    kinds = [type(record) for record in records[2:]]
    assert [SlotClosed, UniverseChanged, ForecastIssued, ForecastIssued, StateDigested] == kinds


def test_forecasts_are_named_by_their_chunks(blobs: Blobs) -> None:
    """The entry's root is that of the chunks in its blob, which have the issued numbers; without cells there is no blob."""
    closed = ClosedSlot(
        START,
        (PartitionCut(partition=0, cut=5, largest_us=1, open_from=5, excused=False, received=5, accepted=5, duplicate=0, counted=5),),
        (columns({(START, number): number + 1 for number in range(20)}), NO_COUNTS),
        (NO_COUNTS, NO_COUNTS),
    )
    outcome = fold().apply(closed)
    requests, pickups = [
        record for payload in payloads_of(REGION, outcome, CONTROL, blobs) if isinstance(record := decode(payload), ForecastIssued)
    ]
    chunks = unpack_blob(blobs.get(requests.blob)).chunks
    assert ("requests", 20, 2, len(chunks)) == (requests.measure, requests.cells, requests.chunks, 2)
    assert root([leaf_hash(chunk) for chunk in chunks]) == requests.root
    assert outcome.issues[0].draft.columns.mean.tolist() == unpack_blob(blobs.get(requests.blob)).columns(HOURLY.horizons_min).mean.tolist()
    assert blobs.retention(requests.blob) is Retention.FORECAST
    assert (START + 1) * REGION.slot_us == requests.target_us
    assert ("pickups", 0, 0, b"", EMPTY_ROOT) == (pickups.measure, pickups.cells, pickups.chunks, pickups.blob, pickups.root)
    assert () == requests.models


def test_a_slot_as_large_as_new_york_fits_its_entry(tmp_path: Path) -> None:
    """Thousands of cells go to a blob by themselves, so that no entry is larger than a log allows."""
    store = open_blobs(tmp_path, "")
    cells = np.arange(2**29, 2**29 + 7 * 9_000, 7, dtype=np.uint64)
    many = CountColumns(np.full(len(cells), START), cells, np.arange(1, len(cells) + 1))
    few = ClosedSlot(
        START,
        (PartitionCut(partition=0, cut=5, largest_us=1, open_from=5, excused=False, received=5, accepted=5, duplicate=0, counted=5),),
        (NO_COUNTS, NO_COUNTS),
        (NO_COUNTS, NO_COUNTS),
    )
    closed = dataclasses.replace(few, counts=(many, NO_COUNTS))
    outcome = dataclasses.replace(fold().apply(few), closed=closed)  # what is forecast for them does not matter here
    first = payloads_of(REGION, outcome, CONTROL, store)[0]
    record = decode(first, SlotClosed)
    assert len(first) < 1_000
    assert plain(closed) == plain(closed_of(REGION, record, (), store))


# --- history ---------------------------------------------------------------------------------------------


def boot(blobs: Blobs, *counts: CountColumns, first_slot: int) -> RegionBootstrapped:
    """A bootstrap record of these counts per measure."""
    tables = tuple(to_table(name, c.slots, c.cells, c.counts) for name, c in zip(REGION.measures, counts, strict=True) if len(c))
    blob = blobs.put(encode(SlotCounts(counts=tables, corrections=())), Retention.PERMANENT) if tables else b""
    return RegionBootstrapped(
        region="town", definition=REGION.to_json(), until="2014-04-06", first_slot=first_slot, start_slot=START, rides=0, counts_blob=blob
    )


def test_history_is_read_slot_by_slot(blobs: Blobs) -> None:
    """Every slot from the first to the start is there, also without rides, with the counts of each measure."""
    requests, pickups = columns({(START - 6, 1): 3, (START - 6, 2): 1, (START - 2, 1): 9}), columns({(START - 1, 0): 4})
    found = list(history_by_slot(REGION, boot(blobs, requests, pickups, first_slot=START - 6), blobs))
    assert list(range(START - 6, START)) == [slot for slot, _ in found]
    actual = {slot: [list(zip(c.cells.tolist(), c.counts.tolist(), strict=True)) for c in counts] for slot, counts in found}
    one, two, zero = int(CELLS[1]), int(CELLS[2]), int(CELLS[0])
    silent: dict[int, list[list[tuple[int, int]]]] = {slot: [[], []] for slot in range(START - 6, START)}
    assert silent | {START - 6: [[(one, 3), (two, 1)], []], START - 2: [[(one, 9)], []], START - 1: [[], [(zero, 4)]]} == actual
    assert all((c.slots == slot).all() for slot, counts in found for c in counts)


def test_without_history_there_are_no_slots(blobs: Blobs) -> None:
    """A region without history has no slot before its start."""
    assert [] == list(history_by_slot(REGION, boot(blobs, NO_COUNTS, NO_COUNTS, first_slot=START), blobs))
