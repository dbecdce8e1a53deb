"""An export has exactly the layout of tlog-tiles, at any size and after any growth, and checks both disk and database."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dataflows.jobs.exports import tiles
from dataflows.jobs.exports.tiles import BlobsExported, TilesExported, export_blobs, export_tiles
from ledger.check.tile_check import check_export
from ledger.formats.checkpoint import Checkpoint, origin_of
from ledger.formats.keys import Signer
from ledger.formats.note import sign_note
from ledger.store.blobs import Blobs, Retention, open_blobs
from ledger.store.log import Ledger
from schemas.errors import DamagedError, LedgerError, NotFound
from schemas.records.record_codec import encode
from schemas.records.records import ModelPromoted
from tests.ledger.exports import SIGNER, exported
from tests.ledger.places import LOG, Place, scored

SIZES = (1, 255, 256, 257, 700)
WITNESS = Signer("ridecast/other", bytes(32))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty ledger's place."""
    found = Place(tmp_path / "home")
    yield found
    found.abandon()


def note_of(ledger: Ledger, size: int, log: str = LOG, signer: Signer = SIGNER) -> str:
    """A signed checkpoint of a log at a size."""
    return sign_note(Checkpoint(origin_of("local", log), size, ledger.root_at(log, size)).body(), signer)


def payloads(start: int, stop: int) -> list[bytes]:
    """Entries of slots."""
    return [scored(slot) for slot in range(start, stop)]


def grown(place: Place, size: int) -> Ledger:
    """A ledger with so many entries."""
    ledger = place.open()
    ledger.append(LOG, 0, payloads(0, size))
    return ledger


def files_of(folder: Path) -> dict[str, bytes]:
    """The files below a log's prefix."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("size", SIZES)
def test_the_files_are_those_of_the_specification(place: Place, tmp_path: Path, size: int) -> None:
    """Paths and bytes are those of tlog-tiles, without extra files."""
    ledger = grown(place, size)
    done = export_tiles(ledger, LOG, note_of(ledger, size), tmp_path / "out")
    expected = exported(payloads(0, size)).files
    assert expected == files_of(tmp_path / "out" / LOG)
    assert TilesExported(LOG, 0, size, len(expected) - 1) == done


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 400), min_size=2, max_size=5))
def test_growing_gives_the_same_export(tmp_path_factory: pytest.TempPathFactory, steps: list[int]) -> None:
    """An export that grew in steps verifies, and differs from one written at once only by partial tiles of older sizes."""
    root = tmp_path_factory.mktemp("steps")
    place, size = Place(root / "home"), 0
    ledger = place.open()
    for step in steps:
        ledger.append(LOG, size, payloads(size, size + step))
        old, size = size, size + step
        assert (old, size) == (lambda done: (done.old_size, done.size))(export_tiles(ledger, LOG, note_of(ledger, size), root / "out"))
    place.close()
    found, whole = files_of(root / "out" / LOG), exported(payloads(0, size)).files
    assert whole == {path: found.get(path) for path in whole}
    left = {path for path in found if path not in whole}
    assert all(".p/" in path and path.split(".p/")[0] not in whole for path in left)  # None whose full tile exists.
    _, report = check_export(lambda path: (root / "out" / LOG / path).read_bytes(), [SIGNER.verifier])
    assert () == report.problems


def test_nothing_new_writes_nothing(place: Place, tmp_path: Path) -> None:
    """A second export of the same size adds no file, but replaces the note by one with more signatures."""
    ledger = grown(place, 300)
    export_tiles(ledger, LOG, note_of(ledger, 300), tmp_path / "out")
    newer = sign_note(note_of(ledger, 300).partition("\n\n")[0] + "\n", SIGNER, WITNESS)
    assert TilesExported(LOG, 300, 300, 0) == export_tiles(ledger, LOG, newer, tmp_path / "out")
    assert newer == (tmp_path / "out" / LOG / "checkpoint").read_text("utf-8")


def test_several_logs_share_a_folder(place: Place, tmp_path: Path) -> None:
    """Each log has its own prefix, slash included."""
    ledger = grown(place, 3)
    ledger.append("control", 0, payloads(0, 2))
    for log, size in ((LOG, 3), ("control", 2)):
        export_tiles(ledger, log, note_of(ledger, size, log), tmp_path / "out")
    assert {"region/nyc/checkpoint", "control/checkpoint"} <= set(files_of(tmp_path / "out"))


@pytest.mark.parametrize("killed_after", [0, 3, 6])
def test_a_killed_export_leaves_the_old_one(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int) -> None:
    """Until every file is durable the folder verifies at its old size; the next export resumes there."""
    ledger = grown(place, 300)
    export_tiles(ledger, LOG, note_of(ledger, 300), tmp_path / "out")
    ledger.append(LOG, 300, payloads(300, 800))
    written = 0
    really = tiles.write_beside

    def write(path: Path, data: bytes) -> None:
        nonlocal written
        if written == killed_after:
            raise KeyboardInterrupt
        written += 1
        really(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(tiles, "write_beside", write)
        with pytest.raises(KeyboardInterrupt):
            export_tiles(ledger, LOG, note_of(ledger, 800), tmp_path / "out")
    checkpoint, report = check_export(read_from(tmp_path / "out" / LOG), [SIGNER.verifier])
    assert (300, ()) == (checkpoint.size, report.problems)
    again = export_tiles(ledger, LOG, note_of(ledger, 800), tmp_path / "out")
    fresh = export_tiles(ledger, LOG, note_of(ledger, 800), tmp_path / "fresh")
    assert (300, 800) == (again.old_size, again.size)
    whole = files_of(tmp_path / "fresh" / LOG)
    assert fresh.files == len(whole) - 1
    assert whole == {path: data for path, data in files_of(tmp_path / "out" / LOG).items() if path in whole}


def read_from(folder: Path) -> Callable[[str], bytes]:
    """Reads below a folder."""

    def read(path: str) -> bytes:
        try:
            return (folder / path).read_bytes()
        except FileNotFoundError as cause:
            raise NotFound(path) from cause

    return read


def test_another_history_is_refused(place: Place, tmp_path: Path) -> None:
    """A folder with a fork, a longer log or another instance's log is not changed, and the error calls it evidence."""
    ledger = grown(place, 10)
    fork = Place(tmp_path / "fork")
    other = fork.open()
    other.append(LOG, 0, [*payloads(0, 9), scored(77)])
    export_tiles(other, LOG, note_of(other, 10), tmp_path / "out")
    before = files_of(tmp_path / "out")
    with pytest.raises(LedgerError, match="holds other entries than the database, below size 10"):
        export_tiles(ledger, LOG, note_of(ledger, 10), tmp_path / "out")
    with pytest.raises(LedgerError, match="holds 10 entries, the checkpoint 4: the log was rolled back"):
        export_tiles(ledger, LOG, note_of(ledger, 4), tmp_path / "out")
    foreign = sign_note(Checkpoint(origin_of("staging", LOG), 10, ledger.root_at(LOG, 10)).body(), SIGNER)
    with pytest.raises(LedgerError, match="holds ridecast/local/region/nyc, expected ridecast/staging/region/nyc"):
        export_tiles(ledger, LOG, foreign, tmp_path / "out")
    assert before == files_of(tmp_path / "out")
    fork.close()


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE entries SET leaf = zeroblob(32) WHERE "index" = 3',
        "UPDATE entries SET payload = CAST(payload || x'00' AS BLOB) WHERE \"index\" = 3",
        'UPDATE nodes SET hash = zeroblob(32) WHERE "index" = 0',
        'DELETE FROM entries WHERE "index" = 3',
    ],
)
def test_a_damaged_database_is_not_exported(place: Place, tmp_path: Path, statement: str) -> None:
    """Entries that do not hash to the checkpoint never get one in the folder."""
    ledger = grown(place, 300)
    note = note_of(ledger, 300)
    place.tamper(statement)
    with pytest.raises(DamagedError, match="ridecast ledger verify"):
        export_tiles(ledger, LOG, note, tmp_path / "out")
    assert not (tmp_path / "out" / LOG / "checkpoint").exists()


