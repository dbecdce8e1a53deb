"""Bytes too large for an entry: chunks, models, counts and snapshots, each identified by its SHA-256 digest.

A blob is durable before the entry that names it is appended; a blob that no entry names is not damage. The retention
class sets how long a blob is kept; `dataflows.jobs.retention` finds the expired ones.
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

from ledger.store.files import make_folder, sync_folder, write_durably, write_whole
from ledger.store.tables import BLOBS, database_engine, reading, translated, writing
from schemas.errors import DamagedError, NotFound


class Retention(StrEnum):
    """How long a blob is kept, shortest first."""

    FEATURES = "features"  # a cache of the newest issues' matrices: no entry names it as a blob, and it may be lost with the power
    SNAPSHOT = "snapshot"  # a cache: may be removed once a newer one exists
    FORECAST = "forecast"  # the chunks of an issue
    MODEL = "model"  # outlives the forecasts that name it
    PERMANENT = "permanent"  # counts, from which everything else is recomputed


RANK = {retention: rank for rank, retention in enumerate(Retention)}


class Blobs(Protocol):
    """Content-addressed bytes. Threads and processes may share a store."""

    def put(self, data: bytes, retention: Retention) -> bytes:
        """Store bytes and return their SHA-256; if stored before, the longer retention applies. They are durable, but for FEATURES."""

    def get(self, digest: bytes) -> bytes:
        """The bytes with a digest.

        Raises:
            NotFound: the store has no such blob.
            DamagedError: the stored bytes do not have this digest.
        """

    def has(self, digest: bytes) -> bool:
        """Whether a blob is stored; its bytes are not read."""

    def retention(self, digest: bytes) -> Retention:
        """The retention class of a blob; raises NotFound."""

    def stored_at_s(self, digest: bytes) -> float:
        """When a blob was last put, seconds since 1970 by the store's own clock; raises NotFound."""

    def digests(self, retention: Retention | None = None) -> Iterator[bytes]:
        """Digests of all blobs, or of one class, in no particular order."""

    def remove(self, digest: bytes) -> None:
        """Remove a blob; no error if it does not exist."""

    def close(self) -> None:
        """Close the store."""


def open_blobs(home: Path, database: str) -> Blobs:
    """The blobs of an instance: in PostgreSQL if an address is given, otherwise files in `home/blobs`.

    Archived blobs are in `ledger.store.archive`.
    """
    return DatabaseBlobs(database_engine(database)) if database else FileBlobs(home / "blobs")


class FileBlobs:
    """One file for each blob, `FOLDER/<retention>/<first byte>/<digest>`; byte and digest in hexadecimal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes, retention: Retention) -> bytes:
        """See `Blobs`."""
        digest = hashlib.sha256(data).digest()
        found = self._find(digest)
        with translated(f"blob {digest.hex()}"):
            if found is not None and RANK[found[0]] >= RANK[retention] and found[1].read_bytes() == data:
                os.utime(found[1])  # It is in use again, so it is not an orphan.
                sync_folder(found[1].parent)  # Its writer may have been killed before the rename was flushed.
                return digest
            path = self._path(digest, retention)
            if retention is Retention.FEATURES:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, data)
            else:
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
            except FileNotFoundError:  # Removed, or moved to a longer retention, since the check.
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
            except FileNotFoundError:  # Removed, or moved to a longer retention, since the check.
                raise _unknown(digest) from None

    def digests(self, retention: Retention | None = None) -> Iterator[bytes]:
        """See `Blobs`."""
        for folder in Retention if retention is None else (retention,):
            for path in (self._folder / folder).glob("??/*"):
                if len(path.name) == 64:  # Skips temporary files of writers that were killed.
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
        """Retention and path of a blob, longest retention first; None if it is not stored."""
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
        statement = insert(BLOBS).values(digest=digest, retention=retention.value, data=data)
        longer = [other.value for other in Retention if RANK[other] > RANK[retention]]
        longest = sa.case((BLOBS.c.retention.in_(longer), BLOBS.c.retention), else_=statement.excluded.retention)
        with writing(self._engine, f"blob {digest.hex()}") as connection:
            # Also replace the data: putting a damaged blob again repairs it.
            changed = {"retention": longest, "data": statement.excluded.data, "stored_at": sa.func.now()}
            connection.execute(statement.on_conflict_do_update(index_elements=["digest"], set_=changed))
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
        query = sa.select(BLOBS.c.digest)
        if retention is not None:
            query = query.where(BLOBS.c.retention == retention.value)
        with reading(self._engine, "blobs") as connection:
            found = list(connection.execute(query).scalars())
        yield from found

    def remove(self, digest: bytes) -> None:
        """See `Blobs`."""
        with writing(self._engine, f"blob {digest.hex()}") as connection:
            connection.execute(sa.delete(BLOBS).where(BLOBS.c.digest == digest))

    def close(self) -> None:
        """See `Blobs`."""
        self._engine.dispose()


class ReadBlobs(Protocol):
    """The part of a blob store that a check needs."""

    def get(self, digest: bytes) -> bytes:
        """See `Blobs`."""

    def close(self) -> None:
        """Close the store."""


class BlobFolder:
    """Blobs exported next to a log's tiles: one file each, named by its digest in hexadecimal."""

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
