"""Which changes of a schema are safe for whom; what the check allows, fastavro can do."""

import copy
import io
from typing import Any

import fastavro
import pytest
from hypothesis import assume, given, settings, strategies as st

from schemas.encoding.avro_files import plain_parsed, released, without_logical_types
from schemas.encoding.evolution import Compatibility, check, difference, judge
from schemas.events.codec import RideFields
from tests.schemas.rides import ride_fields

AvroSchema = Any
RIDE_EVENT = released("ride_event.v1")


def changed(which: str, /, **changes: object) -> AvroSchema:
    """Our ride event with one field changed; None removes a key."""
    schema = copy.deepcopy(RIDE_EVENT)
    field = next(field for field in schema["fields"] if field["name"] == which)
    field.update(changes)
    for key in [key for key, value in changes.items() if value is None]:
        del field[key]
    return schema


def without(name: str) -> AvroSchema:
    """Our ride event without a field."""
    return {**RIDE_EVENT, "fields": [field for field in RIDE_EVENT["fields"] if field["name"] != name]}


def plus(**field: object) -> AvroSchema:
    """Our ride event with one field more."""
    return {**RIDE_EVENT, "fields": [*RIDE_EVENT["fields"], field]}


def kind(*symbols: str, **more: object) -> AvroSchema:
    """Our ride event with other kinds."""
    return changed("kind", type={"type": "enum", "name": "RideKind", "symbols": list(symbols), **more})


SYMBOLS = RIDE_EVENT["fields"][2]["type"]["symbols"]
DEFAULTED = plus(name="surge", type="double", default=1.0)
OPTIONAL = plus(name="surge", type=["null", "double"], default=None)
REQUIRED = plus(name="surge", type="double")

ABSENT = "the writer has no such field and the reader no default"
UNKNOWN = "are unknown and the reader has no default"
MICROS = "long (timestamp-micros)"

# change, why the new cannot read the old, why the old cannot read the new
CASES: list[tuple[str, AvroSchema, tuple[str, ...], tuple[str, ...]]] = [
    ("nothing", copy.deepcopy(RIDE_EVENT), (), ()),
    ("an optional field more", OPTIONAL, (), ()),
    ("a required field more", REQUIRED, (f"surge: {ABSENT}",), ()),
    ("an optional field less", without("fare"), (), ()),
    ("a required field less", without("lat"), (), (f"lat: {ABSENT}",)),
    ("a field renamed, with an alias", changed("ride_id", name="trip_id", aliases=["ride_id"]), (), (f"ride_id: {ABSENT}",)),
    ("one type more", changed("lat", type=["double", "string"]), (), ("lat: expected double, writer has string",)),
    ("a narrower number", changed("lat", type="float"), ("lat: expected float, writer has double",), ()),
    (
        "a time without its unit",
        changed("occurred_at", type="long"),
        (f"occurred_at: expected long, writer has {MICROS}",),
        (f"occurred_at: expected {MICROS}, writer has long",),
    ),
    ("a kind more", kind(*SYMBOLS, "paused"), (), (f"kind: writer's symbols paused {UNKNOWN}",)),
    ("a kind less", kind(*SYMBOLS[:-1]), (f"kind: writer's symbols unserved {UNKNOWN}",), ()),
    ("a kind less, with a default", kind(*SYMBOLS[:-1], default="requested"), (), ()),
    (
        "a person without its mark",
        changed("rider_id", pii=None),
        ("rider_id: the writer marks it as personal (pii), the reader does not",),
        (),
    ),
    (
        "another record",
        {**RIDE_EVENT, "name": "Trip"},
        ("expected record Trip, writer has RideEvent",),
        ("expected record RideEvent, writer has Trip",),
    ),
    ("another namespace", {**RIDE_EVENT, "namespace": "ridecast.v2"}, (), ()),
    ("null no more", changed("fare", type="double", default=0.0), ("fare: expected double, writer has null",), ()),
]


