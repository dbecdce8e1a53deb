"""Exports a log as C2SP tlog-tiles, a folder of files that standard tools read; a later export extends the folder.

A folder matches its checkpoint at any moment: tiles and bundles are written durably first, the checkpoint last.
The next export repairs what a crash left behind. Blobs are not part of tlog-tiles; they can be exported beside them.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ledger.check.blob_check import blobs_of_record
from ledger.formats.checkpoint import Checkpoint, parse_checkpoint
from ledger.formats.merkle import TILE_HEIGHT, leaf_hash, range_root, root
from ledger.formats.note import parse_note
from ledger.formats.tiles import CHECKPOINT_PATH, TILE_WIDTH, Tile, encode_bundle, tile_nodes, tiles_between
from ledger.store.blobs import Blobs
from ledger.store.files import locked, make_folder, sync_folder, write_durably
from ledger.store.log import Ledger
from ledger.store.stored_tiles import stored_hashes, stored_payloads
from ledger.store.tables import display_name, translated
from schemas.errors import VERIFY_LEDGER, DamagedError, LedgerError, NotFound
from schemas.records.record_codec import decode

BLOBS = "blobs"
UNKNOWN = "unknown"  # kind of an entry that this version cannot read (`schemas.records.record_codec.place_in`)
EXPORT_AGAIN = "remove the folder's checkpoint and export again, which rewrites every file"

MOST_PENDING = 1_000  # files written and not flushed yet

OnEntries = Callable[[int, int], None]  # (entries done, entries in total)


@dataclass(frozen=True, slots=True)
class TilesExported:
    """The result of an export: the log's size in the folder before and after, and the number of new files."""

    log: str
    old_size: int
    size: int
    files: int


@dataclass(frozen=True, slots=True)
class BlobsExported:
    """The result of an export of blobs: the number of new files, and of blobs that the store no longer has."""

    files: int
    gone: int


def export_tiles(ledger: Ledger, log: str, note: str, folder: Path, on_entries: OnEntries | None = None) -> TilesExported:
    """Bring a folder up to a checkpoint of a log.

    Args:
        ledger: The ledger of the log.
        log: Its name; its files go to `folder/<log>`.
        note: A signed checkpoint of it, which becomes the folder's.
        folder: May contain other logs, and earlier exports of this one.
        on_entries: Called with (done, total) entries of this export, about once for each bundle.
    Raises:
        LedgerError: the folder has another history of the log, or a longer one.
        DamagedError: the database does not match the checkpoint; the folder keeps its old checkpoint.
        StoreUnavailable: the database or the disk does not answer.
    Source:
        C2SP tlog-tiles.
    """
    checkpoint = parse_checkpoint(parse_note(note)[0])
    place = folder / log
    with translated(str(place)):
        make_folder(place)
        with locked(folder / ".lock"):
            old_size = _known_size(ledger, log, checkpoint, place)
            export = _Export(ledger, log, place, old_size, checkpoint.size)
            export.write(on_entries or (lambda done, total: None))
            export.demand(checkpoint)
            write_durably(place / CHECKPOINT_PATH, note.encode("utf-8"))
            _remove_partial(place, old_size, checkpoint.size)
    return TilesExported(log, old_size, checkpoint.size, export.files)


def _known_size(ledger: Ledger, log: str, checkpoint: Checkpoint, place: Path) -> int:
    """Size of the log in the folder; checks that it is the same log."""
    try:
        text = (place / CHECKPOINT_PATH).read_bytes().decode("utf-8")
    except FileNotFoundError:
        return 0
    except UnicodeDecodeError as cause:
        raise DamagedError(f"{place / CHECKPOINT_PATH}: expected a signed note: {cause}") from cause
    known = parse_checkpoint(parse_note(text)[0])
    way_out = "keep this folder as evidence, and export to an empty one"
    if known.origin != checkpoint.origin:
        raise LedgerError(f"{display_name(log)}: {place} holds {known.origin}, expected {checkpoint.origin}; {way_out}")
    if known.size > checkpoint.size:
        raise LedgerError(
            f"{display_name(log)}: {place} holds {known.size} entries, the checkpoint {checkpoint.size}: the log was rolled back; {way_out}"
        )
    if ledger.root_at(log, known.size) != known.root:
        raise LedgerError(f"{display_name(log)}: {place} holds other entries than the database, below size {known.size}; {way_out}")
    return known.size


