"""Ride events as bytes: the fast path says exactly what the slow one says."""

import json
import math
import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.encoding.avro_files import head, released
from schemas.errors import ConfigError, ContractError
from schemas.events.avro_columns import MAX_ID_BYTES, hash_id, read_columns
from schemas.events.codec import BLOCK_ROWS, Decoder, Registry, decode_slow, encode_event, encode_events, event_columns_reference
from schemas.events.measures import KINDS
from schemas.events.ride_columns import WIDEST_TEXT, EventColumns, RideFields
from schemas.events.rides import NO_TIME, Reason
from tests.schemas.rides import BASE_US, REGIONS, assert_same, damaged, raw_batch, ride, ride_columns, ride_fields


def body(value: bytes) -> bytes:
    """A value without its single-object head."""
    return value[len(head("ride_event.v1")) :]


def both(values: list[bytes], registry: Registry | None = None) -> tuple[list[int], list[int]]:
    """Offsets that were accepted and rejected, after both decoders agreed on every column."""
    raw = raw_batch(values)
    given_registry = registry or Registry()
    expected = event_columns_reference(raw, REGIONS, given_registry)
    assert_same(expected, Decoder(REGIONS, given_registry).decode(raw))
    accepted, rejected = expected[0].offset.tolist(), [reject.offset for reject in expected[1]]
    assert sorted(accepted + rejected) == raw.offsets.tolist()
    return accepted, rejected


def bits(fields: RideFields) -> list[object]:
    """Fields in a form in which a NaN equals itself."""
    return [struct.pack("<d", value) if isinstance(value, float) else value for _, value in sorted(fields.items())]


@given(ride_fields)
def test_decoding_undoes_encoding(fields: RideFields) -> None:
    """Every event that can be written is read back exactly."""
    decoded = decode_slow(encode_event(fields))
    assert isinstance(decoded, dict)
    assert bits(fields) == bits(decoded)


@given(st.lists(ride_fields, max_size=12))
@settings(deadline=None)
def test_fast_decoder_equals_the_slow_one_on_any_events(rows: list[RideFields]) -> None:
    """Absurd but well-formed events are accepted by both decoders, with equal columns."""
    accepted, _ = both([encode_event(fields) for fields in rows])
    assert len(rows) == len(accepted)


@given(st.lists(ride_fields.map(encode_event).flatmap(damaged), max_size=12))
@settings(deadline=None, max_examples=300)
def test_fast_decoder_equals_the_slow_one_on_damaged_events(values: list[bytes]) -> None:
    """Damage is accepted or rejected by both alike, and every event is in exactly one of the two answers."""
    both(values)


@given(
    st.lists(st.sampled_from([ride(), ride(event_id="é"), ride(logged_at=None, fare=None)]).map(encode_event).flatmap(damaged), max_size=6)
)
@settings(deadline=None)
def test_acceptance_does_not_depend_on_neighbours(values: list[bytes]) -> None:
    """A value alone in its batch fares as it does among others."""
    together, _ = both(values)
    alone = [100 + 2 * row for row, value in enumerate(values) if both([value])[0]]
    assert alone == together


@pytest.mark.parametrize(
    "fields",
    [
        ride(),
        ride(event_id="a" * 57, dropoff_lat=40.7, dropoff_lon=-74.0, driver_id="d"),
        ride(logged_at=None, rider_id=None, vehicle_class=None, fare=None),
        ride(event_id="é1", region="tehran", rider_id="ñ"),
    ],
)
def test_every_single_wound_of_an_event_is_judged_alike(fields: RideFields) -> None:
    """Each bit flipped, each byte dropped, stretched or repeated, each length cut: both decoders agree."""
    value = encode_event(fields)
    wounds = [value[:at] + bytes([value[at] ^ 1 << bit]) + value[at + 1 :] for at in range(len(value)) for bit in range(8)]
    for at in range(len(value)):
        wounds += [value[:at], value[:at] + value[at + 1 :], value[: at + 1] + value[at:]]
        wounds.append(value[:at] + bytes([value[at] | 0x80, 0]) + value[at + 1 :])
    accepted, rejected = both([value, *wounds, value])
    assert {100, 100 + 2 * (len(wounds) + 1)} <= set(accepted)
    assert len(rejected) > len(value)