def test_a_wrong_checkpoint_is_not_exported(place: Place, tmp_path: Path) -> None:
    """A root that the entries do not have is refused, even when it is signed."""
    ledger = grown(place, 20)
    note = sign_note(Checkpoint(origin_of("local", LOG), 20, bytes(32)).body(), SIGNER)
    with pytest.raises(DamagedError, match="at size 20 the tiles in"):
        export_tiles(ledger, LOG, note, tmp_path / "out")


def test_a_lost_tile_is_reported(place: Place, tmp_path: Path) -> None:
    """If a file of an earlier export is missing, the error tells how to rewrite all files, and that works."""
    ledger = grown(place, 20)
    export_tiles(ledger, LOG, note_of(ledger, 20), tmp_path / "out")
    (tmp_path / "out" / LOG / "tile/0/000.p/20").unlink()
    with pytest.raises(NotFound, match="remove the folder's checkpoint"):
        export_tiles(ledger, LOG, note_of(ledger, 20), tmp_path / "out")
    (tmp_path / "out" / LOG / "checkpoint").unlink()
    assert 1 == export_tiles(ledger, LOG, note_of(ledger, 20), tmp_path / "out").files


def test_progress_reaches_the_end(place: Place, tmp_path: Path) -> None:
    """Progress counts the entries of this export."""
    ledger = grown(place, 700)
    seen: list[tuple[int, int]] = []
    export_tiles(ledger, LOG, note_of(ledger, 700), tmp_path / "out", lambda *at: seen.append(at))
    assert [(256, 700), (512, 700), (700, 700)] == seen


# --- blobs ------------------------------------------------------------------------------------------------


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """An empty store."""
    return open_blobs(tmp_path / "home", "")


def test_blobs_are_files_named_by_digest(place: Place, blobs: Blobs, tmp_path: Path) -> None:
    """Each blob that an entry names is a file of its digest, once; an expired one is counted, a newer version's entry skipped."""
    ledger = place.open()
    model = blobs.put(b"a model", Retention.MODEL)
    entries = [
        encode(ModelPromoted(region="nyc", measure="pickups", model=digest, alias="champion", reason=""))
        for digest in (model, model, bytes(32))
    ]
    ledger.append("control", 0, [*entries, b"from a newer version"])
    assert BlobsExported(1, 1) == export_blobs(ledger, blobs, "control", 4, tmp_path / "out")
    assert {hashlib.sha256(b"a model").hexdigest(): b"a model"} == files_of(tmp_path / "out/control/blobs")
    assert BlobsExported(0, 1) == export_blobs(ledger, blobs, "control", 4, tmp_path / "out")


def test_a_damaged_blob_is_not_exported(place: Place, blobs: Blobs, tmp_path: Path) -> None:
    """A blob that no longer hashes to its name stops the export."""
    ledger = place.open()
    digest = blobs.put(b"a model", Retention.MODEL)
    next((tmp_path / "home/blobs").rglob(digest.hex())).write_bytes(b"b model")
    ledger.append("control", 0, [encode(ModelPromoted(region="nyc", measure="pickups", model=digest, alias="champion", reason=""))])
    with pytest.raises(DamagedError, match="hash to"):
        export_blobs(ledger, blobs, "control", 1, tmp_path / "out")
