"""What is said about a rejected event: the mistake that a producer most likely made, and the details of the rule."""

import gzip
import json
import struct

import pytest

from schemas.encoding.avro_files import head
from schemas.events.codec import encode_event
from schemas.events.rides import NO_TIME, Reason, Rejected
from schemas.regions import load_region
from state.counting.explain import explain
from state.counting.guess import guess, guess_region

NYC, TEHRAN = load_region("nyc"), load_region("tehran")
NOON_US = 1_396_353_600_000_000  # 2014-04-01 12:00 UTC
FIELDS: dict[str, object] = {
    "event_id": "e-1",
    "ride_id": "r-1",
    "kind": "started",
    "occurred_at": NOON_US,
    "region": "nyc",
    "lat": 40.7527,
    "lon": -73.9772,
    "rider_id": "rider-1",
}


def event(**changes: object) -> bytes:
    """A good event of New York, with some fields changed."""
    return encode_event(FIELDS | changes)


def reject(reason: Reason, value: bytes, logged_at_us: int = NO_TIME) -> Rejected:
    """A rejected event."""
    return Rejected(2, 17, logged_at_us, reason, value)


GOOD = event()
BODY = GOOD[10:]
SAID = json.dumps(FIELDS).encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (SAID, "looks like JSON: encode events as Avro, see docs/producing.md"),
        (b"\xef\xbb\xbf " + SAID, "looks like JSON: encode events as Avro, see docs/producing.md"),
        (SAID[:-5], "looks like incomplete JSON"),
        (b"<event id='1'/>", "looks like XML"),
        (b"r-1,started,2014-04-01 12:00:00,40.75,-73.97", "looks like CSV"),
        (b"\x00\x00\x00\x00\x07" + BODY, "looks like Confluent framing (magic 0, schema id 7)"),
        (BODY, "looks like Avro without a header"),
        (b"Obj\x01" + BODY, "looks like a whole Avro file"),
        (b"PAR1" + BODY, "looks like a Parquet file"),
        (gzip.compress(GOOD, mtime=0), "looks like gzip"),
        (b"\x28\xb5\x2f\xfd" + GOOD, "looks like zstd"),
        (b"\x04\x22\x4d\x18" + GOOD, "looks like LZ4"),
        (head("demand_forecast.v1") + b"x", "the message is a demand_forecast.v1: expected ride_event.v1, is this the right topic?"),
        (b"\xc3\x01" + b"12345678" + BODY, "the message has another Avro schema (fingerprint 3132333435363738)"),
        (GOOD + b"\x00", "the header is right, but the body is not"),
        (b"", "the message is empty (a tombstone)"),
        (b"\xff\xfe\x80", ""),
        (b"hello", ""),
        (b"42", ""),
    ],
)
def test_bytes_that_are_no_event(value: bytes, expected: str) -> None:
    """The format of undecodable bytes is recognised, with what to do about it, and unknown bytes give no guess."""
    found = guess(reject(Reason.UNDECODABLE, value), [NYC])
    assert found.startswith(expected)
    assert bool(expected) is bool(found)


