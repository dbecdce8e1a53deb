"""What every blob store promises, in files and in PostgreSQL."""

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
    """A store, another one opened on the same place, and a way to damage a blob behind their backs."""

    blobs: Blobs
    other: Blobs
    damage: Callable[[bytes], None]


@pytest.fixture(params=["files", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobPlace]:
    """An empty blob store's place."""
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
    """Bytes come back exactly, by their SHA-256, in this store and in another process's."""
    digest = place.blobs.put(data, Retention.FORECAST)
    assert digest == hashlib.sha256(data).digest()
    assert place.blobs.get(digest) == place.other.get(digest) == data
    assert place.other.has(digest)


def test_unknown_blob(place: BlobPlace) -> None:
    """A digest that nobody stored is not found, and says which."""
    digest = bytes(32)
    assert not place.blobs.has(digest)
    for ask in (place.blobs.get, place.blobs.retention, place.blobs.stored_at_s):
        with pytest.raises(NotFound, match=f"blob {digest.hex()}: not in the store"):
            ask(digest)
    place.blobs.remove(digest)


def test_damaged_blob_is_not_served(place: BlobPlace) -> None:
    """Edited bytes are raised, never returned; putting the blob again heals it."""
    digest = place.blobs.put(b"chunks", Retention.FORECAST)
    place.damage(digest)
    with pytest.raises(DamagedError, match=f"blob {digest.hex()}: the stored bytes hash to"):
        place.blobs.get(digest)
    assert place.blobs.put(b"chunks", Retention.FORECAST) == digest
    assert place.blobs.get(digest) == b"chunks"


def test_the_longer_retention_wins(place: BlobPlace) -> None:
    """A blob that is stored twice is kept as long as the longer class says, in either order."""
    for first, second in ((Retention.SNAPSHOT, Retention.MODEL), (Retention.PERMANENT, Retention.FORECAST)):
        data = f"{first} then {second}".encode()
        digest = place.blobs.put(data, first)
        place.blobs.put(data, second)
        assert place.blobs.retention(digest) is max(first, second, key=list(Retention).index)
        assert place.blobs.get(digest) == data
        assert list(place.blobs.digests()).count(digest) == 1


def test_digests_and_remove(place: BlobPlace) -> None:
    """Every blob is listed once, by class when asked, until it is removed."""
    kept = {retention: place.blobs.put(retention.encode(), retention) for retention in Retention}
    assert sorted(place.blobs.digests()) == sorted(kept.values())
    assert list(place.blobs.digests(Retention.MODEL)) == [kept[Retention.MODEL]]
    place.blobs.remove(kept[Retention.MODEL])
    assert not place.other.has(kept[Retention.MODEL])
    assert list(place.blobs.digests(Retention.MODEL)) == []
    assert len(list(place.blobs.digests())) == 3


def test_many_writers(place: BlobPlace) -> None:
    """Threads that put the same blobs at once leave each whole."""
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


def test_a_blob_knows_when_it_was_put_last(place: BlobPlace) -> None:
    """Stored again, a blob is as young as a new one; only stored time tells an orphan from what is about to be named."""
    first = place.blobs.put(b"first", Retention.FORECAST)
    put_s = place.blobs.stored_at_s(first)
    between = place.blobs.put(b"between", Retention.FORECAST)
    place.other.put(b"first", Retention.FORECAST)
    assert put_s <= place.blobs.stored_at_s(between) <= place.blobs.stored_at_s(first) < put_s + 60
    assert put_s < place.blobs.stored_at_s(first)


def test_a_database_of_the_first_release_learns_when_blobs_were_put(postgres_url: str, tmp_path: Path) -> None:
    """Opened by this release, a table without that column has it, and its blobs count as stored now."""
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
    """What a writer left when it was killed before its rename is neither listed nor served."""
    blobs = open_blobs(tmp_path, "")
    digest = blobs.put(b"whole", Retention.MODEL)
    folder = tmp_path / "blobs" / "model" / digest.hex()[:2]
    (folder / f".{digest.hex()}.1-1.tmp").write_bytes(b"ha")
    assert list(blobs.digests()) == [digest]
    blobs.remove(digest)
    assert not blobs.has(digest)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder that cannot be made is a broken world, not a lost blob."""
    (tmp_path / "blobs").write_text("a file where the folder should be")
    with pytest.raises(StoreUnavailable, match=r"blob [0-9a-f]{64}: "):
        open_blobs(tmp_path, "").put(b"x", Retention.MODEL)


def test_a_blob_that_goes_while_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swept between the look and the question, a file is unknown, and no error of the disk."""
    blobs = FileBlobs(tmp_path)
    monkeypatch.setattr(blobs, "_find", lambda digest: (Retention.SNAPSHOT, tmp_path / "gone"))
    with pytest.raises(NotFound, match="not in the store"):
        blobs.stored_at_s(bytes(32))
