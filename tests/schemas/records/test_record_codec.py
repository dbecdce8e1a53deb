"""Records and their bytes: what is written is read back, whatever it says; what is no record is damage, never another error."""

import dataclasses
import json
import typing
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from schemas.encoding.avro_files import MARKER, fingerprint
from schemas.errors import ContractError, DamagedError
from schemas.records.record_codec import VERSIONS, decode, encode, kind_of, place_in, place_of, schema_of, write_schemas
from schemas.records.records import BLOB_RECORDS, RECORDS, ForecastIssued, PartitionCut, SlotClosed, StateDigested
from schemas.records.upcasters import DOWNCASTERS
from tests.schemas.record_golden import released_records
from tests.tree import ROOT

KINDS: tuple[Any, ...] = (*RECORDS, *BLOB_RECORDS)
SIMPLE = {int: st.integers(-(2**63), 2**63 - 1), str: st.text(max_size=12), bytes: st.binary(max_size=33), bool: st.booleans()}


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Every value of a field's type, as its dataclass declares it."""
    if annotation in SIMPLE:
        return SIMPLE[annotation]
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if typing.get_origin(annotation) is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    hints = typing.get_type_hints(annotation)
    return st.builds(annotation, **{field.name: values(hints[field.name]) for field in dataclasses.fields(annotation)})


RECORDS_OF = {kind.__name__: values(kind) for kind in KINDS}
any_record = st.one_of(*RECORDS_OF.values())


@pytest.mark.parametrize("name", sorted(RECORDS_OF))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_decoding_undoes_encoding(name: str, data: st.DataObject) -> None:
    """Every record of a kind comes back as it was, under its own kind, and is written to the same bytes again."""
    record = data.draw(RECORDS_OF[name])
    payload = encode(record)
    again = decode(payload)
    assert record == again
    assert type(record) is type(again)
    assert payload == encode(again)
    assert name == kind_of(payload)
    kind: Any = type(record)
    schemas, version = [schema_of(kind)], VERSIONS.get(name, 1)
    while (name, version) in DOWNCASTERS:
        version -= 1
        schemas.append(released_records()[f"{name}.v{version}"])
    assert payload[:10] in [MARKER + fingerprint(schema) for schema in schemas]


@given(RECORDS_OF["ForecastIssued"])
@settings(max_examples=25, deadline=None)
def test_an_issue_is_written_in_the_oldest_version_that_has_its_fields(issued: ForecastIssued) -> None:
    """Version 4 is for a challenger's features, 3 for members, roles or an experiment, 2 for bands; others keep the bytes of version 1."""

    def is_version(number: int, record: ForecastIssued) -> bool:
        return encode(record)[:10] == MARKER + fingerprint(released_records()[f"ForecastIssued.v{number}"])

    banded = any(spread.bands for spread in issued.spread)
    third = dataclasses.replace(issued, arm_features_digest=b"")
    alone = dataclasses.replace(third, roles=(), reasons={}, members=(), weights=(), experiment="")
    assert is_version(2 if banded else 1, alone)
    assert third == alone or is_version(3, third)
    assert issued == third or is_version(4, issued)
    assert is_version(1, dataclasses.replace(alone, spread=tuple(dataclasses.replace(spread, bands=()) for spread in issued.spread)))


@given(any_record)
@settings(max_examples=100, deadline=None)
def test_the_place_is_found_without_decoding(record: Any) -> None:
    """Kind, slot and subject read from the first fields are those of the whole record."""
    slot = getattr(record, "slot", None)
    assert (slot, str(getattr(record, "measure", ""))) == place_of(record)
    assert (type(record).__name__, *place_of(record)) == place_in(encode(record))


@given(st.permutations(["a", "b", "c", "d"]))
def test_the_order_of_a_map_does_not_reach_the_bytes(names: list[str]) -> None:
    """Two maps that are equal have the same bytes, however they were filled."""
    cut = PartitionCut(
        partition=0,
        cut=1,
        largest_us=2,
        open_from=3,
        excused=False,
        received=4,
        accepted=5,
        duplicate=6,
        counted=7,
        rejected={name: ord(name) for name in names},
        uncounted={},
    )
    [first, other] = (
        encode(
            SlotClosed(
                region="nyc",
                slot=1,
                status="observed",
                partitions=(dataclasses.replace(cut, rejected=rejected),),
                counts=(),
                corrections=(),
                counts_blob=b"",
                control_size=0,
                control_root=b"",
            )
        )
        for rejected in (cut.rejected, {name: ord(name) for name in "abcd"})
    )
    assert first == other


