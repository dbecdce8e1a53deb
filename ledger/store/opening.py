"""How the ledger and the blobs of an instance are opened, from plain values; the same for every process."""

from collections.abc import Callable
from pathlib import Path

from ledger.store.archive import Archive, with_archive
from ledger.store.blobs import Blobs, DatabaseBlobs, FileBlobs
from ledger.store.checkpoint_files import Key
from ledger.store.limits import WRITING, Limits
from ledger.store.log import Ledger, open_embedded
from ledger.store.tables import PostgresDatabases, database_engine


def open_ledger(
    home: Path,
    database: str,
    archive: str,
    *,
    instance: str,
    clock: Callable[[], float],
    signer: Key,
    limits: Limits = WRITING,
) -> tuple[Ledger, Blobs]:
    """The ledger and the blobs of an instance; close both.

    Args:
        home: Where the checkpoints are, and everything else without a database.
        database: Address of PostgreSQL, empty for SQLite's files in home.
        archive: Folder of old entries and blobs, empty for none.
        instance: Part of every log's origin.
        clock: Monotonic seconds; spaces the checkpoints.
        signer: Signs the checkpoints; who only reads gives what finds the public key.
        limits: Of the connections to PostgreSQL.
    Raises:
        UsageError: the address is not PostgreSQL's.
        StoreUnavailable: the server does not answer.
    """
    blobs: Blobs
    if database:
        engine = database_engine(database, limits)  # One pool for both: the server's connections are few.
        ledger = Ledger(PostgresDatabases(engine), home / "checkpoints", instance=instance, clock=clock, signer=signer)
        blobs = DatabaseBlobs(engine)
    else:
        ledger = open_embedded(home, instance=instance, clock=clock, signer=signer)
        blobs = FileBlobs(home / "blobs")
    ledger.archive = Archive(Path(archive)) if archive else None
    return ledger, with_archive(blobs, archive)
