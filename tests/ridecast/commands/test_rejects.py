"""`ridecast rejects show`: which events are shown, and as what."""

from pathlib import Path

import pytest

from dataflows.connectors.rejects import FileRejects
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
