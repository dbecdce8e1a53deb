"""Validation of a producer's events: every format that a producer has, judged by the rules of intake."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

from dataflows.connectors.files.ridelog import RideLogWriter
from dataflows.jobs.validating import (
    Candidate,
    Complaint,
    Validation,
    candidates_in,
    candidates_of,
    problems_of,
    summary_of,
    validate_events,
)
from schemas.encoding.avro_files import released
from schemas.errors import UsageError
from schemas.events.codec import encode_event
from schemas.events.measures import RideKind
from schemas.events.rides import NO_TIME, Reason
from schemas.regions import load_region
from state.counting.intake import IntakeRules
from tests.simulation.world import Entry, make_world

NYC = load_region("nyc")
NOON_US = 1_396_353_600_000_000
SKEW_S = IntakeRules().skew_s
WHOLE = "occurred_at: expected whole microseconds since 1970, UTC, got"


def fields(number: int = 1, **changes: object) -> dict[str, Any]:
    """A good event of New York, with some fields changed."""
    event: dict[str, object] = {
        "event_id": f"e-{number}",
        "ride_id": f"r-{number}",
        "kind": "started",
        "occurred_at": NOON_US + number,
        "region": "nyc",
        "lat": 40.75,
        "lon": -73.98,
    }
    return event | changes


def judged(candidates: list[Candidate], now_us: int = NO_TIME) -> tuple[Validation, list[Complaint]]:
    """Totals and complaints."""
    found, complaints = validate_events(candidates, [NYC], SKEW_S, now_us)
    return found, list(complaints)


def container(records: list[dict[str, Any]], schema: Any, codec: str = "null") -> bytes:
    """An Avro file."""
    out = io.BytesIO()
    fastavro.writer(out, schema, records, codec=codec)
    return out.getvalue()


TIMED = [fields(n) | {"occurred_at": datetime.fromtimestamp(NOON_US / 1e6, UTC)} for n in (1, 2)]
ENTRIES = [{"logged_at": NOON_US + n, "key": b"k", "value": encode_event(fields(n))} for n in (1, 2)]


@pytest.mark.parametrize(
    ("data", "places"),
    [
        (container([fields(1), fields(2)], released("ride_event.v1"), "deflate"), ["event 1", "event 2"]),
        (container(TIMED, released("ride_event.v1")), ["event 1", "event 2"]),
        (container(ENTRIES, released("ride_log_entry.v1")), ["event 1", "event 2"]),
        ("\n\n".join(json.dumps(fields(n)) for n in (1, 2)).encode(), ["line 1", "line 3"]),
        (b"\xef\xbb\xbf" + json.dumps([fields(1), fields(2)], indent=1).encode(), ["event 1", "event 2"]),
        (b"\n".join(encode_event(fields(n)).hex().encode() for n in (1, 2)), ["line 1", "line 2"]),
        (encode_event(fields(1)), ["the message"]),
    ],
)
def test_every_format_of_good_events_is_read(data: bytes, places: list[str]) -> None:
    """Avro files of events and of log entries, JSON lines and arrays, hexadecimal lines and one message hold good events."""
    candidates = list(candidates_of(data, "here"))
    assert places == [one.place for one in candidates]
    found, complaints = judged(candidates)
    assert ([], len(places), {RideKind.STARTED: len(places)}) == (complaints, found.received, found.kinds)
    assert len(places) == found.counted([NYC])


def test_a_ride_log_is_judged_as_intake_judges_it(tmp_path: Path) -> None:
    """In a directory of rides, exactly the events that break a rule are named, each with its offset and reason."""
    world = make_world(5, hours=2)
    log: tuple[Entry, ...] = world.logs[0]
    with RideLogWriter(tmp_path / "rides", 1) as out:
        times = np.array([entry.logged_at_us for entry in log], np.int64)
        out.append(0, times, [b""] * len(log), [entry.value for entry in log])
    found, complaints = validate_events(candidates_in(tmp_path / "rides"), [world.region], SKEW_S)
    expected = {f"partition 0, offset {at}": entry.event.reason for at, entry in enumerate(log) if entry.event.reason is not None}
    assert expected == {complaint.place: complaint.reason for complaint in complaints}
    assert len(log) == found.received == found.repeated + sum(found.rejected.values()) + sum(found.kinds.values())


def test_each_bad_event_is_named() -> None:
    """A complaint has the place, the rule, the details and the likely mistake; good events beside it are counted."""
    lines = [
        json.dumps(fields(1)),
        json.dumps(fields(2, occurred_at=NOON_US // 10**6)),
        json.dumps(fields(3, lat=-73.98, lon=40.75)),
        "7b7d",
        "no event",
        json.dumps(fields(1)),
        json.dumps(fields(4, region="nyk")),
        json.dumps(fields(5, kind="completed")),
    ]
    found, complaints = judged(list(candidates_of("\n".join(lines).encode(), "here")))
    assert [("line 2", Reason.TIME_OUT_OF_BOUNDS), ("line 3", Reason.OUTSIDE_REGION)] == [(c.place, c.reason) for c in complaints[:2]]
    assert [("line 4", Reason.UNDECODABLE), ("line 5", Reason.UNDECODABLE)] == [(c.place, c.reason) for c in complaints[2:]]
    assert complaints[0].guess.startswith("timestamps look like seconds: 2014-04-01 12:00:00 UTC")
    assert complaints[1].guess.startswith("coordinates look swapped")
    assert complaints[3].detail.startswith("expected one event as JSON or hexadecimal digits")
    assert summary_of(found, [NYC]) == [
        "8 events: 4 valid, 4 rejected",
        "  1 outside_region",
        "  1 time_out_of_bounds",
        "  2 undecodable",
        "  1 repeat the event_id of an earlier event and count once",
        "  1 are of region 'nyk', which is not among nyc; looks like a misspelling of 'nyc': ids are compared letter by letter",
        "  1 completed: counted by the measure dropoffs",
        "  1 started: counted by the measure pickups",
        "1 would be counted by the measures of these regions (pickups)",
    ]


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({}, []),
        ({"occurred_at": "2014-04-01T12:00:00Z"}, [f"{WHOLE} '2014-04-01T12:00:00Z'; that is 1396353600000000"]),
        ({"occurred_at": "2014-04-01 12:00"}, [f"{WHOLE} '2014-04-01 12:00'; its zone is unknown"]),
        ({"occurred_at": 1.5e15}, [f"{WHOLE} 1500000000000000.0"]),
        ({"kind": "REQUESTED"}, ["kind: expected one of requested, accepted, started, completed, cancelled, unserved, got 'REQUESTED'"]),
        ({"lat": "40.7"}, ["lat: expected a number, got '40.7'"]),
        ({"lat": 41, "fare": None}, []),
        ({"lat": True}, ["lat: expected a number, got True"]),
        ({"event_id": 7}, ["event_id: expected a text, got 7"]),
        ({"region": None}, ["region: required, but missing"]),
        ({"Fare": 3.0}, ["Fare: no such field, is it fare?"]),
        ({"rider": "x"}, ["rider: no such field, is it rider_id?"]),
    ],
)  # fmt: skip
def test_why_fields_cannot_be_encoded(changes: dict[str, object], problems: list[str]) -> None:
    """Missing, mistyped and unknown fields of a JSON event are named, each with what was expected."""
    assert problems == problems_of(fields(1, **changes))


def test_events_can_be_judged_by_the_clock() -> None:
    """With a time of receipt, an event ahead of it is rejected; without one, its own time is believed."""
    candidates = [Candidate("here", encode_event(fields(1, occurred_at=NOON_US + 7_200_000_000)))]
    assert [] == judged(candidates)[1]
    [complaint] = judged(candidates, NOON_US)[1]
    assert (Reason.AHEAD_OF_LOG, "looks like local time of UTC+2:00 written as UTC") == (complaint.reason, complaint.guess)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"  \n", "here: expected events, got an empty file"),
        (b"[1, 2", "here: expected a JSON array of events"),
        (b"Obj\x01xx", "here: expected an Avro file, after 0 events got"),
        (container([fields(1)], released("ride_event.v1"))[:-9], "here: expected an Avro file, after "),
    ],
)
def test_what_is_no_file_of_events_is_refused(data: bytes, said: str) -> None:
    """A file that holds no events, or ends in the middle, is refused with its name."""
    with pytest.raises(UsageError, match=f"^{said}".replace("[", r"\[")):
        list(candidates_of(data, "here"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A path that does not exist is named."""
    with pytest.raises(UsageError, match=r"gone: expected a file of events: No such file"):
        candidates_in(tmp_path / "gone")


def test_other_bytes_and_other_records_are_events_with_a_reason() -> None:
    """Bytes of no known format are one undecodable message, and a JSON array may hold what is no object."""
    [complaint] = judged(list(candidates_of(b"\xff\xfe\x00", "here")))[1]
    assert ("the message", Reason.UNDECODABLE) == (complaint.place, complaint.reason)
    [complaint] = judged(list(candidates_of(b"[3]", "here")))[1]
    assert ("event 1", "expected a JSON object") == (complaint.place, complaint.detail)
    [complaint] = judged(list(candidates_of(b"5", "here")))[1]
    assert ("line 1", "expected a JSON object, got int") == (complaint.place, complaint.detail)
