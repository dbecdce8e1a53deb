"""Records of every released version: their bytes do not move, and old ones are read as new ones by pure steps."""

import copy
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings, strategies as st

from schemas.records.record_codec import VERSIONS, decode, encode, kind_of, place_in, place_of, schema_of
from schemas.records.records import BLOB_RECORDS, RECORDS, RegionBootstrapped
from schemas.records.upcasters import UPCASTERS
from tests.schemas.record_golden import FILE, encoded, golden, released_records

GOLDEN: dict[str, dict[str, Any]] = json.loads(FILE.read_text("utf-8"))
RELEASED = released_records()
KINDS: tuple[Any, ...] = (*RECORDS, *BLOB_RECORDS)
LONGS = st.integers(-(2**63), 2**63 - 1)


def values(kind: Any, types: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Every value of an Avro type."""
    if isinstance(kind, str):
        simple = {"long": LONGS, "string": st.text(max_size=20), "bytes": st.binary(max_size=40), "boolean": st.booleans()}
        return simple[kind] if kind in simple else values(types[kind], types)
    match kind["type"]:
        case "record":
            types[kind["name"]] = kind
            return st.fixed_dictionaries({field["name"]: values(field["type"], types) for field in kind["fields"]})
        case "array":
            return st.lists(values(kind["items"], types), max_size=3)
        case "map":
            return st.dictionaries(st.text(max_size=8), values(kind["values"], types), max_size=3)
    raise AssertionError(f"no values for {kind}")


FIELDS = {name: values(schema, {}) for name, schema in RELEASED.items()}


@pytest.mark.parametrize("name", sorted({*GOLDEN, *RELEASED}))
def test_a_version_is_what_was_released(name: str) -> None:
    """A released schema, its bytes and what they mean today are as the golden file has them."""
    assert GOLDEN.get(name) == golden().get(name)


def test_each_record_has_its_current_version_on_file() -> None:
    """The dataclass of every record is the schema of its highest released version."""
    for cls in KINDS:
        version = VERSIONS.get(cls.__name__, 1)
        assert RELEASED[f"{cls.__name__}.v{version}"] == schema_of(cls)
        assert f"{cls.__name__}.v{version + 1}" not in RELEASED


def test_each_old_version_has_its_step() -> None:
    """There is exactly one upcaster for every version that is not the current one."""
    old = {(name, version) for name, current in VERSIONS.items() for version in range(1, current)}
    assert old == set(UPCASTERS)


@pytest.mark.parametrize("step", sorted(UPCASTERS))
@given(data=st.data())
def test_an_upcaster_gives_the_next_version_and_changes_nothing(step: tuple[str, int], data: st.DataObject) -> None:
    """What comes out is exactly a record of the next version, the same every time, and what went in is untouched."""
    name, version = step
    fields = data.draw(FIELDS[f"{name}.v{version}"])
    kept = copy.deepcopy(fields)
    lifted = UPCASTERS[step](fields)
    assert kept == fields
    assert lifted == UPCASTERS[step](kept)
    target = RELEASED[f"{name}.v{version + 1}"]
    assert {field["name"] for field in target["fields"]} == set(lifted)
    assert fastavro.validate(lifted, fastavro.parse_schema(target), strict=True)


@pytest.mark.parametrize("name", sorted(RELEASED))
@settings(max_examples=20)  # of each version; there are many
@given(data=st.data())
def test_a_record_of_any_version_survives_being_written_again(name: str, data: st.DataObject) -> None:
    """Read, written as the current version and read again, a record says the same, under the same kind and place."""
    payload = encoded(RELEASED[name], data.draw(FIELDS[name]))
    record = decode(payload)
    again = encode(record)
    assert record == decode(again)
    assert (kind_of(payload), *place_of(record)) == place_in(payload) == place_in(again)


def test_a_region_of_the_first_version_follows_the_first_fold() -> None:
    """A bootstrap that was recorded before folds had versions reads as version 1."""
    old = encoded(RELEASED["RegionBootstrapped.v1"], {**GOLDEN_FIELDS, "files": []})
    assert RegionBootstrapped(
        region="nyc",
        definition="{}",
        until="2014-05-01",
        first_slot=7,
        start_slot=9,
        rides=3,
        counts_blob=b"",
        files=(),
        dedup_horizon_events=1_000,
        skew_s=300,
        fold_version=1,
    ) == decode(old)


GOLDEN_FIELDS = {
    "region": "nyc",
    "definition": "{}",
    "until": "2014-05-01",
    "first_slot": 7,
    "start_slot": 9,
    "rides": 3,
    "counts_blob": b"",
    "dedup_horizon_events": 1_000,
    "skew_s": 300,
}
