"""A log is self-describing: before the first entry of each schema it has the schema, the same on every run."""

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings, strategies as st

from ledger.store.log import Ledger, Stored, holds
from ledger.store.recording import Recorder
from schemas.errors import DivergenceError, ExpectedSizeError, StoreUnavailable
from schemas.records.record_codec import decode, encode, kind_of
from schemas.records.records import ModelPromoted, Record, RegionBootstrapped, RunStopped, SchemaRecorded, SlotCounts, SlotScored
from schemas.records.schema_records import schema_entries
from tests.ledger.places import LOG, Place, scored
from tests.simulation.fixtures import Settled
from tests.simulation.runs import copied, run_here
from tests.tree import python_files, text_of

BOOT = encode(RegionBootstrapped(region="nyc", definition="{}", until="2014-05-01", first_slot=1, start_slot=2, rides=3, counts_blob=b""))
PROMOTED = encode(ModelPromoted(region="nyc", measure="pickups", model=b"digest", alias="champion", reason="better"))
STOPPED = encode(RunStopped(run="r", stopped_at_us=1, sizes={}))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty ledger."""
    found = Place(tmp_path)
    yield found
    found.abandon()


def kinds(ledger: Ledger, log: str = LOG) -> list[str]:
    """Kinds of a log's entries; for a schema, also the kind that it describes."""
    return [label(stored) for stored in ledger.scan(log)]


def label(stored: Stored[Record]) -> str:
    """The kind of an entry."""
    return f"schema of {stored.record.kind}" if holds(stored, SchemaRecorded) else stored.kind


def test_schemas_precede_their_entries(place: Place) -> None:
    """The schema of schemas comes first, each other one once before its first entry, including schemas of blobs."""
    recorder = Recorder(place.open(), LOG)
    assert 4 == recorder.append(0, [BOOT]).size
    assert 7 == recorder.append(4, [scored(1), scored(2)]).size
    assert 8 == recorder.append(7, [scored(3)]).size
    first = ["schema of SchemaRecorded", "schema of RegionBootstrapped", "schema of SlotCounts", "RegionBootstrapped"]
    assert [*first, "schema of SlotScored", "SlotScored", "SlotScored", "SlotScored"] == kinds(place.open())


def test_bytes_that_are_no_record_need_no_schema(place: Place) -> None:
    """Bytes of no known schema are appended unchanged."""
    assert 1 == Recorder(place.open(), LOG).append(0, [b"anything"]).size
    assert ["unknown"] == kinds(place.open())


def test_a_rerun_of_an_append_stays_a_rerun(place: Place) -> None:
    """The same records at the same expected size are the same entries, with the same recorder, with another, and later."""
    ledger = place.open()
    first = Recorder(ledger, LOG)
    first.append(0, [BOOT])
    behind = first.append(4, [scored(1)])
    first.append(behind.size, [PROMOTED])
    for recorder in (first, Recorder(ledger, LOG)):
        assert behind == recorder.append(4, [scored(1)])
        assert 4 == recorder.append(0, [BOOT]).size
        with pytest.raises(DivergenceError, match="with other content at index 5"):
            recorder.append(4, [scored(2)])
        with pytest.raises(ExpectedSizeError, match="expected size 99, got 8"):
            recorder.append(99, [scored(1)])
    assert 8 == ledger.head(LOG).size


