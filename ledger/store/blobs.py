"""Bytes too large for an entry: chunks, models, counts and snapshots, each named by the SHA-256 of its bytes.

A blob is durable before the entry that names it is appended; a blob that no entry names is not damage. How long a
blob is kept is said by its retention class; what has had its time is found in `dataflows.jobs.retention`.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Engine

from ledger.store.files import make_folder, sync_folder, write_durably
from ledger.store.tables import BLOBS, database_engine, reading, translated, writing
from schemas.errors import DamagedError, NotFound


class Retention(StrEnum):
    """How long a blob is kept, shortest first."""

    SNAPSHOT = "snapshot"  # a cache: any may be removed when a newer one exists
    FORECAST = "forecast"  # the chunks of an issue
    MODEL = "model"  # outlives the forecasts that name it
    PERMANENT = "permanent"  # counts: what everything else is recomputed from


RANK = {retention: rank for rank, retention in enumerate(Retention)}


class Blobs(Protocol):
    """Content-addressed bytes. Threads and processes may share a store."""

    def put(self, data: bytes, retention: Retention) -> bytes:
        """Store bytes durably and return their SHA-256; stored again, they keep the longer retention."""

    def get(self, digest: bytes) -> bytes:
        """The bytes with that digest.

        Raises:
            NotFound: there are none.
            DamagedError: the stored bytes do not hash to it.
        """

    def has(self, digest: bytes) -> bool:
        """Whether bytes are stored under a digest; they are not read."""

    def retention(self, digest: bytes) -> Retention:
        """The retention class of a blob; raises NotFound."""

    def stored_at_s(self, digest: bytes) -> float:
        """When a blob was last put, seconds since 1970 by the store's own clock; raises NotFound."""

    def digests(self, retention: Retention | None = None) -> Iterator[bytes]:
        """Digests of all blobs, or of one class, in no order that means anything."""

    def remove(self, digest: bytes) -> None:
        """Forget a blob; quiet if it is gone."""

    def close(self) -> None:
        """Close what is open."""


def open_blobs(home: Path, database: str) -> Blobs:
    """The blobs of an instance, in PostgreSQL if there is an address, else files in `home/blobs`; for old ones `ledger.store.archive`."""
    return DatabaseBlobs(database_engine(database)) if database else FileBlobs(home / "blobs")


