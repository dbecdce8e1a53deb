"""Checkpoints are written outside the database soon after each append, and a database that contradicts one is refused."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.formats.checkpoint import Checkpoint, parse_checkpoint
from ledger.formats.note import open_note
from ledger.store.log import Head
from schemas.errors import BootRefused, DamagedError, StoreUnavailable
from tests.ledger.exports import SIGNER
from tests.ledger.places import LOG, Place, scored


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A ledger of three entries, closed cleanly, with its checkpoint."""
    found = Place(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
    found.open().append(LOG, 0, [scored(slot) for slot in range(3)])
    found.close()
    yield found
    found.abandon()


def written(place: Place) -> Checkpoint:
    """The checkpoint file, its signature checked."""
    return parse_checkpoint(open_note(place.checkpoint().read_text("utf-8"), (SIGNER.verifier,)).text)


def test_closing_writes_the_checkpoint(place: Place) -> None:
    """After a clean close the file matches the database exactly."""
    head = place.open().head(LOG)
    assert written(place) == Checkpoint("ridecast/local/region/nyc", head.size, head.root)
    assert head.size == 3


@pytest.mark.alone
def test_a_checkpoint_follows_within_a_second(place: Place) -> None:
    """No flush is needed: a second after an append the file covers it, also after a burst."""
    ledger = place.open()
    for size in range(3, 8):
        ledger.append(LOG, size, [scored(size)])
    deadline_s = time.monotonic() + 1.0
    while written(place).size < 8 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert written(place).size == 8


def test_an_older_database_is_refused(place: Place) -> None:
    """A database rolled back to before its checkpoint accepts no entry; the message names log, sizes and the way out."""
    place.set_back(2)
    with pytest.raises(
        BootRefused, match=r"region nyc: the checkpoint is ahead .* has size 3, the database 2\. .*Restore .*ledger continue`"
    ):
        place.open().append(LOG, 2, [scored(2)])
    assert place.open().head(LOG).size == 2


def test_an_empty_database_is_refused(place: Place) -> None:
    """An emptied database does not start again beside its old checkpoint."""
    for table in ("entries", "nodes", "logs"):
        place.tamper(f"DELETE FROM {table}")
    with pytest.raises(BootRefused, match="has size 3, the database 0"):
        place.open().append(LOG, 0, [scored(0)])


def test_a_forked_database_is_refused(place: Place) -> None:
    """A database with another history of the same size, or longer, is refused."""
    place.set_back(1)
    kept = place.checkpoint().read_bytes()
    place.checkpoint().unlink()
    place.open().append(LOG, 1, [scored(11), scored(12), scored(13)])
    place.close()
    place.checkpoint().write_bytes(kept)
    with pytest.raises(BootRefused, match=r"region nyc: the database \(size 4\) contradicts region__nyc.txt at size 3: expected root"):
        place.open().append(LOG, 4, [scored(14)])


def test_a_wrong_own_root_is_refused(place: Place) -> None:
    """A stored frontier that does not match its entries is refused."""
    place.tamper("UPDATE logs SET frontier = :frontier", frontier=bytes(64))
    with pytest.raises(BootRefused, match="the stored root at size 3 contradicts the stored entries"):
        place.open().append(LOG, 3, [scored(3)])


def test_missing_hashes_are_refused(place: Place) -> None:
    """A gap in the entries below the checkpoint is found before an append."""
    place.tamper('DELETE FROM entries WHERE "index" = 1')
    with pytest.raises(BootRefused, match=r"the root at size 3 cannot be computed to compare with region__nyc\.txt"):
        place.open().append(LOG, 3, [scored(3)])


def test_another_instances_checkpoint_is_refused(place: Place) -> None:
    """A checkpoint file from another instance is named with both origins."""
    with pytest.raises(BootRefused, match=r"origin ridecast/staging/region/nyc, got ridecast/local/region/nyc, signed by ridecast/local\+"):
        place.open(instance="staging").append(LOG, 3, [scored(3)])


@pytest.mark.parametrize("content", [b"", b"ridecast/local/region/nyc\n3\n", b"\xff\xfe"])
def test_an_unreadable_checkpoint_is_refused(place: Place, content: bytes) -> None:
    """A file that is not a checkpoint is refused, not overwritten."""
    place.checkpoint().write_bytes(content)
    with pytest.raises(BootRefused, match=r"region__nyc\.txt is not a valid checkpoint"):
        place.open().append(LOG, 3, [scored(3)])
    assert place.checkpoint().read_bytes() == content


def test_a_missing_checkpoint_is_written_again(place: Place) -> None:
    """Without the file the whole log is read back before an append."""
    place.checkpoint().unlink()
    place.open().append(LOG, 3, [scored(3)])
    place.close()
    assert written(place).size == 4
    place.checkpoint().unlink()
    place.tamper('UPDATE entries SET payload = :forged WHERE "index" = 1', forged=scored(9))
    with pytest.raises(DamagedError, match="entry 1 reads back altered"):
        place.open().append(LOG, 4, [scored(4)])


def test_entries_after_the_checkpoint_are_read_back(place: Place) -> None:
    """After a crash between append and checkpoint, the entries between are hashed again before the next append."""
    old = place.checkpoint().read_bytes()
    place.open().append(LOG, 3, [scored(3), scored(4)])
    place.close()
    place.checkpoint().write_bytes(old)
    place.open().append(LOG, 5, [scored(5)])
    place.close()
    assert written(place).size == 6
    place.checkpoint().write_bytes(old)
    place.tamper('UPDATE entries SET payload = :forged WHERE "index" = 4', forged=scored(9))
    with pytest.raises(DamagedError, match="entry 4 reads back altered"):
        place.open().append(LOG, 6, [scored(6)])


def test_a_bad_read_back_stops_the_next_append(place: Place) -> None:
    """If an append does not read back, it gets no checkpoint and no further append is accepted."""
    ledger = place.open()
    ledger.append(LOG, 3, [scored(3)])
    ledger.flush()
    with ledger.guard._writing:
        ledger.append(LOG, 4, [scored(4)])
        place.tamper('UPDATE entries SET payload = :forged WHERE "index" = 4', forged=scored(9))
    with pytest.raises(DamagedError, match="entry 4 reads back altered"):
        ledger.flush()
    with pytest.raises(DamagedError, match="entry 4 reads back altered"):
        ledger.append(LOG, 5, [scored(5)])
    assert written(place).size == 4


def test_a_checkpoint_that_cannot_be_written(place: Place) -> None:
    """While checkpoints cannot be written appends are refused; afterwards they succeed again."""
    ledger = place.open()
    ledger.append(LOG, 3, [scored(3)])
    ledger.flush()
    folder = place.checkpoint().parent
    with ledger.guard._writing:
        shutil.move(folder, folder.with_name("away"))
        ledger.append(LOG, 4, [scored(4)])
    with pytest.raises(StoreUnavailable, match=r"region__nyc.txt: .*No such file"):
        ledger.flush()
    with pytest.raises(StoreUnavailable, match=r"region__nyc.txt: .*No such file"):
        ledger.append(LOG, 5, [scored(5)])
    shutil.move(folder.with_name("away"), folder)
    assert ledger.append(LOG, 5, [scored(5)]).size == 6
    ledger.close()
    assert written(place).size == 6


def test_two_processes_keep_one_file(place: Place) -> None:
    """A process that knows a smaller size does not overwrite another's newer checkpoint."""
    one, two = place.open(), place.open()
    one.append(LOG, 3, [scored(3)])
    two.append(LOG, 4, [scored(4)])
    two.flush()
    one.flush()
    assert written(place).size == 5
    one.append(LOG, 5, [scored(5)])
    one.flush()
    two.flush()
    assert written(place).size == 6


def test_a_rollback_under_a_running_process(place: Place) -> None:
    """A database replaced by an older copy at runtime is detected at the next checkpoint."""
    ledger = place.open()
    ledger.append(LOG, 3, [scored(3)])
    ledger.flush()
    older = ledger.frontier_at(LOG, 2)
    place.tamper('DELETE FROM entries WHERE "index" >= 2')
    place.tamper("UPDATE logs SET size = 2, frontier = :frontier", frontier=older.to_bytes())
    ledger.guard.appended(LOG)
    with pytest.raises(BootRefused, match="region nyc: the database was rolled back from 4 to 2 entries"):
        ledger.flush()


def test_a_new_log_has_a_checkpoint_before_its_first_entry(place: Place) -> None:
    """The file of a log exists before the log, so that its absence always means something."""
    ledger = place.open()
    ledger.guard.admit("control")
    assert parse_checkpoint(place.checkpoint("control").read_text("utf-8")).size == 0
    assert ledger.head("control") == Head(0, parse_checkpoint(place.checkpoint("control").read_text("utf-8")).root)
