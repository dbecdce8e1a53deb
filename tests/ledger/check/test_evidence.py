"""The evidence of a continued log stays checked: the old checkpoint, and the abandoned root."""

from pathlib import Path

import pytest

from ledger.check.evidence import evidence_faults
from ledger.check.verify import verify_log
from ledger.store.continuing import continue_log
from schemas.records.record_codec import encode
from schemas.records.records import LogContinued
from tests.ledger.places import LOG, Place, scored


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A log that was continued from an older copy of its database, with a record of it."""
    found = Place(tmp_path)
    ledger = found.open()
    ledger.append(LOG, 0, [scored(slot) for slot in range(5)])
    found.close()
    older = {path: path.read_bytes() for path in (tmp_path / "ledger").iterdir()}
    found.open().append(LOG, 5, [scored(slot) for slot in range(5, 9)])
    found.close()
    for path, data in older.items():
        path.write_bytes(data)
    continue_log(found.open(), LOG, "a disk was lost")
    found.close()
    return found


def problems(place: Place) -> list[str]:
    """The problems that the verifier reports."""
    said = [str(problem) for problem in verify_log(place.open(), LOG).problems]
    place.close()
    return said


def continued(place: Place) -> tuple[int, LogContinued]:
    """The continuation and its index."""
    stored = place.open().entry(LOG, LogContinued)
    assert stored is not None
    place.close()
    return stored.index, stored.record


def test_a_continued_log_is_clean(place: Place) -> None:
    """With its evidence beside it the log is clean under its new origin."""
    assert [] == problems(place)


def test_evidence_that_was_changed_or_lost(place: Place) -> None:
    """The old checkpoint must be there, byte for byte."""
    index, record = continued(place)
    path = place.home / "checkpoints" / "region__nyc.2.txt"
    path.write_bytes(path.read_bytes() + b"\n")
    [said] = problems(place)
    assert said.startswith(f"entry {index}: its evidence, region__nyc.2.txt, hashes to ")
    assert said.endswith(record.evidence.hex())
    path.unlink()
    assert [f"entry {index}: its evidence, region__nyc.2.txt, is missing: the checkpoint that this entry replaced"] == problems(place)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"database_root": bytes(32)}, "it cites root 0000"),
        ({"database_size": 99}, "it records 99 entries before it, expected at most"),
        ({"log": "control"}, "it continues log control, but is stored in region/nyc"),
    ],
)
def test_the_record_is_checked(place: Place, change: dict[str, object], expected: str) -> None:
    """Size, root and name in the record must match the log."""
    index, record = continued(place)
    said = {name: getattr(record, name) for name in record.__slots__} | change
    [fault] = evidence_faults(place.open(), LOG, index, encode(LogContinued(**said)))
    assert expected in fault
    place.close()