class FileBlobs:
    """One file for each blob, `FOLDER/<retention>/<first byte>/<digest>`, all in hexadecimal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes, retention: Retention) -> bytes:
        """See `Blobs`."""
        digest = hashlib.sha256(data).digest()
        found = self._find(digest)
        with translated(f"blob {digest.hex()}"):
            if found is not None and RANK[found[0]] >= RANK[retention] and found[1].read_bytes() == data:
                os.utime(found[1])  # It is wanted again, and no orphan.
                sync_folder(found[1].parent)  # Whoever wrote it may have been killed before its rename was flushed.
                return digest
            path = self._path(digest, retention)
            if not path.parent.is_dir():
                make_folder(path.parent)
            write_durably(path, data)
            if found is not None and RANK[found[0]] < RANK[retention]:
                found[1].unlink(missing_ok=True)
        return digest

    def get(self, digest: bytes) -> bytes:
        """See `Blobs`."""
        found = self._find(digest)
        if found is None:
            raise _unknown(digest)
        with translated(f"blob {digest.hex()}"):
            try:
                data = found[1].read_bytes()
            except FileNotFoundError:  # Removed, or moved to a longer retention, since we looked.
                again = self._find(digest)
                if again is None:
                    raise _unknown(digest) from None
                data = again[1].read_bytes()
        return _checked(digest, data)

    def has(self, digest: bytes) -> bool:
        """See `Blobs`."""
        return self._find(digest) is not None

    def retention(self, digest: bytes) -> Retention:
        """See `Blobs`."""
        found = self._find(digest)
        if found is None:
            raise _unknown(digest)
        return found[0]

    def stored_at_s(self, digest: bytes) -> float:
        """See `Blobs`."""
        found = self._find(digest)
        if found is None:
            raise _unknown(digest)
        with translated(f"blob {digest.hex()}"):
            try:
                return found[1].stat().st_mtime
            except FileNotFoundError:  # Removed, or moved to a longer retention, since we looked.
                raise _unknown(digest) from None

    def digests(self, retention: Retention | None = None) -> Iterator[bytes]:
        """See `Blobs`."""
        for kept in Retention if retention is None else (retention,):
            for path in (self._folder / kept).glob("??/*"):
                if len(path.name) == 64:  # Not a temporary file of a writer that was killed.
                    with suppress(ValueError):
                        yield bytes.fromhex(path.name)

    def remove(self, digest: bytes) -> None:
        """See `Blobs`."""
        with translated(f"blob {digest.hex()}"):
            while found := self._find(digest):
                found[1].unlink(missing_ok=True)

    def close(self) -> None:
        """See `Blobs`."""

    def _find(self, digest: bytes) -> tuple[Retention, Path] | None:
        """Where a blob lies, the longest retention first."""
        with translated(f"blob {digest.hex()}"):
            for retention in reversed(Retention):
                path = self._path(digest, retention)
                if path.is_file():
                    return retention, path
        return None

    def _path(self, digest: bytes, retention: Retention) -> Path:
        name = digest.hex()
        return self._folder / retention / name[:2] / name


class DatabaseBlobs:
    """One row for each blob, in PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, data: bytes, retention: Retention) -> bytes:
        """See `Blobs`."""
        digest = hashlib.sha256(data).digest()
        wanted = insert(BLOBS).values(digest=digest, retention=retention.value, data=data)
        stronger = [kept.value for kept in Retention if RANK[kept] > RANK[retention]]
        kept = sa.case((BLOBS.c.retention.in_(stronger), BLOBS.c.retention), else_=wanted.excluded.retention)
        with writing(self._engine, f"blob {digest.hex()}") as connection:
            # The data too: putting a blob again heals one that was damaged.
            changed = {"retention": kept, "data": wanted.excluded.data, "stored_at": sa.func.now()}
            connection.execute(wanted.on_conflict_do_update(index_elements=["digest"], set_=changed))
        return digest

    def get(self, digest: bytes) -> bytes:
        """See `Blobs`."""
        with reading(self._engine, f"blob {digest.hex()}") as connection:
            data = connection.execute(sa.select(BLOBS.c.data).where(BLOBS.c.digest == digest)).scalar_one_or_none()
        if data is None:
            raise _unknown(digest)
        return _checked(digest, data)

    def has(self, digest: bytes) -> bool:
        """See `Blobs`."""
        with reading(self._engine, f"blob {digest.hex()}") as connection:
            return connection.execute(sa.select(BLOBS.c.retention).where(BLOBS.c.digest == digest)).scalar_one_or_none() is not None

    def retention(self, digest: bytes) -> Retention:
        """See `Blobs`."""
        with reading(self._engine, f"blob {digest.hex()}") as connection:
            found = connection.execute(sa.select(BLOBS.c.retention).where(BLOBS.c.digest == digest)).scalar_one_or_none()
        if found is None:
            raise _unknown(digest)
        return Retention(found)

    def stored_at_s(self, digest: bytes) -> float:
        """See `Blobs`."""
        with reading(self._engine, f"blob {digest.hex()}") as connection:
            found = connection.execute(sa.select(BLOBS.c.stored_at).where(BLOBS.c.digest == digest)).scalar_one_or_none()
        if found is None:
            raise _unknown(digest)
        return float(found.timestamp())

    def digests(self, retention: Retention | None = None) -> Iterator[bytes]:
        """See `Blobs`."""
        wanted = sa.select(BLOBS.c.digest)
        if retention is not None:
            wanted = wanted.where(BLOBS.c.retention == retention.value)
        with reading(self._engine, "blobs") as connection:
            found = list(connection.execute(wanted).scalars())
        yield from found

    def remove(self, digest: bytes) -> None:
        """See `Blobs`."""
        with writing(self._engine, f"blob {digest.hex()}") as connection:
            connection.execute(sa.delete(BLOBS).where(BLOBS.c.digest == digest))

    def close(self) -> None:
        """See `Blobs`."""
        self._engine.dispose()


class ReadBlobs(Protocol):
    """What a check needs of a store of blobs."""

    def get(self, digest: bytes) -> bytes:
        """As `ledger.store.blobs.Blobs`."""

    def close(self) -> None:
        """Close what is open."""


class BlobFolder:
    """Blobs that were exported beside a log's tiles: files by their digest in hexadecimal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, digest: bytes) -> bytes:
        """See `ReadBlobs`."""
        path = self._folder / digest.hex()
        with translated(str(path)):
            try:
                data = path.read_bytes()
            except FileNotFoundError as cause:
                raise NotFound(f"blob {digest.hex()}: not in {self._folder}") from cause
        return _checked(digest, data)

    def close(self) -> None:
        """See `ReadBlobs`."""


def _unknown(digest: bytes) -> NotFound:
    return NotFound(f"blob {digest.hex()}: not in the store")


def _checked(digest: bytes, data: bytes) -> bytes:
    found = hashlib.sha256(data).digest()
    if found != digest:
        raise DamagedError(f"blob {digest.hex()}: the stored bytes hash to {found.hex()}")
    return data
