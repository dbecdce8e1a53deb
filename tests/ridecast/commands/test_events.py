"""`ridecast events validate`: what it prints, and the exit code that scripts read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ridecast.calls import environment
from tests.ridecast.conftest import Call

GOOD = {
    "event_id": "e-1",
    "ride_id": "r-1",
    "kind": "started",
    "occurred_at": 1_396_353_600_000_000,
    "region": "nyc",
    "lat": 40.75,
    "lon": -73.98,
}


def lines_of(*events: dict[str, object]) -> str:
    """JSON lines."""
    return "".join(json.dumps(event) + "\n" for event in events)


def test_good_events_end_with_zero(tmp_path: Path, call: Call) -> None:
    """A file of valid events is summed up, and the exit code is 0."""
    (tmp_path / "events").write_text(lines_of(GOOD, GOOD | {"event_id": "e-2"}))
    done = call("events", "validate", tmp_path / "events", "--region", "nyc")
    assert (0, "") == (done.status, done.err)
    assert done.out.splitlines() == [
        "2 events: 2 valid, 0 rejected",
        "  2 started: counted by the measure pickups",
        "2 would be counted by the measures of these regions (pickups)",
    ]


def test_bad_events_end_with_one(tmp_path: Path, call: Call) -> None:
    """Each bad event has a line up to the limit, with what is likely wrong, and the exit code is 1."""
    bad = GOOD | {"occurred_at": 1_396_353_600}
    (tmp_path / "events").write_text(lines_of(GOOD, bad, bad, bad))
    done = call("events", "validate", tmp_path / "events", "--limit", 2)
    lines = done.out.splitlines()
    assert 1 == done.status
    assert lines[0].startswith(
        "line 2: time_out_of_bounds: expected occurred_at from 2000 to 2100 in microseconds since 1970, got 1396353600"
    )
    assert lines[0].endswith("; timestamps look like seconds: 2014-04-01 12:00:00 UTC if multiplied by 1,000,000")
    assert ["... and 1 more", "4 events: 1 valid, 3 rejected"] == lines[2:4]


@pytest.mark.parametrize("changes", [{"kind": "completed"}, {"region": "boston"}])
def test_events_that_nothing_counts_end_with_one(tmp_path: Path, call: Call, changes: dict[str, object]) -> None:
    """Valid events of another kind or region are of no use, and a script must not take them for good."""
    (tmp_path / "events").write_text(lines_of(GOOD | changes))
    done = call("events", "validate", tmp_path / "events", "--region", "nyc")
    assert (1, "1 events: 1 valid, 0 rejected") == (done.status, done.out.splitlines()[0])
    assert done.out.endswith("0 would be counted by the measures of these regions (pickups)\n")


def test_standard_input_and_the_clock(tmp_path: Path) -> None:
    """- reads standard input, and --now judges times as if the events came now."""

    late = GOOD | {"occurred_at": 4_000_000_000_000_000}
    command = [sys.executable, "-m", "ridecast", "events", "validate", "-", "--now"]
    done = subprocess.run(
        command, input=lines_of(late).encode(), env=environment(), cwd=tmp_path, capture_output=True, check=False, timeout=120
    )
    assert 1 == done.returncode
    assert done.stdout.startswith(b"line 1: ahead_of_log: occurred_at is ")


def test_a_missing_file_is_wrong_usage(tmp_path: Path, call: Call) -> None:
    """A file that does not exist, or is empty, ends with 2."""
    done = call("events", "validate", tmp_path / "gone")
    assert (2, True) == (done.status, "gone: expected a file of events: No such file" in done.err)
    (tmp_path / "empty").write_text("")
    done = call("events", "validate", tmp_path / "empty")
    assert (2, True) == (done.status, "empty: expected events, got an empty file" in done.err)


def test_the_help_teaches(call: Call) -> None:
    """The fields that an event needs, the formats, the exit codes and an example are in the help."""
    text = call("events", "validate", "--help").out
    for word in ("event_id", "occurred_at", "microseconds", "JSON lines", "Ends with 0", "ridecast events validate events.avro"):
        assert word in " ".join(text.split())
