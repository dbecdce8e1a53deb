"""`ridecast import` on the kinds of files that people have: each is read right, or refused with where, what and the remedy."""

import os
from pathlib import Path

import pytest

from dataflows.connectors.files.ridelog import RideLogReader, partitions
from schemas.events.codec import Decoder
from tests.ridecast.commands.trip_kinds_read import READ
from tests.ridecast.commands.trip_kinds_refused import REFUSED
from tests.ridecast.commands.trip_writers import Kind
from tests.ridecast.conftest import Call


def written(directory: Path) -> list[tuple[int, float, float]]:
    """Time and place of every ride in a log, in the order of time."""
    rides = list[tuple[int, float, float]]()
    for partition in partitions(directory):
        raw = RideLogReader(directory, partition).read(0, 10_000)
        if raw is not None:
            batch, undecodable = Decoder(("nyc",)).decode(raw)
            assert undecodable == []
            rides += zip(batch.occurred_at_us.tolist(), batch.lat.tolist(), batch.lon.tolist(), strict=True)
    return sorted(rides)


def given(kind: Kind, folder: Path) -> list[object]:
    """The words of the command, with its files written."""
    for name, data in kind.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return ["import", *(kind.words or kind.files), *kind.options, "--region", "nyc", "--out", "rides"]


@pytest.mark.parametrize("kind", READ, ids=[kind.name for kind in READ])
def test_a_kind_of_file_is_read_right(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    """Exactly the trips from which the file was written are in the log, and the output says what was found out."""
    monkeypatch.chdir(tmp_path)
    done = call(*given(kind, tmp_path))
    assert (0, "") == (done.status, "" if done.status == 0 else done.err)
    assert kind.trips is not None
    assert sorted((trip.at_us, trip.lat, trip.lon) for trip in kind.trips) == written(tmp_path / "rides")
    assert [] == [words for words in kind.says if words not in done.out + done.err], done.out + done.err


@pytest.mark.parametrize("kind", REFUSED, ids=[kind.name for kind in REFUSED])
def test_a_kind_of_file_is_refused(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    """One line says where, what and how to go on, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    words = given(kind, tmp_path)
    before = sorted(os.listdir(tmp_path))
    done = call(*words)
    assert done.status != 0, done.out
    assert 1 == len(done.lines), done.err
    assert [] == [words for words in kind.says if words not in done.lines[0]], done.lines[0]
    assert sorted(os.listdir(tmp_path)) == before


def test_there_are_enough_kinds() -> None:
    """At least forty kinds, each with its own name."""
    names = [kind.name for kind in (*READ, *REFUSED)]
    assert len(names) >= 40
    assert len(names) == len(set(names))
