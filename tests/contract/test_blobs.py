"""The contract of every blob store, for files and PostgreSQL."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from ledger.store.blobs import Blobs, FileBlobs, Retention, open_blobs
from schemas.errors import DamagedError, NotFound, StoreUnavailable


@dataclass
class BlobPlace:
    """A store, a second one opened on the same data, and a way to damage a blob unnoticed."""

    blobs: Blobs
    other: Blobs
    damage: Callable[[bytes], None]


@pytest.fixture(params=["files", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobPlace]:
    """The place of an empty blob store."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""

    def damage(digest: bytes) -> None:
        if url:
            engine = sa.create_engine(url)
            with engine.begin() as connection:
                connection.execute(sa.text("UPDATE blobs SET data = 'forged' WHERE digest = :digest"), {"digest": digest})
            engine.dispose()
        else:
            next((tmp_path / "blobs").rglob(digest.hex())).write_bytes(b"forged")

    found = BlobPlace(open_blobs(tmp_path, url), open_blobs(tmp_path, url), damage)
    yield found
    found.blobs.close()
    found.other.close()


@pytest.mark.parametrize("data", [b"", b"\x00\xff" * 3, bytes(range(256)) * 4000], ids=["empty", "small", "1 MB"])
def test_put_and_get(place: BlobPlace, data: bytes) -> None:
    """Bytes are returned exactly, by their SHA-256, from this store and from another process's."""
    digest = place.blobs.put(data, Retention.FORECAST)
    assert digest == hashlib.sha256(data).digest()
    assert place.blobs.get(digest) == place.other.get(digest) == data
    assert place.other.has(digest)


def test_a_matrix_is_a_blob_like_any_other(place: BlobPlace) -> None:
    """Bytes of the cache of features are returned exactly; damaged ones raise, and putting them again repairs them."""
    digest = place.blobs.put(b"matrix", Retention.FEATURES)
    assert place.other.get(digest) == b"matrix"
    assert place.blobs.retention(digest) is Retention.FEATURES
    place.damage(digest)
    with pytest.raises(DamagedError, match="the stored bytes hash to"):
        place.other.get(digest)
    place.blobs.put(b"matrix", Retention.FEATURES)
    assert place.other.get(digest) == b"matrix"


def test_unknown_blob(place: BlobPlace) -> None:
    """An unknown digest is not found, and the error names it."""
    digest = bytes(32)
    assert not place.blobs.has(digest)
    for ask in (place.blobs.get, place.blobs.retention, place.blobs.stored_at_s):
        with pytest.raises(NotFound, match=f"blob {digest.hex()}: not in the store"):
            ask(digest)
    place.blobs.remove(digest)


def test_damaged_blob_is_not_served(place: BlobPlace) -> None:
    """Edited bytes raise an error and are never returned; putting the blob again repairs it."""
    digest = place.blobs.put(b"chunks", Retention.FORECAST)
    place.damage(digest)
    with pytest.raises(DamagedError, match=f"blob {digest.hex()}: the stored bytes hash to"):
        place.blobs.get(digest)
    assert place.blobs.put(b"chunks", Retention.FORECAST) == digest
    assert place.blobs.get(digest) == b"chunks"


def test_the_longer_retention_applies(place: BlobPlace) -> None:
    """A blob that is stored twice has the longer retention, in either order."""
    for first, second in ((Retention.SNAPSHOT, Retention.MODEL), (Retention.PERMANENT, Retention.FORECAST)):
        data = f"{first} then {second}".encode()
        digest = place.blobs.put(data, first)
        place.blobs.put(data, second)
        assert place.blobs.retention(digest) is max(first, second, key=list(Retention).index)
        assert place.blobs.get(digest) == data
        assert list(place.blobs.digests()).count(digest) == 1


def test_digests_and_remove(place: BlobPlace) -> None:
    """Every blob is listed once, by class on request, until it is removed."""
    kept = {retention: place.blobs.put(retention.encode(), retention) for retention in Retention}
    assert sorted(place.blobs.digests()) == sorted(kept.values())
    assert list(place.blobs.digests(Retention.MODEL)) == [kept[Retention.MODEL]]
    place.blobs.remove(kept[Retention.MODEL])
    assert not place.other.has(kept[Retention.MODEL])
    assert list(place.blobs.digests(Retention.MODEL)) == []
    assert len(list(place.blobs.digests())) == len(Retention) - 1


def test_many_writers(place: BlobPlace) -> None:
    """Threads that put the same blobs concurrently leave each complete."""
    failures: list[Exception] = []

    def write(blobs: Blobs) -> None:
        try:
            for number in range(20):
                blobs.put(bytes([number]) * 5000, Retention.FORECAST)
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(blobs,)) for blobs in (place.blobs, place.other, place.blobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(place.blobs.get(digest)[0] for digest in place.blobs.digests()) == list(range(20))


def test_a_blob_has_the_time_of_its_last_put(place: BlobPlace) -> None:
    """Storing a blob again resets its age, which distinguishes an orphan from a blob that an entry will name soon."""
    first = place.blobs.put(b"first", Retention.FORECAST)
    put_s = place.blobs.stored_at_s(first)
    between = place.blobs.put(b"between", Retention.FORECAST)
    place.other.put(b"first", Retention.FORECAST)
    assert put_s <= place.blobs.stored_at_s(between) <= place.blobs.stored_at_s(first) < put_s + 60
    assert put_s < place.blobs.stored_at_s(first)


def test_a_database_of_the_first_release_gets_the_time_of_puts(postgres_url: str, tmp_path: Path) -> None:
    """Opening a table without that column adds it, and its blobs count as stored now."""
    blobs = open_blobs(tmp_path, postgres_url)
    digest = blobs.put(b"old", Retention.MODEL)
    blobs.close()
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE blobs DROP COLUMN stored_at"))
        before_s = connection.execute(sa.text("SELECT extract(epoch FROM now())")).scalar_one()
    engine.dispose()
    blobs = open_blobs(tmp_path, postgres_url)
    assert float(before_s) <= blobs.stored_at_s(digest)
    blobs.close()


def test_a_killed_writers_file_is_not_a_blob(tmp_path: Path) -> None:
    """The file of a writer that was killed before its rename is neither listed nor served."""
    blobs = open_blobs(tmp_path, "")
    digest = blobs.put(b"whole", Retention.MODEL)
    folder = tmp_path / "blobs" / "model" / digest.hex()[:2]
    (folder / f".{digest.hex()}.1-1.tmp").write_bytes(b"ha")
    assert list(blobs.digests()) == [digest]
    blobs.remove(digest)
    assert not blobs.has(digest)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder that cannot be created raises StoreUnavailable, not NotFound."""
    (tmp_path / "blobs").write_text("a file where the folder should be")
    with pytest.raises(StoreUnavailable, match=r"blob [0-9a-f]{64}: "):
        open_blobs(tmp_path, "").put(b"x", Retention.MODEL)


def test_a_blob_that_is_removed_during_a_lookup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file removed during a lookup is not found, which is not an error of the disk."""
    blobs = FileBlobs(tmp_path)
    monkeypatch.setattr(blobs, "_find", lambda digest: (Retention.SNAPSHOT, tmp_path / "gone"))
    with pytest.raises(NotFound, match="not in the store"):
        blobs.stored_at_s(bytes(32))
