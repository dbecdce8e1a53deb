"""The verifier finds edited, truncated, moved and forged entries, and names the place."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.check.blob_check import blobs_of_record
from ledger.check.stored_checkpoints import StoredCheckpoint, open_stored_checkpoint
from ledger.check.verify import Problem, verify_log
from ledger.formats.checkpoint import Checkpoint, origin_of
from ledger.formats.keys import Signer
from ledger.formats.merkle import Frontier, leaf_hash, root
from ledger.formats.note import sign_note
from ledger.store.blobs import FileBlobs, Retention
from schemas.errors import NotFound, UsageError
from schemas.forecasts.chunks import pack_blob
from schemas.records.record_codec import encode
from schemas.records.records import ForecastIssued, ModelPromoted, SnapshotTaken
from tests.ledger.exports import SIGNER
from tests.ledger.places import LOG, Place, scored

ENTRIES = 600
FORGED = scored(9999)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A clean ledger of 600 entries."""
    found = Place(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
    found.open().append(LOG, 0, [scored(slot) for slot in range(ENTRIES)])
    found.close()
    yield found
    found.abandon()


def problems(place: Place) -> list[str]:
    """The problems that the verifier reports."""
    return [str(problem) for problem in verify_log(place.open(), LOG).problems]


def test_clean(place: Place) -> None:
    """An untouched ledger is clean, and the report has the size up to which it was checked."""
    seen: list[tuple[int, int]] = []
    ledger = place.open()
    report = verify_log(ledger, LOG, on_progress=lambda done, total: seen.append((done, total)))
    assert (report.log, report.entries, report.checkpoint_size, report.problems) == (LOG, ENTRIES, ENTRIES, ())
    assert report.root == ledger.head(LOG).root.hex()
    assert seen[-1] == (ENTRIES, ENTRIES)


TAMPERINGS = {
    "an edited payload": ('UPDATE entries SET payload = :forged WHERE "index" = 300', r"entry 300: the bytes hash to"),
    "a payload and its leaf hash": (
        'UPDATE entries SET payload = :forged, leaf = :leaf WHERE "index" = 300',
        r"entries 256 to 511 do not hash to the stored node at level 8",
    ),
    "a leaf hash": ('UPDATE entries SET leaf = :leaf WHERE "index" = 300', r"entry 300: the bytes hash to"),
    "a slot in the index": (
        'UPDATE entries SET slot = 7 WHERE "index" = 300',
        r"entry 300: indexed as \('SlotScored', 7, 'pickups'\)",
    ),
    "a kind in the index": ("UPDATE entries SET kind = 'x' WHERE \"index\" = 300", r"entry 300: indexed as \('x', 300"),
    "a subject in the index": ("UPDATE entries SET subject = 'x' WHERE \"index\" = 300", r"entry 300: indexed as"),
    "a deleted entry": ('DELETE FROM entries WHERE "index" = 300', r"entry 300: missing$"),
    "deleted entries": ('DELETE FROM entries WHERE "index" BETWEEN 300 AND 310', r"entry 300: missing, and all up to 310"),
    "a truncated tail": ('DELETE FROM entries WHERE "index" >= 590', r"entry 590: missing, and all up to 599"),
    "a moved entry": (
        'UPDATE entries SET "index" = 700 WHERE "index" = 300',
        r"size: expected 600 .* 599, got 600 up to index 700",
    ),
    "a node": ("UPDATE nodes SET hash = :leaf WHERE level = 8", r"entries 0 to 255 do not hash to the stored node"),
    "a missing node": ("DELETE FROM nodes", r"entries 256 to 511 do not hash to the stored node"),
    "a node too many": (
        'INSERT INTO nodes (log_id, level, "index", hash) VALUES (1, 8, 2, :leaf)',
        r"nodes: unexpected node at level 8, index 2, outside the tree",
    ),
    "a node between the levels": (
        'INSERT INTO nodes (log_id, level, "index", hash) VALUES (1, 9, 0, :leaf)',
        r"nodes: unexpected node at level 9, index 0",
    ),
    "the frontier": ("UPDATE logs SET frontier = :leaf", r"root: the entries hash to"),
    "the frontier, as long as it was": ("UPDATE logs SET frontier = :frontier", r"root: the entries hash to"),
    "the size": ("UPDATE logs SET size = 599", r"size: expected 599 entries up to index 598, got 600 up to index 599"),
    "an unreadable record": ('UPDATE entries SET payload = :cut, leaf = :cut_leaf WHERE "index" = 300', r"entry 300: .*SlotScored"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found(place: Place, name: str) -> None:
    """Each way to change a stored log is found, and the report names the place."""
    statement, expected = TAMPERINGS[name]
    cut = scored(300)[:14]
    values: dict[str, bytes] = {"forged": FORGED, "leaf": leaf_hash(FORGED), "cut": cut, "cut_leaf": leaf_hash(cut)}
    values["frontier"] = leaf_hash(FORGED) * ENTRIES.bit_count()
    place.tamper(statement, LOG, **{key: value for key, value in values.items() if re.search(f":{key}\\b", statement)})
    said = problems(place)
    assert any(re.search(expected, line) for line in said), said


def rewrite(place: Place, payloads: list[bytes]) -> None:
    """Forge a whole log that is internally consistent."""
    frontier = Frontier()
    kept: list[tuple[int, int, bytes]] = []
    for payload in payloads:
        frontier.append(leaf_hash(payload), kept)
    place.tamper('DELETE FROM entries WHERE "index" >= :size', size=len(payloads))
    place.tamper(
        'UPDATE entries SET payload = :forged, leaf = :leaf, slot = 9999 WHERE "index" = 300', forged=FORGED, leaf=leaf_hash(FORGED)
    )
    place.tamper("DELETE FROM nodes")
    for level, index, node in kept:
        place.tamper('INSERT INTO nodes (log_id, level, "index", hash) VALUES (1, :level, :at, :node)', level=level, at=index, node=node)
    place.tamper("UPDATE logs SET size = :size, frontier = :frontier", size=len(payloads), frontier=frontier.to_bytes())


def test_a_consistent_forgery_contradicts_the_checkpoint(place: Place) -> None:
    """A database with every hash rewritten still contradicts the checkpoint file outside it."""
    payloads = [scored(slot) for slot in range(ENTRIES)]
    payloads[300] = FORGED
    rewrite(place, payloads)
    [said] = problems(place)
    assert said.startswith("checkpoint: at size 600 expected root")


def test_a_rollback_is_behind_the_checkpoint(place: Place) -> None:
    """An honest but older copy of the database is reported as rolled back."""
    payloads = [scored(slot) for slot in range(500)]
    payloads[300] = FORGED
    rewrite(place, payloads)
    assert problems(place) == ["checkpoint: it covers 600 entries, the database has 500: rolled back or truncated"]


def test_missing_and_foreign_checkpoints(place: Place) -> None:
    """A log without its own checkpoint is not clean."""
    text = place.checkpoint().read_text("utf-8")
    place.checkpoint().write_text(text.replace("local", "other"), "utf-8")
    assert "expected origin ridecast/local/region/nyc, got ridecast/other/region/nyc" in problems(place)[0]
    place.checkpoint().unlink()
    assert problems(place) == ["checkpoint: region__nyc.txt is missing: no checkpoint outside the database confirms this log"]


def test_a_checkpoint_may_be_behind(place: Place) -> None:
    """Entries after the checkpoint are no problem; the report has the size that it covers."""
    old = place.checkpoint().read_bytes()
    place.open().append(LOG, ENTRIES, [scored(ENTRIES)])
    place.close()
    place.checkpoint().write_bytes(old)
    report = verify_log(place.open(), LOG)
    assert (report.entries, report.checkpoint_size, report.problems) == (ENTRIES + 1, ENTRIES, ())


def test_other_types_are_damage(tmp_path: Path) -> None:
    """SQLite lets any type into a column; an entry, a size or a place of another type is reported, never a crash."""
    place = Place(tmp_path)
    place.open().append(LOG, 0, [scored(slot) for slot in range(8)])
    place.close()
    place.tamper("UPDATE entries SET payload = 'text' WHERE \"index\" = 3")
    place.tamper('UPDATE entries SET leaf = 7 WHERE "index" = 5')
    said = problems(place)
    assert "entry 3: expected bytes, got str" in said
    assert any(line.startswith("entry 5: the bytes hash to") and line.endswith("the stored leaf hash is 7") for line in said)
    place.tamper("UPDATE logs SET size = 'many'")
    assert any("size: expected a number and a frontier, got 'many'" in line for line in problems(place))
    place.abandon()


def kept(place: Place, size: int, payloads: list[bytes], signer: Signer = SIGNER) -> StoredCheckpoint:
    """A checkpoint of a log of these entries, as a third party keeps it."""
    checkpoint = Checkpoint(origin_of("local", LOG), size, root([leaf_hash(payload) for payload in payloads[:size]]))
    return open_stored_checkpoint(sign_note(checkpoint.body(), signer), "kept.txt", [SIGNER.verifier])


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 599, 600])
def test_kept_checkpoints_are_compared(place: Place, size: int) -> None:
    """A kept checkpoint of any size agrees with a log that only grew, and with no other."""
    payloads = [scored(slot) for slot in range(ENTRIES)]
    ledger = place.open()
    assert verify_log(ledger, LOG, against=[kept(place, size, payloads)]).problems == ()
    if size:
        forked = [*payloads[: size - 1], FORGED]
        [found] = verify_log(ledger, LOG, against=[kept(place, size, forked), kept(place, size, payloads)]).problems
        assert re.match(rf"kept.txt: at size {size} expected root .*; checkpoint matches what is stored: the log was forked", str(found))


def test_kept_checkpoints_ahead_and_of_another_key(place: Place) -> None:
    """A kept checkpoint that is ahead names a rollback; one of another key names both keys, and is still compared with the log."""
    payloads = [scored(slot) for slot in range(ENTRIES + 1)]
    other = Signer("ridecast/local", bytes(32))
    ledger = place.open()
    [ahead] = verify_log(ledger, LOG, against=[kept(place, ENTRIES + 1, payloads)]).problems
    assert str(ahead) == "kept.txt: it covers 601 entries, the database has 600: rolled back or truncated"
    signed, forked = verify_log(ledger, LOG, against=[kept(place, 7, [FORGED] * 7, other)]).problems
    assert str(signed).startswith(f"kept.txt: signed by ridecast/local+{other.verifier.key_id.hex()}, expected ridecast/local+")
    assert "kept.txt: at size 7 expected root" in str(forked)
    assert verify_log(place.open(signer=other), LOG).problems[0].what.startswith("checkpoint: region nyc: region__nyc.txt: expected a good")


def test_a_file_that_is_no_checkpoint_is_a_usage_error() -> None:
    """A file that is not a signed checkpoint is a usage error, not damage."""
    for text in ("", "hello\n", "ridecast/local/region/nyc\n7\nAAAA\n"):
        with pytest.raises(UsageError, match=r"kept.txt: expected a signed checkpoint"):
            open_stored_checkpoint(text, "kept.txt", [SIGNER.verifier])


def test_unknown_log(place: Place) -> None:
    """A log that does not exist is reported as not found, not as clean."""
    with pytest.raises(NotFound, match="region tehran: no such log"):
        verify_log(place.open(), "region/tehran")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """A SQLite file whose pages are overwritten is reported as damage, never as a crash."""
    place = Place(tmp_path)
    place.open().append(LOG, 0, [scored(slot, size_bytes=500) for slot in range(ENTRIES)])
    place.close()
    path = tmp_path / "ledger" / "region__nyc.sqlite"
    data = bytearray(path.read_bytes())
    data[8192 * 4 : 8192 * 4 + 4096] = bytes(4096)
    path.write_bytes(data)
    said = problems(place)
    place.abandon()
    assert any(line.startswith("database: ") or "damaged" in line for line in said), said


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    """A damaged index is reported even if all entries read correctly: a lookup by slot would miss one."""
    place = Place(tmp_path)
    place.open().append(LOG, 0, [scored(slot) for slot in range(ENTRIES)])
    place.close()
    path = tmp_path / "ledger" / "region__nyc.sqlite"
    data = bytearray(path.read_bytes())
    data[data.rindex(b"SlotScoredpickups")] ^= 1  # Only the index by slot stores kind and subject next to each other.
    path.write_bytes(data)
    said = problems(place)
    place.abandon()
    assert said
    assert all(line.startswith("database: ") for line in said), said


def issued(blob: bytes, chunks_root: bytes, models: tuple[bytes, ...] = ()) -> bytes:
    """An issue that names a blob."""
    return encode(
        ForecastIssued(
            region="nyc",
            measure="pickups",
            slot=5,
            target_us=6,
            horizons_min=(15,),
            models=models,
            features_digest=b"",
            family="negative_binomial",
            spread=(),
            cells=16,
            chunks=1,
            root=chunks_root,
            blob=blob,
            fallbacks={},
            universe_version=1,
            slot_status="observed",
        )
    )


def test_blobs(tmp_path: Path) -> None:
    """Blobs that entries name must be there and hash to their digest; a missing snapshot costs only time."""
    place, blobs = Place(tmp_path), FileBlobs(tmp_path / "blobs")
    chunks: list[bytes] = []
    good = blobs.put(pack_blob(chunks), Retention.FORECAST)
    model = blobs.put(b"model", Retention.MODEL)
    snapshot = SnapshotTaken(region="nyc", slot=5, size=1, root=b"", blob=bytes(32), environment=b"")
    gone = ModelPromoted(region="nyc", measure="pickups", model=bytes(31) + b"\x01", alias="champion", reason="")
    place.open().append(LOG, 0, [issued(good, root([]), (model,)), issued(good, bytes(32), (model,)), encode(snapshot), encode(gone)])
    place.close()
    report = verify_log(place.open(), LOG, blobs)
    assert report.blobs == 3
    assert [problem.index for problem in report.problems] == [1, 3]
    assert "its chunks: expected root" in report.problems[0].what
    assert report.problems[1] == Problem(3, f"its model, blob {gone.model.hex()}, is missing")
    gone_by_right = verify_log(place.open(), LOG, blobs, has_expired=lambda named: named.digest == gone.model)
    assert ([1], 1) == ([problem.index for problem in gone_by_right.problems], gone_by_right.expired)
    next((tmp_path / "blobs").rglob(model.hex())).write_bytes(b"forged")
    assert "entry 0: its model: blob" in str(verify_log(place.open(), LOG, blobs).problems[0])
    place.abandon()


def test_roots_over_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a long log the root over the chunks is derived for a sample of issues, and for all on request."""
    monkeypatch.setattr("ledger.check.verify.ROOTS_WITHIN_ENTRIES", 2)
    place, blobs = Place(tmp_path), FileBlobs(tmp_path / "blobs")
    digests = [blobs.put(pack_blob([number.to_bytes(12, "big") * 2]), Retention.FORECAST) for number in range(40)]
    place.open().append(LOG, 0, [issued(digest, bytes(32)) for digest in digests])
    place.close()
    sampled = [index for index, digest in enumerate(digests) if index < 2 or digest[0] % 64 == 0]
    report = verify_log(place.open(), LOG, blobs)
    assert (40, len(sampled), sampled) == (report.blobs, report.roots, [problem.index for problem in report.problems])
    report = verify_log(place.open(), LOG, blobs, every_root=True)
    assert (40, list(range(40))) == (report.roots, [problem.index for problem in report.problems])
    next((tmp_path / "blobs").rglob(digests[39].hex())).write_bytes(b"forged")
    assert 39 in [problem.index for problem in verify_log(place.open(), LOG, blobs).problems]
    place.abandon()


def test_empty_digests_name_nothing() -> None:
    """A record without a blob names none."""
    assert blobs_of_record(ModelPromoted(region="nyc", measure="pickups", model=b"", alias="champion", reason="")) == ()