class _Export:
    """Writes the files that a log's growth adds: bundles in order, and the tiles of hashes over them."""

    def __init__(self, ledger: Ledger, log: str, place: Path, old_size: int, size: int) -> None:
        self._ledger, self._log, self._place = ledger, log, place
        self._old_size, self._size = old_size, size
        self._nodes: dict[tuple[int, int], bytes] = {}  # (level of tiles, index) -> root of a tile that is full now
        self._pending: list[Path] = []  # not flushed yet
        self.files = 0

    def write(self, on_entries: OnEntries) -> None:
        """Write every tile and bundle that is new since the old size."""
        for tile in tiles_between(self._old_size, self._size):
            if tile.level is None:
                self._bundle(tile)
                on_entries(tile.index * TILE_WIDTH + tile.width - self._old_size, self._size - self._old_size)
            elif tile.level:
                self._above(tile)
            if len(self._pending) >= MOST_PENDING:
                self._settle()
        self._settle()

    def demand(self, checkpoint: Checkpoint) -> None:
        """Hash the right edge of each level in the folder; the full tiles were checked as they were written."""
        if not checkpoint.size:
            return
        found = range_root(0, checkpoint.size, tile_nodes(self._read, checkpoint.size))
        if found != checkpoint.root:
            raise DamagedError(
                f"{display_name(self._log)}: at size {checkpoint.size} the tiles in {self._place} hash to {found.hex()}, "
                f"the checkpoint says {checkpoint.root.hex()}",
                remedy=f"{VERIFY_LEDGER}; if that is clean, {EXPORT_AGAIN}",
            )

    def _bundle(self, tile: Tile) -> None:
        """Write a bundle and the lowest tile over it, both from the same payloads, so that they cannot disagree."""
        payloads = stored_payloads(self._ledger, self._log, tile)
        leaves = [leaf_hash(payload) for payload in payloads]
        self._file(tile, encode_bundle(payloads))
        self._hashes(Tile(0, tile.index, tile.width), leaves)

    def _above(self, tile: Tile) -> None:
        """Write a tile of nodes; nodes older than this export come from the database."""
        level, first = tile.level or 0, tile.index * TILE_WIDTH
        older = [] if (level, first) in self._nodes else stored_hashes(self._ledger, self._log, tile)
        hashes = [self._nodes.pop((level, first + at)) if (level, first + at) in self._nodes else older[at] for at in range(tile.width)]
        self._hashes(tile, hashes)

    def _hashes(self, tile: Tile, hashes: list[bytes]) -> None:
        if tile.width == TILE_WIDTH:
            level = (tile.level or 0) + 1
            node = root(hashes)
            if node != self._ledger.node(self._log, level * TILE_HEIGHT, tile.index):
                raise DamagedError(f"{display_name(self._log)}: {tile.path()} does not hash to its stored node", remedy=VERIFY_LEDGER)
            self._nodes[level, tile.index] = node
        self._file(tile, b"".join(hashes))

    def _file(self, tile: Tile, data: bytes) -> None:
        path = self._place / tile.path()
        self._pending.append(path)  # An existing file may not be durable: its writer may have been killed.
        with suppress(FileNotFoundError):
            if path.read_bytes() == data:
                return
        make_folder(path.parent)
        write_beside(path, data)
        self.files += 1

    def _settle(self) -> None:
        """Flush the written files together: many flushes in a row cost a disk little more than one."""
        for path in self._pending:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        for folder in {path.parent for path in self._pending}:
            sync_folder(folder)
        self._pending.clear()

    def _read(self, path: str) -> bytes:
        try:
            return (self._place / path).read_bytes()
        except FileNotFoundError as cause:
            raise NotFound(f"{self._place}: {path}, which an earlier export wrote, is missing: {EXPORT_AGAIN}") from cause


def write_beside(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or none; it is not durable yet."""
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_bytes(data)
    beside.replace(path)


def _remove_partial(place: Path, old_size: int, size: int) -> None:
    """Remove partial tiles of older sizes whose full tile now exists (C2SP tlog-tiles, "Partial Tiles")."""
    for tile in tiles_between(old_size, size):
        if tile.width == TILE_WIDTH:
            folder = place / f"{tile.path()}.p"
            with suppress(FileNotFoundError):
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()


def export_blobs(ledger: Ledger, blobs: Blobs, log: str, size: int, folder: Path, on_entries: OnEntries | None = None) -> BlobsExported:
    """Write the blobs that a log's entries name beside its tiles, `folder/<log>/blobs/<sha256>`.

    Args:
        ledger, blobs: Open.
        log: Name of the log.
        size: Number of entries to scan.
        folder: As in `export_tiles`; blobs already there are not read again.
        on_entries: Called with (done, total) entries.
    Raises:
        DamagedError: a blob does not hash to its name.
        StoreUnavailable: a store or the disk does not answer.
    """
    place = folder / log / BLOBS
    files, gone = 0, set[bytes]()
    with translated(str(place)):
        make_folder(place)
        there = {path.name for path in place.iterdir()}
        for stored in ledger.scan(log, 0, size):
            if on_entries is not None:
                on_entries(stored.index + 1, size)
            if stored.kind == UNKNOWN:
                continue  # Written by a newer version; only that version knows its blobs.
            for _, digest in blobs_of_record(decode(stored.payload)):
                if digest.hex() in there or digest in gone:
                    continue
                try:
                    write_durably(place / digest.hex(), blobs.get(digest))
                except NotFound:  # Expired, or a snapshot that a newer one replaced.
                    gone.add(digest)
                    continue
                there.add(digest.hex())
                files += 1
    return BlobsExported(files, len(gone))