def test_an_append_with_unknown_result_is_repeated(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure before or after the commit, repeating the append leaves each schema once."""
    ledger = place.open()
    recorder = Recorder(ledger, LOG)
    whole = ledger.append

    def dies_after(log: str, expected_size: int, payloads: Sequence[bytes]) -> None:
        whole(log, expected_size, payloads)
        raise StoreUnavailable("the answer was lost")

    def dies_before(log: str, expected_size: int, payloads: Sequence[bytes]) -> None:
        raise StoreUnavailable("nothing was sent")

    for failing in (dies_before, dies_after):
        monkeypatch.setattr(ledger, "append", failing)
        with pytest.raises(StoreUnavailable):
            recorder.append(0, [BOOT])
    monkeypatch.setattr(ledger, "append", whole)
    assert 4 == recorder.append(0, [BOOT]).size
    assert 6 == recorder.append(4, [PROMOTED]).size


GROUPS = st.lists(st.lists(st.sampled_from([BOOT, PROMOTED, STOPPED, scored(1)]), min_size=1, max_size=3), min_size=1, max_size=6)


@settings(max_examples=15, deadline=None)
@given(groups=GROUPS, forgets=st.lists(st.booleans(), min_size=6, max_size=6))
def test_recorded_schemas_depend_on_the_log_alone(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[bytes]], forgets: list[bool]
) -> None:
    """With one writer, with restarts between appends or with two writers, the log is the same."""
    logs = []
    for remembers in (True, False):
        place = Place(tmp_path_factory.mktemp("recording"))
        ledger = place.open()
        writers = [Recorder(ledger, LOG), Recorder(ledger, LOG)]
        size = 0
        for group, forget in zip(groups, forgets, strict=False):
            writer = writers[0] if remembers else Recorder(ledger, LOG) if forget else writers[1]
            size = writer.append(size, group).size
        logs.append([stored.payload for stored in ledger.scan(LOG)])
        place.abandon()
    assert logs[0] == logs[1]


def test_two_writers_of_one_log_record_each_schema_once(place: Place) -> None:
    """A writer that lost a race for an append reads the log again before it retries."""
    ledger = place.open()
    one, other = Recorder(ledger, "control"), Recorder(ledger, "control")
    one.append(0, [PROMOTED])
    with pytest.raises(DivergenceError):
        other.append(0, [STOPPED])
    other.append(3, [STOPPED])
    with contextlib.suppress(DivergenceError, ExpectedSizeError):
        one.append(3, [PROMOTED])
    one.append(ledger.head("control").size, [STOPPED])
    found = kinds(ledger, "control")
    assert [
        "schema of SchemaRecorded",
        "schema of ModelPromoted",
        "ModelPromoted",
        "schema of RunStopped",
        "RunStopped",
        "RunStopped",
    ] == found


def plainly_decoded(payloads: Sequence[bytes]) -> list[dict[str, object]]:
    """Every entry of a log decoded by Avro alone with the log's own schemas, without Ridecast's code."""
    schemas: dict[bytes, Any] = {}
    found = []
    for payload in payloads:
        head, body = payload[2:10], payload[10:]
        if not schemas:  # The first entry: its text is the JSON at its end, and its fingerprint confirms it.
            schemas[head] = json.loads(payload[payload.index(b'{"') :])
        canonical = fastavro.schema.to_parsing_canonical_form(schemas[head])
        assert head == bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
        fields = fastavro.schemaless_reader(io.BytesIO(body), fastavro.parse_schema(schemas[head]), None)
        assert isinstance(fields, dict)
        if "SchemaRecorded" in canonical and fields.keys() == {"kind", "version", "fingerprint", "sha256", "text"}:
            assert fields["sha256"] == hashlib.sha256(fields["text"].encode()).digest()
            schemas[fields["fingerprint"]] = json.loads(fields["text"])
        found.append(fields)
    return found


def test_every_log_of_a_run_is_read_without_ridecast(settled: Settled, tmp_path: Path) -> None:
    """Each entry of a real region and of its runs decodes with fastavro and the preceding schemas of its log."""
    place = copied(settled.place, tmp_path / "home")
    run_here(place)
    stores = place.open()
    try:
        for log in stores.ledger.logs():
            payloads = [stored.payload for stored in stores.ledger.scan(log)]
            fields = plainly_decoded(payloads)
            ours = [decode(payload) for payload in payloads]
            assert [record.slot for record in ours if isinstance(record, SlotScored)] == [
                row["slot"] for row, payload in zip(fields, payloads, strict=True) if kind_of(payload) == SlotScored.__name__
            ]
            recorded = [record.fingerprint for record in ours if isinstance(record, SchemaRecorded)]
            assert len(recorded) == len(set(recorded))
        boot = stores.ledger.entry(LOG.replace("nyc", "small"), RegionBootstrapped)
        assert boot is not None
        blob = stores.blobs.get(boot.record.counts_blob)
        [text] = [r.text for r in ours_of(stores.ledger, "region/small") if r.fingerprint == blob[2:10]]
        read = fastavro.schemaless_reader(io.BytesIO(blob[10:]), fastavro.parse_schema(json.loads(text)), None)
    finally:
        stores.close()
    counts = decode(blob, SlotCounts)
    assert isinstance(read, dict)
    assert [list(table.counts) for table in counts.counts] == [table["counts"] for table in read["counts"]]


def ours_of(ledger: Ledger, log: str) -> list[SchemaRecorded]:
    """The schemas in a log."""
    return list(ledger.records(log, SchemaRecorded))


def test_a_schema_matches_its_fingerprint() -> None:
    """Each recorded schema has the fingerprint that it is recorded under."""
    for found, entry in schema_entries().items():
        canonical = fastavro.schema.to_parsing_canonical_form(json.loads(decode(entry, SchemaRecorded).text))
        assert (canonical, found.hex()) == (decode(entry, SchemaRecorded).text, fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


def test_every_writer_appends_through_the_recorder() -> None:
    """No shell appends to the ledger directly: a schema could then be missing."""
    found = [
        f"{path}: {line.strip()}"
        for path in python_files("dataflows", "api", "ridecast")
        for line in text_of(path).splitlines()
        if re.search(r"ledger\.append\(", line)
    ]
    assert found == []
