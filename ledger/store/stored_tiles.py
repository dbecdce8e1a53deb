"""Tiles and bundles of C2SP tlog-tiles from a ledger's database, to serve and to export.

Tiles contain the stored hashes without a check: readers compare them with a checkpoint, as `ledger.check.tile_check` does.
The entries of a bundle are hashed and checked while they are read.
"""

from ledger.formats.merkle import HASH_SIZE_BYTES, TILE_HEIGHT, NodeReader
from ledger.formats.tiles import TILE_WIDTH, Tile, encode_bundle, parse_path, tile_nodes
from ledger.store import statements
from ledger.store.log import Ledger
from ledger.store.tables import display_name, reading
from schemas.errors import VERIFY_LEDGER, DamagedError


def stored_tile(ledger: Ledger, log: str, tile: Tile) -> bytes:
    """The bytes of a tile or a bundle of a log.

    Args:
        ledger: Open.
        log: Name of the log.
        tile: Within the log's size (`ledger.formats.tiles.require_tile`).
    Raises:
        NotFound: there is no such log.
        DamagedError: part of it is missing from the database, or an entry does not match its stored hash.
    """
    return stored_bundle(ledger, log, tile) if tile.level is None else b"".join(stored_hashes(ledger, log, tile))


def stored_bundle(ledger: Ledger, log: str, tile: Tile) -> bytes:
    """The encoded entries of a bundle; raises the same errors as `stored_tile`."""
    return encode_bundle(stored_payloads(ledger, log, tile))


def stored_payloads(ledger: Ledger, log: str, tile: Tile) -> list[bytes]:
    """The entries of a bundle as a list; raises the same errors as `stored_tile`."""
    first = tile.index * TILE_WIDTH
    found = ledger.read(log, first, first + tile.width)
    _require_count(log, tile, len(found))
    return [stored.payload for stored in found]


def stored_hashes(ledger: Ledger, log: str, tile: Tile) -> list[bytes]:
    """The hashes of a tile, in one query; raises the same errors as `stored_tile`."""
    engine, log_id = ledger.opened(log)
    level, first = (tile.level or 0) * TILE_HEIGHT, tile.index * TILE_WIDTH
    bounds = {"log_id": log_id, "level": level, "start": first, "stop": first + tile.width}
    with reading(engine, log) as connection:
        found = connection.execute(statements.nodes() if level else statements.leaves(), bounds).scalars().all()
    _require_count(log, tile, sum(len(value) == HASH_SIZE_BYTES for value in found))
    return list(found)


def stored_nodes(ledger: Ledger, log: str, size: int) -> NodeReader:
    """A reader of a log's nodes at a size that reads whole tiles: a path takes a few queries, not one per hash.

    It caches tiles, so use one for each size. The hashes are not verified: check the result against a root.
    """
    return tile_nodes(lambda path: stored_tile(ledger, log, parse_path(path)), size)


def _require_count(log: str, tile: Tile, found: int) -> None:
    if found != tile.width:
        raise DamagedError(f"{display_name(log)}: {tile.path()}: expected {tile.width} in the database, got {found}", remedy=VERIFY_LEDGER)