@pytest.mark.parametrize("size_bytes", [0, 1, 7, 8, 9, 55, 56, 57, 58, 63, 64, 65, 200])
def test_an_id_of_any_length_has_one_hash(size_bytes: int) -> None:
    """The fast path hashes an id as the plain function does; an empty one or one over 64 bytes is marked."""
    event_id = "".join(chr(97 + place % 26) for place in range(size_bytes))
    values = [encode_event(ride(event_id=event_id)), encode_event(ride())]
    both(values)
    batch, _ = Decoder(REGIONS).decode(raw_batch(values))
    assert hash_id(event_id.encode()) == int(batch.event_hash[0])
    assert [not 0 < size_bytes <= MAX_ID_BYTES, False] == batch.bad_id.tolist()


def test_ids_that_differ_only_in_zero_bytes_hash_apart() -> None:
    """Padding to whole words does not make different ids equal."""
    ids = [b"", *(b"\x00" * size for size in range(1, 20)), b"a", b"a\x00", b"a" + b"\x00" * 8]
    assert len(ids) == len({hash_id(data) for data in ids})


@pytest.mark.parametrize(
    ("fare", "bad"),
    [(None, False), (0.0, False), (-0.0, False), (1e9, False), (-0.01, True), (math.nan, True), (math.inf, True), (-math.inf, True)],
)
def test_a_fare_that_is_no_amount_is_marked(fare: float | None, bad: bool) -> None:
    """Negative, infinite and undefined fares are marked for intake; the event still decodes."""
    both([encode_event(ride(fare=fare))])
    batch, _ = Decoder(REGIONS).decode(raw_batch([encode_event(ride(fare=fare))]))
    assert [bad] == batch.bad_fare.tolist()


@pytest.mark.parametrize(
    ("log_us", "event_us", "expected_us"),
    [(5, BASE_US + 1, 5), (NO_TIME, BASE_US + 1, BASE_US + 1), (NO_TIME, None, BASE_US), (7, None, 7)],
)
def test_the_log_knows_best_when_an_event_was_logged(log_us: int, event_us: int | None, expected_us: int) -> None:
    """The log's own time counts before the event's field, and that before the time of occurrence."""
    batch, _ = Decoder(REGIONS).decode(raw_batch([encode_event(ride(logged_at=event_us))], log_us))
    assert [expected_us] == batch.logged_at_us.tolist()


@pytest.mark.parametrize(
    ("region", "index"),
    [
        ("nyc", 0),
        ("tehran", 1),
        ("ny", -1),
        ("nycx", -1),
        ("tehran-south-east", -1),
        ("a" * 32, -1),
        ("z_9-", -1),
        ("", -2),
        ("NYC", -2),
        ("9th", -2),
        ("-", -2),
        ("new york", -2),
        ("a" * 33, -2),
        ("a" * 63, -2),
        ("a" * 70, -2),
        ("téhéran", -2),
    ],
)
def test_a_region_is_its_position_among_those_known(region: str, index: int) -> None:
    """Names are compared whole; another id of a region is -1, and what cannot be an id is -2."""
    batch, _ = Decoder(REGIONS).decode(raw_batch([encode_event(ride(region=region))]))
    assert [index] == batch.region.tolist()


def test_regions_with_long_names_that_begin_alike_are_told_apart() -> None:
    """A name longer than a machine word is compared to its end."""
    regions = ("greater-london-a", "greater-london-b", "greater-london-a2")
    values = [encode_event(ride(region=region)) for region in (*regions, "greater-london-c")]
    batch, _ = Decoder(regions).decode(raw_batch(values))
    assert batch.region.tolist() == [0, 1, 2, -1]


def test_any_bits_of_a_number_come_through() -> None:
    """A signalling NaN and its payload are kept by both paths, so neither rejects what the other accepts."""
    value = encode_event(ride(lat=1.5))
    odd = value.replace(struct.pack("<d", 1.5), bytes.fromhex("010000000000f07f"))
    assert both([odd]) == ([100], [])


