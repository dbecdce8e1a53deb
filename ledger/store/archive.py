"""Where old entries and blobs are stored after their removal from the database: a folder of tlog-tiles on a cheaper disk.

The database keeps every hash and every row. An archived entry has an empty payload there; its leaf hash distinguishes it
from an entry that is really empty. Callers hash what they read here, as for bytes from the database. Archiving itself is in
`dataflows.jobs.archiving`.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ledger.formats.merkle import leaf_hash
from ledger.formats.tiles import CHECKPOINT_PATH, TILE_WIDTH, Tile, decode_bundle
from ledger.store.blobs import BlobFolder, Blobs, Retention, open_blobs
from ledger.store.tables import display_name
from schemas.errors import DamagedError, NotFound, StoreUnavailable

EMPTY_LEAF = leaf_hash(b"")


def is_archived(leaf: bytes, payload: bytes) -> bool:
    """Whether an entry's bytes were removed from the database.

    >>> is_archived(bytes(32), b""), is_archived(bytes(32), b"here"), is_archived(EMPTY_LEAF, b"")
    (True, False, False)
    """
    return not payload and leaf != EMPTY_LEAF


class Archive:
    """Reads archived entries; caches the last bundle, because entries are mostly read in order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: tuple[str, int, list[bytes]] = ("", -1, [])

    def payload(self, log: str, index: int) -> bytes:
        """The bytes of an entry.

        Raises:
            StoreUnavailable: there is no archive of this log.
            DamagedError: the archive exists but does not contain the entry.
        """
        number, at = divmod(index, TILE_WIDTH)
        last_log, last_number, payloads = self._last
        if (last_log, last_number) != (log, number):
            payloads = self._bundle(log, index, Tile(None, number))
            self._last = log, number, payloads
        if at >= len(payloads):
            raise DamagedError(f"{display_name(log)}: entry {index}: its bundle in the archive has {len(payloads)} entries")
        return payloads[at]

    def _bundle(self, log: str, index: int, tile: Tile) -> list[bytes]:
        path = self._folder / log / tile.path()
        try:
            return decode_bundle(path.read_bytes())
        except DamagedError as damage:
            raise DamagedError(f"{display_name(log)}: entry {index}: {path}: {damage}") from damage
        except FileNotFoundError as cause:
            if not (self._folder / log / CHECKPOINT_PATH).is_file():
                raise missing(log, index, str(self._folder)) from cause
            raise DamagedError(f"{display_name(log)}: entry {index}: {path} is missing from the archive") from cause
        except OSError as cause:
            raise StoreUnavailable(f"{display_name(log)}: entry {index}: archive {path}: {cause.strerror or cause}") from cause


def missing(log: str, index: int, folder: str) -> StoreUnavailable:
    """The error for an archived entry that is read when there is no archive."""
    where = f"{folder} has no archive of this log" if folder else "no archive is configured"
    return StoreUnavailable(
        f"{display_name(log)}: entry {index} is in the archive, but {where}: mount it, and set RIDECAST_ARCHIVE to the folder "
        "that `ridecast ledger archive` wrote"
    )


def blobs_at(home: Path, database: str, archive: str) -> Blobs:
    """The blobs of an instance, including those of its archive if there is one."""
    return with_archive(open_blobs(home, database), archive)


def with_archive(store: Blobs, archive: str) -> Blobs:
    """A blob store and the archive behind it, if there is one."""
    return ArchivedBlobs(store, Path(archive)) if archive else store


class ArchivedBlobs:
    """A blob store that falls back to an archive for blobs removed from the store; see `ledger.store.blobs.Blobs`."""

    def __init__(self, store: Blobs, folder: Path) -> None:
        self._store, self._folder = store, folder

    def put(self, data: bytes, retention: Retention) -> bytes:
        """Write to the store; the archive is not written here."""
        return self._store.put(data, retention)

    def get(self, digest: bytes) -> bytes:
        """Read from the store, otherwise from the archive; both verify the digest."""
        try:
            return self._store.get(digest)
        except NotFound:
            for folder in self._folders():
                with suppress(NotFound):
                    return BlobFolder(folder).get(digest)
            raise

    def has(self, digest: bytes) -> bool:
        """Whether the store or the archive has the blob."""
        return self._store.has(digest) or any((folder / digest.hex()).is_file() for folder in self._folders())

    def retention(self, digest: bytes) -> Retention:
        """Retention class of a blob in the store."""
        return self._store.retention(digest)

    def stored_at_s(self, digest: bytes) -> float:
        """When a blob was put into the store."""
        return self._store.stored_at_s(digest)

    def digests(self, retention: Retention | None = None) -> Iterator[bytes]:
        """Digests of the blobs in the store."""
        return self._store.digests(retention)

    def remove(self, digest: bytes) -> None:
        """Remove from the store; the archive is unchanged."""
        self._store.remove(digest)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _folders(self) -> Iterator[Path]:
        return self._folder.glob("region/*/blobs")
