"""Runs over events that cannot be used: what a person is told, by the run itself and by the commands that look afterwards."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataflows.connectors.files.ridelog import RideLogWriter
from schemas.events.codec import encode_event
from tests.faults.seen import Seen
from tests.ridecast.calls import Done, ridecast
from tests.ridecast.conftest import Call

EVENTS = 360
START_US = 1_396_324_800_000_000  # 2014-04-01, local midnight in New York
MINUTE_US = 60_000_000
Encode = Callable[[dict[str, object]], bytes]


def framed_by_a_registry(fields: dict[str, object]) -> bytes:
    """An event as a registry's serializer frames it."""
    return b"\x00\x00\x00\x00\x07" + encode_event(fields)[10:]


def in_seconds(fields: dict[str, object]) -> bytes:
    """An event whose time is in seconds."""
    return encode_event(fields | {"occurred_at": int(str(fields["occurred_at"])) // 1_000_000})


def misspelt(fields: dict[str, object]) -> bytes:
    """An event of a region that is one letter off."""
    return encode_event(fields | {"region": "nyk"})


def as_json(fields: dict[str, object]) -> bytes:
    """An event as JSON."""
    return json.dumps(fields).encode()


def run(folder: Path, encode: Encode) -> Done:
    """A bounded run over events of one afternoon, all encoded the same way."""
    values = [
        encode(
            {
                "event_id": f"e-{minute}",
                "ride_id": f"r-{minute}",
                "kind": "started",
                "occurred_at": START_US + minute * MINUTE_US,
                "region": "nyc",
                "lat": 40.75,
                "lon": -73.98,
            }
        )
        for minute in range(EVENTS)
    ]
    with RideLogWriter(folder / "rides", 2) as log:
        for partition in (0, 1):
            times = START_US + np.arange(partition, EVENTS, 2) * MINUTE_US
            log.append(partition, times, [b"k"] * len(times), values[partition::2])
    ridecast("bootstrap", "--region", "nyc", "--until", "2014-04-01", "--no-history", "--home", "home", cwd=folder)
    return ridecast("run", "--rides", "rides", "--region", "nyc", "--home", "home", "--until-end", cwd=folder)


@pytest.mark.parametrize(
    ("encode", "said"),
    [
        (as_json, "360 rejected (360 undecodable); for example partition 0, offset 179: undecodable: first bytes 7b22657665, "),
        (framed_by_a_registry, "looks like Confluent framing (magic 0, schema id 7)"),
        (in_seconds, "timestamps look like seconds: 2014-04-01 09:58:00 UTC if multiplied by 1,000,000"),
        (misspelt, "360 of 360 events are of other regions and not counted (in a sample: 'nyk' "),
    ],
    ids=["json", "framed", "seconds", "misspelt"],
)
def test_a_run_over_unusable_events_fails_and_says_why(tmp_path: Path, encode: Encode, said: str, call: Call, seen: Seen) -> None:
    """A bounded run that could use no event ends with 1, and its last line and the status say why."""
    done = run(tmp_path, encode)
    assert 1 == done.status
    seen.told(done.lines[-1], said)
    assert f", {EVENTS} events (0 rides counted, " in done.err
    status = call("status", "--home", tmp_path / "home").out
    [row] = [line for line in status.splitlines() if " UTC to " in line]
    assert f"│ {EVENTS} " in row
    if encode is not misspelt:
        shown = call("rejects", "show", "--home", tmp_path / "home", "--decoded", "--limit", 1).out
        assert f"1 shown; {EVENTS} rejected in total" in shown
        assert " look" in shown
    seen.checked(EVENTS, "events accounted for")