def test_realistic_events_take_the_fast_path() -> None:
    """Nothing that a normal producer writes needs the slow decoder: all kinds, any alphabet, ids up to 63 bytes."""
    values = [*encode_events(ride_columns(500, 1)), encode_event(ride(event_id="تهران" * 6, vehicle_class="x" * 63))]
    assert read_columns(values, (head("ride_event.v1"),), (b"tehran",)).ok.all()
    assert both(values)[1] == []


@pytest.mark.parametrize("text", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82", b"\xf4\x90\x80\x80", b"a" * 60 + b"\x80"])
@pytest.mark.parametrize("name", ["event_id", "ride_id", "region", "rider_id", "driver_id", "vehicle_class"])
def test_a_text_that_is_not_utf8_is_rejected(name: str, text: bytes) -> None:
    """Overlong forms, surrogates, lone and missing bytes are refused in every field, a person's included."""
    fine = encode_event(ride(**{name: "z" * len(text)}))
    assert both([fine, fine.replace(b"z" * len(text), text)]) == ([100], [102])


@pytest.mark.parametrize("value", [b"", b"\x00", b"\xc3\x01", b"{}", b"\x00\x00\x00\x00\x07abc", b"\xc3\x01" + b"\x00" * 300])
def test_what_is_no_event_is_rejected_with_its_bytes(value: bytes) -> None:
    """A reject says where it lay and why, and keeps the original bytes."""
    batch, rejects = Decoder(REGIONS).decode(raw_batch([value], 9))
    assert len(batch) == 0
    assert [(3, 100, 9, Reason.UNDECODABLE, value)] == [(r.partition, r.offset, r.logged_at_us, r.reason, r.value) for r in rejects]
    assert rejects[0].detail


def test_details_of_rejects_are_the_same_in_every_run() -> None:
    """A reason holds no address in memory, which would make two ledgers differ."""
    value = encode_event(ride())[:60]
    assert decode_slow(value) == "does not decode: EOFError at byte 60"


def test_an_empty_batch_decodes_to_nothing() -> None:
    """No events, no columns, no rejects."""
    assert both([]) == ([], [])


# --- writing --------------------------------------------------------------------------------------


@given(st.integers(0, 30), st.integers(0, 5), st.booleans())
@settings(deadline=None)
def test_columns_become_the_same_bytes_as_rows(n: int, seed: int, full: bool) -> None:
    """The fast writer gives what `encode_event` gives, row by row."""
    columns = ride_columns(n, seed, full=full)
    assert [encode_event(fields) for fields in columns.rows()] == encode_events(columns)


def test_columns_of_uneven_texts_and_times_become_the_same_bytes() -> None:
    """Texts of any length and alphabet, empty optional columns and times of any size are written exactly."""
    texts = ["", "a", "é" * 40, "b" * 64, "c\x00", "d" * WIDEST_TEXT]
    columns = EventColumns(
        event_id=texts,
        ride_id=texts[::-1],
        kind=np.arange(6).astype(np.uint8),
        occurred_at_us=np.array([0, -1, 63, 64, BASE_US, 2**62]),
        region="nyc",
        lat=np.array([0.0, -0.0, math.inf, math.nan, 1e-300, 90.0]),
        lon=np.zeros(6),
        rider_id=[None] * 6,
        fare=np.full(6, np.nan),
    )
    assert [encode_event(fields) for fields in columns.rows()] == encode_events(columns)
    longer = EventColumns(["x" * (WIDEST_TEXT + 1)], ["r"], np.zeros(1, np.uint8), np.zeros(1, np.int64), "nyc", np.zeros(1), np.zeros(1))
    assert [encode_event(fields) for fields in longer.rows()] == encode_events(longer)


def test_more_rows_than_one_block_are_written_in_order() -> None:
    """Blocks are joined without a seam, and a text too wide for one slows only its own block."""
    columns = ride_columns(BLOCK_ROWS + 3, 5)
    columns.ride_id[-1] = "x" * (WIDEST_TEXT + 1)
    assert [encode_event(fields) for fields in columns.rows()] == encode_events(columns)


def test_columns_must_fit_together() -> None:
    """A column of another length, or a kind that does not exist, is our own mistake."""
    with pytest.raises(ContractError, match="ride_id: expected 1 rows, got 0"):
        EventColumns(["a"], [], np.zeros(1, np.uint8), np.zeros(1, np.int64), "nyc", np.zeros(1), np.zeros(1))
    wrong = EventColumns(["a"], ["b"], np.array([6], np.uint8), np.zeros(1, np.int64), "nyc", np.zeros(1), np.zeros(1))
    with pytest.raises(ContractError, match="expected an index below 6, got 6"):
        encode_events(wrong)


@pytest.mark.parametrize("change", [{"kind": "flying"}, {"lat": "north"}, {"event_id": None}, {"occurred_at": 2**63}])
def test_an_event_of_wrong_types_cannot_be_written(change: RideFields) -> None:
    """A wrong value is refused before it reaches a log."""
    with pytest.raises(ContractError, match="expected the fields of ride_event"):
        encode_event(ride(**change))


# --- schemas ----------------------------------------------------------------------------------------


def test_the_schema_names_the_kinds_in_order_and_marks_persons() -> None:
    """An enum's index is a kind's position, and exactly the two persons of a ride are marked."""
    fields = {field["name"]: field for field in released("ride_event.v1")["fields"]}
    assert [str(kind) for kind in KINDS] == fields["kind"]["type"]["symbols"]
    assert {"rider_id", "driver_id"} == {name for name, field in fields.items() if field.get("pii")}


def test_confluent_framing_is_read_when_a_registry_says_what_it_means() -> None:
    """Our own schema under a registry's id takes the fast path; an unknown id is rejected."""
    registry = Registry({258: released("ride_event.v1")})
    framed = b"\x00\x00\x00\x01\x02" + body(encode_event(ride()))
    unknown = b"\x00\x00\x00\x01\x03" + body(encode_event(ride()))
    assert both([framed, encode_event(ride()), unknown], registry) == ([100, 102], [104])
    assert both([framed]) == ([], [100])
    assert read_columns([framed], tuple(registry.heads), (b"nyc",)).ok.all()


def test_an_older_writer_is_lifted_to_our_version() -> None:
    """A producer without the optional fields, and with one that we do not know, is read by Avro's rules."""
    schema = json.loads(json.dumps(released("ride_event.v1")))
    schema["fields"] = [field for field in schema["fields"] if field["name"] not in ("fare", "vehicle_class")]
    schema["fields"].append({"name": "surge", "type": "boolean", "default": False})
    framed = b"\x00\x00\x00\x00\x09" + body(encode_event(ride()))[: -len(b"\x02\x06eco\x02") - 8] + b"\x01"
    registry = Registry({9: schema})
    assert both([framed], registry) == ([100], [])
    assert {**ride(), "fare": None, "vehicle_class": None} == decode_slow(framed, registry)


def test_a_registry_that_breaks_the_contract_is_refused_at_once() -> None:
    """A writer whose times are milliseconds cannot be read by mistake."""
    schema = json.loads(json.dumps(released("ride_event.v1")))
    schema["fields"][3]["type"]["logicalType"] = "timestamp-millis"
    with pytest.raises(
        ConfigError, match=r"schema id 7 .*occurred_at: expected long \(timestamp-micros\), writer has long \(timestamp-millis\)"
    ):
        Registry({7: schema})


@pytest.mark.long
def test_a_hundred_thousand_damaged_events_are_judged_alike() -> None:
    """Random wounds, many to a batch: both decoders agree, and every event is accepted or rejected."""
    seed = 20140501
    print(f"seed {seed}")
    rng = random.Random(seed)
    healthy = encode_events(ride_columns(1_000, 7))
    for _ in range(100):
        values = []
        for value in healthy:
            data = bytearray(value)
            for _ in range(rng.choice((0, 1, 1, 2, 3))):
                at = rng.randrange(len(data))
                match rng.randrange(5):
                    case 0:
                        data[at] = rng.randrange(256)
                    case 1:
                        data[at:] = data[at + 1 :] or b"\x00"
                    case 2:
                        data += rng.randbytes(rng.randrange(1, 4))
                    case _:
                        data[at] ^= 1 << rng.randrange(8)
            values.append(bytes(data))
        both(values)
