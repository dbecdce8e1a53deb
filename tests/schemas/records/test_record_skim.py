"""A look at a record's bytes tells what decoding tells, for every released schema, and takes nothing that does not fit."""

import io
from contextlib import suppress
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings, strategies as st

from schemas.encoding.avro_files import MARKER, fingerprint
from schemas.errors import DamagedError
from schemas.records.record_codec import encode, place_in
from schemas.records.record_skim import FIELDS_READ, skim
from schemas.records.records import CountTable, SlotClosed
from tests.schemas.record_golden import released_records

SCHEMAS = released_records()
LONGS = st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70)


def values(kind: Any, types: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of an Avro type."""
    if isinstance(kind, str):
        simple: dict[str, st.SearchStrategy[Any]] = {
            "long": LONGS,
            "string": st.text(max_size=8),
            "bytes": st.binary(max_size=40),
            "boolean": st.booleans(),
        }
        return simple[kind] if kind in simple else values(types[kind], types)
    match kind["type"]:
        case "record":
            types[kind["name"]] = kind
            return st.fixed_dictionaries({field["name"]: values(field["type"], types) for field in kind["fields"]})
        case "array":
            return st.lists(values(kind["items"], types), max_size=60 if kind["items"] == "long" else 3)
        case "map":
            return st.dictionaries(st.text(max_size=4), values(kind["values"], types), max_size=3)
    raise AssertionError(kind)


def written(name: str, fields: dict[str, Any]) -> bytes:
    """A record's bytes by fastavro alone."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMAS[name]), fields)
    return MARKER + fingerprint(SCHEMAS[name]) + out.getvalue()


@pytest.mark.parametrize("name", sorted(SCHEMAS))
@settings(max_examples=15)
@given(data=st.data())
def test_a_look_tells_what_decoding_tells(name: str, data: st.DataObject) -> None:
    """Kind, place and every wanted field are those that were written; bytes cut before the last of them are refused."""
    fields = data.draw(values(SCHEMAS[name], {}))
    payload = written(name, fields)
    seen = skim(payload)
    assert place_in(payload) == (seen.kind, seen.slot, seen.subject)
    assert {key: value for key, value in fields.items() if key in FIELDS_READ and value != []} == {
        key: value for key, value in seen.fields.items() if value != []
    }
    if not seen.fields:
        return
    last = max(number for number, field in enumerate(SCHEMAS[name]["fields"]) if field["name"] in seen.fields)
    short = {**SCHEMAS[name], "fields": SCHEMAS[name]["fields"][: last + 1]}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(short), fields)
    with pytest.raises(DamagedError, match="entry: "):
        skim(payload[: data.draw(st.integers(0, 9 + len(out.getvalue())))])


@settings(max_examples=200)
@given(st.data())
def test_flipped_bytes_are_a_value_or_damage(data: st.DataObject) -> None:
    """Whatever is flipped, a look ends at once: with a record, or by saying that it is damaged."""
    name = data.draw(st.sampled_from(sorted(SCHEMAS)))
    payload = bytearray(written(name, data.draw(values(SCHEMAS[name], {}))))
    payload[data.draw(st.integers(10, len(payload) - 1)) if len(payload) > 10 else 0] ^= data.draw(st.integers(1, 255))
    with suppress(DamagedError):
        assert SCHEMAS[name]["name"] == skim(bytes(payload)).kind


def test_blocks_with_a_size_are_read() -> None:
    """Other writers may put a block's size before it, after a negative count (Avro 1.12, "Arrays")."""
    payload = encode(CountTable(measure="pickups", slots=(), cells=(1,) * 40, counts=()))
    assert payload[10:].hex().startswith("0e7069636b7570730050")
    sized = payload[:19] + bytes.fromhex("4f50") + payload[20:]
    assert ("CountTable", "pickups") == (skim(sized).kind, skim(sized).subject)


def test_a_large_slot_names_its_blob() -> None:
    """Thousands of counts are passed over to find what stands behind them."""
    table = CountTable(measure="pickups", slots=(4_667_000, *[0] * 3_000), cells=tuple(range(3_001)), counts=(300,) * 3_001)
    closed = SlotClosed(
        region="nyc",
        slot=4_667_000,
        status="observed",
        partitions=(),
        counts=(table,),
        corrections=(),
        counts_blob=b"d" * 32,
        control_size=7,
        control_root=b"r" * 32,
    )
    assert (4_667_000, b"d" * 32) == (skim(encode(closed)).slot, skim(encode(closed)).fields["counts_blob"])
