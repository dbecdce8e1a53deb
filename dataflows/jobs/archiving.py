"""Moves old entries and blobs from the database to a cheaper disk: write, read back, record, and only then delete.

A crash at any point leaves them in both places or in the archive, never in neither; the next run resumes. Records that
every start needs (bootstrap, schemas, environments) and the data of models and histories stay in the database too.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from dataflows.jobs.bootstrap import slot_of_midnight
from dataflows.jobs.exports.tiles import BLOBS, export_blobs, export_tiles
from dataflows.stream.stores import Stores
from ledger.check.blob_check import CHUNKS, COUNTS, blobs_of_entry
from ledger.check.tile_check import check_export
from ledger.formats.keys import Verifier
from ledger.formats.tiles import TILE_WIDTH
from ledger.store.tables import translated
from ledger.views.append import append_shared
from ledger.views.regions import region_of
from schemas.errors import BootRefused, DamagedError, NotFound, UsageError
from schemas.records.kinds import ROWS
from schemas.records.record_skim import skim
from schemas.records.records import (
    RUNS_LOG,
    EntriesArchived,
    SlotClosed,
    region_log,
)

ARCHIVED = tuple(row.name for row in ROWS if row.archived)  # nearly every byte
OnEntries = Callable[[int, int], None]


def archive_region(
    stores: Stores, region: str, folder: Path, until: str, verifiers: Sequence[Verifier], on_entries: OnEntries | None = None
) -> EntriesArchived | None:
    """Move a region's entries before a local midnight to the archive.

    Args:
        stores: Open for writing.
        folder: The archive; every reader of the home needs its path.
        until: Local date, YYYY-MM-DD.
        verifiers: Keys that sign the log.
    Returns:
        The latest archive record; None when no entry is that old.
    Raises:
        UsageError: not a date.
        DamagedError: the archive does not read back; nothing was deleted.
    """
    log = region_log(region)
    definition = region_of(stores.ledger, region)
    first = stores.ledger.entry(log, SlotClosed, slot_of_midnight(definition, until))
    past = _archived(stores, log)
    stores.ledger.flush()
    known, note = stores.ledger.guard.read(log), stores.ledger.guard.note(log)
    if first is None:
        raise UsageError(f"--until: expected a day whose first slot region {region} has closed, got {until}")
    if known is None or note is None:
        raise BootRefused(f"{log}: no checkpoint covers the entries to archive")
    start, stop = past.stop if past else 0, min(first.index, known.size) // TILE_WIDTH * TILE_WIDTH  # Only full bundles never change.
    if stop < start or not stop:
        return past
    export_tiles(stores.ledger, log, note, folder, on_entries)
    export_blobs(stores.ledger, stores.blobs, log, stop, folder)
    digests = _blobs_before(stores, log, stop)
    _read_back(stores, folder / log, verifiers, digests)
    if stop > start:
        named = hashlib.sha256(b"".join(sorted(digests))).digest()
        past = EntriesArchived(log=log, start=start, stop=stop, root=stores.ledger.root_at(log, stop), blobs=len(digests), digests=named)
        append_shared(stores.ledger, RUNS_LOG, past)
        stores.ledger.flush()
    stores.ledger.drop_payloads(log, stop, ARCHIVED)
    for digest in digests:
        stores.blobs.remove(digest)
    stores.ledger.shrink(log)
    return past


def _archived(stores: Stores, log: str) -> EntriesArchived | None:
    records = stores.ledger.records(RUNS_LOG, EntriesArchived)
    return max((one for one in records if one.log == log), key=lambda one: one.stop, default=None)


def _blobs_before(stores: Stores, log: str, stop: int) -> set[bytes]:
    """Chunks and counts of slots that only archived entries name and that the store still has."""
    old, needed = set[bytes](), set[bytes]()
    for every in stores.ledger.logs():
        for stored in stores.ledger.scan(every):
            for one in blobs_of_entry(stored.index, skim(stored.payload)):
                goes = every == log and stored.index < stop and stored.kind in ARCHIVED and one.what in (CHUNKS, COUNTS)
                (old if goes else needed).add(one.digest)
    present = set(stores.blobs.digests())
    return (old - needed) & present


def _read_back(stores: Stores, place: Path, verifiers: Sequence[Verifier], digests: set[bytes]) -> None:
    def read(path: str) -> bytes:
        with translated(str(place / path)):
            try:
                return (place / path).read_bytes()
            except FileNotFoundError as cause:
                raise NotFound(f"{path}: not in the archive") from cause

    _, found = check_export(read, verifiers)
    if found.problems:
        raise DamagedError(f"archive {place}: the written files do not read back: {found.problems[0]}. Nothing was deleted")
    for digest in digests:
        if hashlib.sha256(read(f"{BLOBS}/{digest.hex()}")).digest() != digest:
            raise DamagedError(f"archive {place}: blob {digest.hex()} does not read back. Nothing was deleted")
