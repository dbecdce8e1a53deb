"""Where old entries and blobs lie when the database has let go of them: a folder of tlog-tiles on a cheaper disk.

The database keeps every hash and every row; of an archived entry the payload is empty, which its leaf hash tells from
an entry that is. What is read here is hashed by whoever asked for it, as if it came from the database. How a log gets
into the folder is in `dataflows.jobs.archiving`.
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
    """Whether an entry's bytes are gone from the database.

    >>> is_archived(bytes(32), b""), is_archived(bytes(32), b"here"), is_archived(EMPTY_LEAF, b"")
    (True, False, False)
    """
    return not payload and leaf != EMPTY_LEAF


class Archive:
    """Reads archived entries; the last bundle of entries is kept, as entries are mostly read in their order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: tuple[str, int, list[bytes]] = ("", -1, [])

    def payload(self, log: str, index: int) -> bytes:
        """The bytes of an entry.

        Raises:
            StoreUnavailable: the archive is not there at all.
            DamagedError: it is there, and does not hold the entry.
        """
        number, at = divmod(index, TILE_WIDTH)
        known, held, payloads = self._last
        if (known, held) != (log, number):
            payloads = self._bundle(log, index, Tile(None, number))
            self._last = log, number, payloads
        if at >= len(payloads):
            raise DamagedError(f"{display_name(log)}: entry {index}: its bundle in the archive holds {len(payloads)} entries")
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
            raise DamagedError(f"{display_name(log)}: entry {index}: the archive has lost {path}") from cause
        except OSError as cause:
            raise StoreUnavailable(f"{display_name(log)}: entry {index}: archive {path}: {cause.strerror or cause}") from cause


def missing(log: str, index: int, folder: str) -> StoreUnavailable:
    """What is said when an archived entry is asked for and there is no archive."""
    where = f"no archive of this log is in {folder}" if folder else "no archive is known"
    return StoreUnavailable(
        f"{display_name(log)}: entry {index} lies in the archive, and {where}: mount it, and set RIDECAST_ARCHIVE to the folder "
        "that `ridecast ledger archive` wrote"
    )


def blobs_at(home: Path, database: str, archive: str) -> Blobs:
    """The blobs of an instance, with those of its archive when there is one."""
    store = open_blobs(home, database)
    return ArchivedBlobs(store, Path(archive)) if archive else store


class ArchivedBlobs:
    """A store of blobs that reads from an archive what the store has let go of; see `ledger.store.blobs.Blobs`."""

    def __init__(self, store: Blobs, folder: Path) -> None:
        self._store, self._folder = store, folder

    def put(self, data: bytes, retention: Retention) -> bytes:
        """Store them; nothing is written to the archive here."""
        return self._store.put(data, retention)

    def get(self, digest: bytes) -> bytes:
        """From the store, else from the archive, where they are hashed again."""
        try:
            return self._store.get(digest)
        except NotFound:
            for folder in self._folders():
                with suppress(NotFound):
                    return BlobFolder(folder).get(digest)
            raise

    def has(self, digest: bytes) -> bool:
        """In the store or in the archive."""
        return self._store.has(digest) or any((folder / digest.hex()).is_file() for folder in self._folders())

    def retention(self, digest: bytes) -> Retention:
        """Of a blob in the store."""
        return self._store.retention(digest)

    def stored_at_s(self, digest: bytes) -> float:
        """Of a blob in the store."""
        return self._store.stored_at_s(digest)

    def digests(self, retention: Retention | None = None) -> Iterator[bytes]:
        """Those in the store."""
        return self._store.digests(retention)

    def remove(self, digest: bytes) -> None:
        """From the store; the archive keeps what it has."""
        self._store.remove(digest)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _folders(self) -> Iterator[Path]:
        return self._folder.glob("region/*/blobs")