@pytest.mark.parametrize(("new", "backward", "forward"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_change_is_judged_in_both_directions(new: AvroSchema, backward: tuple[str, ...], forward: tuple[str, ...]) -> None:
    """Each problem names the field, what was expected and what the writer has."""
    assert backward == check(reader=new, writer=RIDE_EVENT)
    assert forward == check(reader=RIDE_EVENT, writer=new)


@given(st.sampled_from(CASES), st.sampled_from(CASES), ride_fields)
@settings(deadline=None, max_examples=300)
def test_what_the_check_allows_fastavro_reads(writes: tuple[str, AvroSchema], reads: tuple[str, AvroSchema], fields: RideFields) -> None:
    """If nothing stands against it, what the writer wrote is read, whatever the event."""
    writer, reader = (fastavro.parse_schema(without_logical_types(schema)) for schema in (writes[1], reads[1]))
    values = {**fields, "surge": 1.5, "trip_id": fields["ride_id"]}
    assume(not check(reader=reads[1], writer=writes[1]) and fastavro.validate(values, writer, raise_errors=False))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, writer, values)
    out.seek(0)
    read = fastavro.schemaless_reader(out, writer, reader)
    assert isinstance(read, dict)
    assert values["event_id"] == read["event_id"]


@pytest.mark.parametrize(
    ("mode", "problems"),
    [
        (Compatibility.BACKWARD, 0),
        (Compatibility.FORWARD, 0),
        (Compatibility.FULL, 0),
        (Compatibility.BACKWARD_TRANSITIVE, 1),
        (Compatibility.FORWARD_TRANSITIVE, 0),
        (Compatibility.FULL_TRANSITIVE, 1),
    ],
)
def test_only_the_transitive_modes_look_further_back(mode: Compatibility, problems: int) -> None:
    """A field that became optional and then required suits the last version, not the first."""
    found = judge(REQUIRED, [RIDE_EVENT, DEFAULTED], mode)
    assert problems == len(found)
    assert all("new reads v1: surge: the writer has no such field" in problem for problem in found)


@pytest.mark.parametrize(
    ("mode", "who"), [(Compatibility.BACKWARD, ["new reads v2"]), (Compatibility.FORWARD, []), (Compatibility.FULL, ["new reads v2"])]
)
def test_a_mode_says_who_reads_whom(mode: Compatibility, who: list[str]) -> None:
    """A required field more hurts only those who must read the old with the new."""
    assert who == [problem.split(":")[0] for problem in judge(REQUIRED, [DEFAULTED, RIDE_EVENT], mode)]


def test_without_history_everything_may_be_released() -> None:
    """The first version has nobody to disappoint."""
    assert judge(RIDE_EVENT, [], Compatibility.FULL_TRANSITIVE) == ()


def test_a_difference_reads_like_a_diff() -> None:
    """Lines for what went, changed and came; types in words, defaults and marks included."""
    new = changed("rider_id", pii=None)
    new["fields"] = [field for field in new["fields"] if field["name"] != "fare"] + [{"name": "surge", "type": "float", "default": 1.0}]
    assert difference(RIDE_EVENT, new) == (
        "- fare: null | double = None",
        "~ rider_id: null | string = None, pii -> null | string = None",
        "+ surge: float = 1.0",
    )


@pytest.mark.parametrize(
    ("reader", "writer", "problems"),
    [
        ({"type": "array", "items": "long"}, {"type": "array", "items": "int"}, ()),
        ({"type": "array", "items": "int"}, {"type": "array", "items": "long"}, ("[]: expected int, writer has long",)),
        ({"type": "map", "values": "int"}, {"type": "map", "values": "string"}, ("[]: expected int, writer has string",)),
        ({"type": "array", "items": "int"}, {"type": "map", "values": "int"}, ("expected array of int, writer has map of int",)),
        (["null", "int"], "string", ("expected one of null | int, writer has string",)),
        (
            {"type": "fixed", "name": "Digest", "size": 32},
            {"type": "fixed", "name": "Digest", "size": 16},
            ("expected 32 bytes, writer has 16",),
        ),
        ("bytes", "string", ()),
        ("double", {"type": "long", "logicalType": "timestamp-micros"}, ("expected double, writer has long (timestamp-micros)",)),
        ({"type": {"type": "array", "items": "long"}}, {"type": "array", "items": {"type": "int"}}, ()),
    ],
)
def test_types_inside_types_are_compared(reader: AvroSchema, writer: AvroSchema, problems: tuple[str, ...]) -> None:
    """Arrays, maps, unions, fixed and promotions follow Avro's rules."""
    assert problems == check(reader=reader, writer=writer)


def test_a_record_that_holds_itself_is_compared_once() -> None:
    """Recursion ends; a change inside it is found."""
    tree = {"type": "record", "name": "Tree", "fields": [{"name": "size", "type": "int"}, {"name": "child", "type": ["null", "Tree"]}]}
    wide = {"type": "record", "name": "Tree", "fields": [{"name": "size", "type": "long"}, {"name": "child", "type": ["null", "Tree"]}]}
    assert check(reader=wide, writer=tree) == ()
    assert check(reader=tree, writer=wide) == ("size: expected int, writer has long",)


@pytest.mark.parametrize(
    "name",
    [
        "ride_event.v1",
        "forecast_chunk.v1",
        "demand_forecast.v1",
        "reject.v1",
        "reject.v2",
        "reject.v3",
        "ride_log_entry.v1",
        "driver_state.v1",
        "publish_cursor.v1",
        "publish_cursor.v2",
        "publish_cursor.v3",
    ],
)
def test_every_released_schema_reads_itself(name: str) -> None:
    """A schema is compatible with itself in every mode, and fastavro accepts it."""
    assert plain_parsed(name)
    for mode in Compatibility:
        assert judge(released(name), [released(name)], mode) == ()