@pytest.mark.parametrize(
    ("reason", "changes", "expected"),
    [
        (
            Reason.TIME_OUT_OF_BOUNDS,
            {"occurred_at": NOON_US // 10**6},
            "timestamps look like seconds: 2014-04-01 12:00:00 UTC if multiplied by 1,000,000",
        ),
        (
            Reason.TIME_OUT_OF_BOUNDS,
            {"occurred_at": NOON_US // 1000},
            "timestamps look like milliseconds: 2014-04-01 12:00:00 UTC if multiplied by 1,000",
        ),
        (
            Reason.TIME_OUT_OF_BOUNDS,
            {"occurred_at": NOON_US * 1000},
            "timestamps look like nanoseconds: 2014-04-01 12:00:00 UTC if divided by 1,000",
        ),
        (Reason.TIME_OUT_OF_BOUNDS, {"occurred_at": 0}, "the time is missing: 0 is 1970"),
        (Reason.TIME_OUT_OF_BOUNDS, {"occurred_at": -(2**62)}, ""),
        (Reason.UNKNOWN_REGION, {"region": "NYC"}, "looks like a misspelling of 'nyc'"),
        (Reason.UNKNOWN_REGION, {"region": ""}, "region is empty"),
        (Reason.UNKNOWN_REGION, {"region": "New York City"}, ""),
        (Reason.OUTSIDE_REGION, {"lat": -73.9772, "lon": 40.7527}, "coordinates look swapped"),
        (Reason.OUTSIDE_REGION, {"lon": 73.9772}, "a coordinate has the wrong sign"),
        (Reason.OUTSIDE_REGION, {"lat": 407527000.0, "lon": -739772000.0}, "coordinates look like 1e-7 degrees"),
        (Reason.OUTSIDE_REGION, {"lat": 0.71127, "lon": -1.29115}, "coordinates look like radians"),
        (Reason.OUTSIDE_REGION, {"lat": 0.0, "lon": 0.0}, "coordinates are 0, 0"),
        (Reason.OUTSIDE_REGION, {"lat": float("nan")}, "coordinates are not numbers"),
        (Reason.OUTSIDE_REGION, {"lat": 35.7, "lon": 51.4}, "the place is in region tehran: set region to tehran"),
        (Reason.OUTSIDE_REGION, {"lat": 48.86, "lon": 2.35}, ""),
        (Reason.BAD_ID, {"event_id": ""}, "event_id is required"),
        (Reason.BAD_ID, {"event_id": "x" * 65}, "shorten event_id"),
        (Reason.BAD_FARE, {"fare": -1.0}, "send null for an unknown fare"),
    ],
)
def test_events_that_break_a_rule(reason: Reason, changes: dict[str, object], expected: str) -> None:
    """The likely mistake behind each broken rule is named, and there is no guess where none fits."""
    found = guess(reject(reason, event(**changes)), [NYC], [TEHRAN])
    assert found.startswith(expected)
    assert bool(expected) is bool(found)


@pytest.mark.parametrize(
    ("ahead_s", "expected"),
    [
        (7_200, "looks like local time of UTC+2:00 written as UTC"),
        (12_540, "looks like local time of UTC+3:30 written as UTC"),
        (900, "the producer's clock is ahead"),
        (100_000, "the producer's clock is ahead"),
        (4_000, "the producer's clock is ahead"),
    ],
)
def test_clocks_and_zones(ahead_s: int, expected: str) -> None:
    """A time that is ahead by a zone's offset is told from a wrong clock."""
    one = reject(Reason.AHEAD_OF_LOG, event(occurred_at=NOON_US + ahead_s * 1_000_000), NOON_US)
    assert guess(one, [NYC]).startswith(expected)


def test_a_region_of_another_run_is_named() -> None:
    """A region that exists but is not counted is told from a misspelt one."""
    assert guess_region("tehran", [NYC], [TEHRAN]) == "region tehran is not part of this run: run with --region tehran to forecast it"
    assert guess_region("nyk", [NYC], [TEHRAN]).startswith("looks like a misspelling of 'nyc'")
    assert guess_region("paris", [NYC], [TEHRAN]) == ""


@pytest.mark.parametrize(
    ("reason", "changes", "expected"),
    [
        (
            Reason.UNKNOWN_REGION,
            {"region": "New York"},
            "expected region nyc, got 'New York' (started, region 'New York', at 40.7527, -73.9772, ",
        ),
        (
            Reason.OUTSIDE_REGION,
            {"lat": 0.5},
            "0.5, -73.9772 is outside region nyc, which spans lat 39.5 to 42.2, lon -75 to -72 (started, ",
        ),
        (
            Reason.TIME_OUT_OF_BOUNDS,
            {"occurred_at": 7},
            "expected occurred_at from 2000 to 2100 in microseconds since 1970, got 7, which is 1970-01-01 00:00:00 UTC (started, ",
        ),
        (
            Reason.AHEAD_OF_LOG,
            {"occurred_at": NOON_US + 10**9},
            "occurred_at is 1,000 s ahead of the log time 2014-04-01 12:00:00 UTC, expected at most 300 s (started, ",
        ),
        (Reason.BAD_ID, {"event_id": ""}, "expected an event_id of 1 to 64 bytes, got 0 (started, "),
        (Reason.BAD_FARE, {"fare": -2.5}, "expected a fare >= 0 or none, got -2.5 (started, "),
    ],
)
def test_details_name_rule_value_and_place(reason: Reason, changes: dict[str, object], expected: str) -> None:
    """A detail says what was expected and found, with region, coordinates, time and size, and quotes no id."""
    value = event(**changes)
    detail = explain(reject(reason, value, NOON_US), [NYC], 300)
    assert detail.startswith(expected)
    assert detail.endswith(f"UTC, {len(value)} bytes)")
    assert "rider-1" not in detail
    assert "r-1" not in detail


def test_a_coarse_detail_is_no_place() -> None:
    """What goes to logs has coordinates of about a kilometre, and of undecodable bytes only as many as a frame has."""
    coarse = explain(reject(Reason.BAD_FARE, event(fare=-1.0)), [NYC], 300, coarse=True)
    assert "at 40.75, -73.98," in coarse
    assert explain(reject(Reason.UNDECODABLE, SAID), [NYC], 300, coarse=True) == f"first bytes {SAID[:5].hex()}, {len(SAID)} bytes"
    assert explain(reject(Reason.UNDECODABLE, b""), [NYC], 300, coarse=True) == "expected a frame of ride_event.v1, got no bytes (0 bytes)"


def test_absurd_times_and_places_are_still_described() -> None:
    """Times beyond any calendar and coordinates beyond any map end in words, never in an error."""
    for at_us in (2**63 - 1, -(2**63), 10**19 - 2**63):
        assert guess(reject(Reason.TIME_OUT_OF_BOUNDS, event(occurred_at=at_us)), [NYC]) == ""
        assert str(at_us) in explain(reject(Reason.TIME_OUT_OF_BOUNDS, event(occurred_at=at_us)), [NYC], 300)
    for lat in (float("inf"), 1e308, struct.unpack("<d", b"\xff" * 8)[0]):
        assert "outside region nyc" in explain(reject(Reason.OUTSIDE_REGION, event(lat=lat)), [NYC], 300)
        assert isinstance(guess(reject(Reason.OUTSIDE_REGION, event(lat=lat)), [NYC]), str)
