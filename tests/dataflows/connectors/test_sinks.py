"""File sinks: partially written files, old files and failing disks."""

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
    """A file is a standard container of forecasts with its schema and a header that identifies its entry."""
    FileForecasts(tmp_path).publish(sample_messages(3, cells=70), LOG, 4)
    with (tmp_path / "region__nyc" / f"{3:020d}.avro").open("rb") as file:
        reader = fastavro.reader(file)
        records = list(reader)
    assert len(records) == 70
    assert {record["log_index"] for record in records if isinstance(record, dict)} == {3}
    assert (reader.metadata["ridecast.log"], reader.metadata["ridecast.next_index"]) == (LOG, "4")


def test_the_same_issue_is_the_same_file(tmp_path: Path) -> None:
    """A file depends on neither randomness nor time."""
    for name in ("a", "b"):
        FileForecasts(tmp_path / name).publish(sample_messages(3), LOG, 4)
    (a,), (b,) = (list((tmp_path / name).rglob("*.avro")) for name in ("a", "b"))
    assert a.read_bytes() == b.read_bytes()


def test_an_issue_is_not_written_again(tmp_path: Path) -> None:
    """Publishing at an index that was already published changes no file."""
    sink = FileForecasts(tmp_path)
    assert sink.publish(sample_messages(3), LOG, 4)
    [path] = tmp_path.rglob("*.avro")
    before = path.read_bytes()
    for next_index in (4, 3):
        assert not sink.publish(sample_messages(5), LOG, next_index)
    assert before == path.read_bytes()
    assert [path.name] == files(tmp_path)


def test_retired_cells_are_in_the_header(tmp_path: Path) -> None:
    """Keys without a value are named in the header, and no others."""
    FileForecasts(tmp_path).publish([*sample_messages(3, cells=2), (b"nyc/dr5reg", None)], LOG, 4)
    with (tmp_path / "region__nyc" / f"{3:020d}.avro").open("rb") as file:
        reader = fastavro.reader(file)
        assert 2 == len(list(reader))
    assert ["nyc/dr5reg"] == json.loads(reader.metadata["ridecast.retired"])


def test_old_issues_are_deleted(tmp_path: Path) -> None:
    """Only the newest files are kept, up to the limit."""
    sink = FileForecasts(tmp_path, keep_issues=3)
    for index in range(6):
        sink.publish(sample_messages(index), LOG, index + 1)
    assert files(tmp_path) == [f"{index:020d}.avro" for index in (3, 4, 5)]
    assert sink.cursor(LOG) == 6


def test_a_partially_written_file_is_ignored(tmp_path: Path) -> None:
    """A file that a killed publisher left behind is not an issue, and blocks no later one."""
    sink = FileForecasts(tmp_path)
    sink.publish(sample_messages(0), LOG, 1)
    half = f".{1:020d}.avro.77-1.tmp"
    (tmp_path / "region__nyc" / half).write_bytes(b"Obj\x01 and then the power failed")
    assert sink.cursor(LOG) == 1
    assert sink.publish(sample_messages(1), LOG, 2)
    assert files(tmp_path) == [half, *(f"{index:020d}.avro" for index in (0, 1))]


def test_a_full_disk_is_reported_and_nothing_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the bytes cannot be made durable the issue is not there, and the error names the file."""
    sink = FileForecasts(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreUnavailable, match=r"forecast files: .*00000\.avro: No space left on device"):
        sink.publish(sample_messages(0), LOG, 1)
    monkeypatch.undo()
    assert sink.cursor(LOG) == 0
    assert sink.publish(sample_messages(0), LOG, 1)


def test_a_file_instead_of_a_folder_is_reported(tmp_path: Path) -> None:
    """A file in place of the folder raises an error with its name."""
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StoreUnavailable, match=r"forecast files: .*out"):
        FileForecasts(tmp_path / "out").publish(sample_messages(0), LOG, 1)
    with pytest.raises(StoreUnavailable, match=r"rejects: .*out"):
        FileRejects(tmp_path / "out" / "rejects.sqlite")


def test_only_forecasts_go_into_a_file(tmp_path: Path) -> None:
    """Bytes of another schema would make the file unreadable; they are refused."""
    with pytest.raises(ContractError, match=r"expected demand_forecast\.v1, got 0011"):
        FileForecasts(tmp_path).publish([(b"nyc/dr5reg", b"\x00\x11")], LOG, 1)


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    """Rejects are not written into a text file."""
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
    """Two processes that write the same rejects at once wait for each other, and each reject is stored once."""
    path = tmp_path / "rejects.sqlite"
    children = [subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    sink = FileRejects(path)
    assert [reject.offset for reject in sink.read()] == list(range(200))
    sink.close()


def test_rejects_that_cannot_be_written_are_an_error(tmp_path: Path) -> None:
    """A reject does not count as stored if the database fails, and the next attempt stores it."""
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
