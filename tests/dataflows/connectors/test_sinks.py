"""What only files can do to sinks: half-written ones, many old ones, a disk that refuses."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import fastavro
import pytest

from dataflows.connectors.sinks import FileForecasts, FileRejects
from schemas.errors import ContractError, StoreUnavailable
from schemas.events.rides import NO_TIME, Reason, Rejected
from tests.forecast_samples import sample_messages

LOG = "region/nyc"
ROOT = Path(__file__).resolve().parents[3]


def files(folder: Path) -> list[str]:
    """Names of the files of the log, sorted."""
    return sorted(path.name for path in (folder / "region__nyc").iterdir())


def test_any_avro_reader_reads_a_file(tmp_path: Path) -> None:
    """A file is a plain container of forecasts, with the schema in it; its header says what it is."""
    FileForecasts(tmp_path).publish(sample_messages(3, cells=70), LOG, 4)
    with (tmp_path / "region__nyc" / f"{3:020d}.avro").open("rb") as file:
        reader = fastavro.reader(file)
        records = list(reader)
    assert len(records) == 70
    assert {record["log_index"] for record in records if isinstance(record, dict)} == {3}
    assert (reader.metadata["ridecast.log"], reader.metadata["ridecast.next_index"]) == (LOG, "4")


def test_the_same_issue_is_the_same_file(tmp_path: Path) -> None:
    """Nothing random or of this moment enters a file."""
    for name in ("a", "b"):
        FileForecasts(tmp_path / name).publish(sample_messages(3), LOG, 4)
    (a,), (b,) = (list((tmp_path / name).rglob("*.avro")) for name in ("a", "b"))
    assert a.read_bytes() == b.read_bytes()


def test_an_issue_is_not_written_again(tmp_path: Path) -> None:
    """What is published at an index already, or before it, changes no file."""
    sink = FileForecasts(tmp_path)
    assert sink.publish(sample_messages(3), LOG, 4)
    [path] = tmp_path.rglob("*.avro")
    before = path.read_bytes()
    for next_index in (4, 3):
        assert not sink.publish(sample_messages(5), LOG, next_index)
    assert before == path.read_bytes()
    assert [path.name] == files(tmp_path)


def test_cells_that_retired_stand_in_the_header(tmp_path: Path) -> None:
    """Keys without a value are named in the header, and no others."""
    FileForecasts(tmp_path).publish([*sample_messages(3, cells=2), (b"nyc/dr5reg", None)], LOG, 4)
    with (tmp_path / "region__nyc" / f"{3:020d}.avro").open("rb") as file:
        reader = fastavro.reader(file)
        assert 2 == len(list(reader))
    assert ["nyc/dr5reg"] == json.loads(reader.metadata["ridecast.retired"])


def test_old_issues_make_room(tmp_path: Path) -> None:
    """Only so many files are kept, the newest."""
    sink = FileForecasts(tmp_path, keep_issues=3)
    for index in range(6):
        sink.publish(sample_messages(index), LOG, index + 1)
    assert files(tmp_path) == [f"{index:020d}.avro" for index in (3, 4, 5)]
    assert sink.cursor(LOG) == 6


def test_a_half_written_file_does_not_count(tmp_path: Path) -> None:
    """What a killed publisher left behind is not an issue, and in nobody's way."""
    sink = FileForecasts(tmp_path)
    sink.publish(sample_messages(0), LOG, 1)
    half = f".{1:020d}.avro.77-1.tmp"
    (tmp_path / "region__nyc" / half).write_bytes(b"Obj\x01 and then the power failed")
    assert sink.cursor(LOG) == 1
    assert sink.publish(sample_messages(1), LOG, 2)
    assert files(tmp_path) == [half, *(f"{index:020d}.avro" for index in (0, 1))]


def test_a_disk_that_is_full_is_said_and_nothing_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the bytes can not be made durable the issue is not there, and the error names the file."""
    sink = FileForecasts(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreUnavailable, match=r"forecast files: .*00000\.avro: No space left on device"):
        sink.publish(sample_messages(0), LOG, 1)
    monkeypatch.undo()
    assert sink.cursor(LOG) == 0
    assert sink.publish(sample_messages(0), LOG, 1)


def test_a_place_that_is_no_folder_is_said(tmp_path: Path) -> None:
    """A file where the folder should be is an error with its name."""
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StoreUnavailable, match=r"forecast files: .*out"):
        FileForecasts(tmp_path / "out").publish(sample_messages(0), LOG, 1)
    with pytest.raises(StoreUnavailable, match=r"rejects: .*out"):
        FileRejects(tmp_path / "out" / "rejects.sqlite")


def test_only_forecasts_go_into_a_file(tmp_path: Path) -> None:
    """Bytes of another schema would make a file that nobody can read; they are refused."""
    with pytest.raises(ContractError, match=r"expected demand_forecast\.v1, got 0011"):
        FileForecasts(tmp_path).publish([(b"nyc/dr5reg", b"\x00\x11")], LOG, 1)


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    """Rejects are not written into somebody's text file."""
    (tmp_path / "rejects.sqlite").write_text("notes " * 1000)
    with pytest.raises(StoreUnavailable, match=r"rejects: .*not a database"):
        FileRejects(tmp_path / "rejects.sqlite")


WRITER = """
import sys
from pathlib import Path
from dataflows.connectors.sinks import FileRejects
from schemas.events.rides import NO_TIME, Reason, Rejected
sink = FileRejects(Path(sys.argv[1]))
for place in range(0, 200, 10):
    sink.write([Rejected(0, place + i, NO_TIME, Reason.BAD_ID, b"x") for i in range(10)])
"""


def test_processes_write_rejects_side_by_side(tmp_path: Path) -> None:
    """Two processes that write the same rejects at once wait for each other, and each reject is kept once."""
    path = tmp_path / "rejects.sqlite"
    children = [subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    sink = FileRejects(path)
    assert [reject.offset for reject in sink.read()] == list(range(200))
    sink.close()


def test_rejects_that_can_not_be_written_are_an_error(tmp_path: Path) -> None:
    """A reject is not taken for kept when the database refuses, and is kept by the next attempt."""
    path = tmp_path / "rejects.sqlite"
    sink = FileRejects(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("CREATE TRIGGER refuse BEFORE INSERT ON rejects BEGIN SELECT RAISE(FAIL, 'disk I/O error'); END")
    reject = Rejected(0, 1, NO_TIME, Reason.BAD_ID, b"x")
    with pytest.raises(StoreUnavailable, match=r"rejects: .*rejects\.sqlite: disk I/O error"):
        sink.write([reject])
    blocker.execute("DROP TRIGGER refuse")
    blocker.close()
    sink.write([reject])
    assert sink.read() == [reject]
    sink.close()