@given(any_record, st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damage_is_damage_and_nothing_else(record: Any, data: st.DataObject) -> None:
    """Bytes that were cut, continued or changed are refused, or are some other record; no other error ever comes out."""
    payload = bytearray(encode(record))
    match data.draw(st.sampled_from(["cut", "more", "flip", "junk"])):
        case "cut":
            del payload[data.draw(st.integers(0, len(payload) - 1)) :]
        case "more":
            payload += data.draw(st.binary(min_size=1, max_size=4))
        case "flip":
            payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        case "junk":
            payload[10:] = data.draw(st.binary(max_size=40))
    with suppress(DamagedError):
        assert isinstance(decode(bytes(payload)), KINDS)
    with suppress(DamagedError):
        assert place_in(bytes(payload))[0] in {*RECORDS_OF, "unknown"}
    assert kind_of(bytes(payload)) in {*RECORDS_OF, "unknown"}


def test_cut_or_continued_it_is_never_read() -> None:
    """A record that lacks its last byte, or has one more, is refused with what was expected."""
    payload = encode(StateDigested(region="nyc", slot=5, integers=b"i" * 32, models=b"m" * 32))
    with pytest.raises(DamagedError, match="entry: StateDigested v1 does not decode"):
        decode(payload[:-1])
    with pytest.raises(DamagedError, match=f"entry: StateDigested v1: expected {len(payload)} bytes, got {len(payload) + 1}"):
        decode(payload + b"\x00")


@pytest.mark.parametrize("payload", [b"", b"\xc3", MARKER, MARKER + b"12345678", b"no record of ours", bytes(300)])
def test_what_is_no_record_is_unknown(payload: bytes) -> None:
    """Without a released fingerprint there is no kind and no place, and nothing is decoded."""
    assert "unknown" == kind_of(payload)
    assert ("unknown", None, "") == place_in(payload)
    with pytest.raises(DamagedError, match="entry: expected a released schema's fingerprint, got "):
        decode(payload)


def test_a_large_entry_is_placed_by_its_beginning() -> None:
    """The place of a forecast is found although what follows it is broken."""
    payload = encode(
        ForecastIssued(
            region="nyc",
            measure="pickups",
            slot=77,
            target_us=1,
            horizons_min=(15,),
            models=(),
            features_digest=b"",
            family="nb",
            spread=(),
            cells=0,
            chunks=0,
            root=b"",
            blob=b"",
            fallbacks={},
            universe_version=1,
            slot_status="observed",
        )
    )
    assert ("ForecastIssued", 77, "pickups") == place_in(payload[:-5])


# --- schemas -----------------------------------------------------------------------------------------------


def test_schemas_are_written_once(tmp_path: Path) -> None:
    """Into an empty folder every current schema is written; a second time there is nothing to do."""
    written = write_schemas(tmp_path)
    assert len(KINDS) == len(written)
    assert [] == write_schemas(tmp_path)
    for path in written:
        assert path.read_text("utf-8") == (ROOT / "schemas" / "avro" / "records" / path.name).read_text("utf-8")


def test_a_released_schema_is_not_changed(tmp_path: Path) -> None:
    """Where the file of a version says something else than its dataclass, nothing is overwritten and the way out is said."""
    write_schemas(tmp_path)
    path = tmp_path / "StateDigested.v1.avsc"
    schema = json.loads(path.read_text("utf-8"))
    schema["fields"].pop()
    path.write_text(json.dumps(schema), "utf-8")
    with pytest.raises(ContractError, match=r"StateDigested.v1.avsc is released and differs .* give the record a new version"):
        write_schemas(tmp_path)
    assert schema == json.loads(path.read_text("utf-8"))


def test_a_field_that_avro_has_no_type_for_is_a_bug_of_ours() -> None:
    """A record may hold numbers, texts, bytes, truths, tuples and maps of them, and other records; nothing else."""

    @dataclasses.dataclass(frozen=True)
    class Odd:
        share: float

    with pytest.raises(ContractError, match="record field: no Avro type for <class 'float'>"):
        schema_of(Odd)
