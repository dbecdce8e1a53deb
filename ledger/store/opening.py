"""How the ledger and the blobs of an instance are opened, from plain values; the same for every process."""

from collections.abc import Callable
from pathlib import Path

from ledger.store.archive import Archive, blobs_at
from ledger.store.blobs import Blobs
from ledger.store.checkpoint_files import Key
from ledger.store.log import Ledger, open_database, open_embedded


def open_ledger(home: Path, database: str, archive: str, *, instance: str, clock: Callable[[], float], signer: Key) -> tuple[Ledger, Blobs]:
    """The ledger and the blobs of an instance; close both.

    Args:
        home: Where the checkpoints are, and everything else without a database.
        database: Address of PostgreSQL, empty for SQLite's files in home.
        archive: Folder of old entries and blobs, empty for none.
        instance: Part of every log's origin.
        clock: Monotonic seconds; spaces the checkpoints.
        signer: Signs the checkpoints; who only reads gives what finds the public key.
    Raises:
        UsageError: the address is not PostgreSQL's.
        StoreUnavailable: the server does not answer.
    """
    if database:
        ledger = open_database(database, home / "checkpoints", instance=instance, clock=clock, signer=signer)
    else:
        ledger = open_embedded(home, instance=instance, clock=clock, signer=signer)
    ledger.archive = Archive(Path(archive)) if archive else None
    return ledger, blobs_at(home, database, archive)
