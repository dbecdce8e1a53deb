"""`ridecast rejects show`: which events are shown, and as what."""

from pathlib import Path

import pytest

from dataflows.connectors.rejects import FileRejects
from schemas.events.codec import encode_event
from schemas.events.rides import Reason, Rejected
from tests.ridecast.conftest import Call

EVENTS = (
    Rejected(0, 7, 1, Reason.UNDECODABLE, b"\x00" * 30, "cut short"),
    Rejected(1, 3, 1, Reason.OUTSIDE_REGION, b"\xab\xcd", "59.0, 18.0"),
    Rejected(1, 9, 1, Reason.UNDECODABLE, b"\x01", ""),
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with three rejected events."""
    (tmp_path / "ledger").mkdir()
    sink = FileRejects(tmp_path / "rejects.sqlite")
    sink.write(EVENTS)
    sink.close()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), 3),
        (("--partition", 1), 2),
        (("--reason", "undecodable"), 2),
        (("--reason", "undecodable", "--partition", 1), 1),
        (("--limit", 1), 1),
    ],
)
def test_events_are_chosen(home: Path, call: Call, words: tuple[object, ...], shown: int) -> None:
    """Partition, reason and limit narrow what is shown; how many there are in all is always said."""
    done = call("rejects", "show", "--home", home, *words)
    rows = [line for line in done.out.splitlines() if line.startswith("│")]
    assert (0, shown) == (done.status, len(rows))
    assert done.out.endswith(f"{shown} shown; 3 rejected in total, 1 outside_region, 2 undecodable\n")


def test_long_events_are_cut_in_the_table_and_whole_as_hex(home: Path, call: Call) -> None:
    """A table shows where a long event begins; --hex gives every byte, one event per line."""
    assert "00" * 24 + "..." in call("rejects", "show", "--home", home).out
    expected = [f"{e.partition}\t{e.offset}\t{e.reason}\t{e.value.hex()}" for e in EVENTS]
    assert expected == call("rejects", "show", "--home", home, "--hex").out.splitlines()
    assert expected[:2] == call("rejects", "show", "--home", home, "--hex", "--limit", 2).out.splitlines()


CUT = b'{"a": "' + b"x" * 300  # JSON that was cut
RIDE: dict[str, object] = {
    "event_id": "e-1",
    "ride_id": "r-1",
    "kind": "started",
    "occurred_at": 1_396_353_600_000_000,
    "region": "nyc",
    "lat": 59.0,
    "lon": 18.0,
}


def test_events_are_shown_decoded(tmp_path: Path, call: Call) -> None:
    """--decoded gives every field, the details and the likely mistake, and bytes that do not decode as text beside hexadecimal."""
    call("bootstrap", "--region", "nyc", "--until", "2014-05-01", "--home", tmp_path, "--no-history")
    sink = FileRejects(tmp_path / "rejects.sqlite")
    value = encode_event(RIDE)
    sink.write(
        [
            Rejected(0, 7, 1_396_353_600_000_000, Reason.OUTSIDE_REGION, value),
            Rejected(0, 8, 1, Reason.UNDECODABLE, CUT),
        ]
    )
    sink.close()
    done = call("rejects", "show", "--home", tmp_path, "--decoded")
    lines = done.out.splitlines()
    assert (0, "partition 0, offset 7, logged 2014-04-01 12:00:00 UTC: outside_region") == (done.status, lines[0])
    assert lines[1].startswith("  59, 18 is outside region nyc, which spans lat 39.5 to 42.2, lon -75 to -72 (started, region nyc, ")
    assert "    occurred_at   1396353600000000 (2014-04-01 12:00:00 UTC)" in lines
    assert "    fare          none" in lines
    assert "  looks like incomplete JSON: encode events as Avro, see docs/producing.md" in lines
    assert "    " + CUT[:32].hex() + '  {"a": "' + "x" * 25 in lines
    assert "    ... 51 more bytes" in lines


@pytest.mark.parametrize(
    ("words", "offsets"),
    [
        (("--region", "nyc"), [1, 2]),
        (("--region", "tehran"), [3]),
        (("--region", "nyc", "--limit", 1), [1]),
        (("--from", "2014-04-01T12:00:02Z"), [2, 3]),
        (("--from", "2014-04-01T12:00:02", "--to", "2014-04-01T14:00:03+02:00"), [2]),
        (("--to", "2014-04-01T12:00:02"), [1]),
    ],
)
def test_events_are_chosen_by_region_and_time(tmp_path: Path, call: Call, words: tuple[object, ...], offsets: list[int]) -> None:
    """--region chooses by what the event says, --from and --to by the time of the log, UTC unless told."""
    (tmp_path / "ledger").mkdir()
    sink = FileRejects(tmp_path / "rejects.sqlite")
    regions = {1: "nyc", 2: "nyc", 3: "tehran"}
    sink.write(
        [
            Rejected(0, at, 1_396_353_600_000_000 + at * 1_000_000, Reason.BAD_FARE, encode_event(RIDE | {"region": name}))
            for at, name in regions.items()
        ]
    )
    sink.close()
    rows = call("rejects", "show", "--home", tmp_path, "--hex", *words).out.splitlines()
    assert offsets == [int(row.split("\t")[1]) for row in rows]


def test_a_key_is_replaced(home: Path, call: Call) -> None:
    """Events of the old key are still shown; without it they are told as encrypted, and the command fails."""
    done = call("rejects", "replace-key", "--home", home)
    [older] = (home / "keys").glob("rejects.*.key")
    assert (0, f"the old key is in {older}\n") == (done.status, done.out)
    assert 0 == call("rejects", "show", "--home", home).status
    older.unlink()
    done = call("rejects", "show", "--home", home, "--decoded")
    assert (1, 3) == (done.status, done.out.count("encrypted with a key that is missing"))
    assert "put the key that was replaced beside it" in done.err
    (home / "keys" / "rejects.key").unlink()
    assert "there is no key yet" in call("rejects", "replace-key", "--home", home).out


def test_a_mistyped_time_is_said(home: Path, call: Call) -> None:
    """A time that is none names the option and a right one."""
    done = call("rejects", "show", "--home", home, "--from", "noon")
    assert (2, "ridecast: --from: expected an ISO time such as 2014-05-01T08:00Z, got 'noon'\n") == (done.status, done.err)


def test_a_topic_is_named(home: Path, call: Call, kafka: str) -> None:
    """Where outputs go to Kafka, what is shown lies in a topic, and the last line says in which."""
    done = call("rejects", "show", "--home", home, RIDECAST_KAFKA=kafka, RIDECAST_INSTANCE="empty")
    assert (0, f"0 shown; 0 rejected in total in empty.rides.rejected at {kafka}") == (done.status, done.out.splitlines()[-1])


def test_nothing_rejected(tmp_path: Path, call: Call) -> None:
    """A home without rejected events says so."""
    (tmp_path / "ledger").mkdir()
    assert call("rejects", "show", "--home", tmp_path).out.endswith("0 shown; 0 rejected in total\n")


def test_a_mistyped_home_or_reason_is_said(tmp_path: Path, call: Call) -> None:
    """Neither a home nor a file is made where somebody mistyped, and an unknown reason is answered with those there are."""
    done = call("rejects", "show", "--home", tmp_path / "gone")
    assert (2, True) == (done.status, done.err.endswith("gone', which does not exist\n"))
    done = call("rejects", "show", "--home", tmp_path / "gone", "--reason", "bad")
    assert (2, f"ridecast: --reason: expected one of {', '.join(Reason)}, got 'bad'\n") == (done.status, done.err)
    assert 2 == call("rejects", "show", "--home", tmp_path, "--limit", 0).status
    assert [] == list(tmp_path.iterdir())
