"""Paths and contents of the files of an exported log: the layout of C2SP tlog-tiles.

Arithmetic and encodings only; hashes and entries come from callables. The checkpoint next to the tiles is a signed
note (`ledger.formats.note`); `ledger.check.tile_check` verifies a tree of tiles.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ledger.formats.merkle import HASH_SIZE_BYTES, TILE_HEIGHT, NodeReader, root
from schemas.errors import ContractError, DamagedError, NotFound

TILE_WIDTH = 1 << TILE_HEIGHT  # hashes in a full tile, entries in a full bundle
CHECKPOINT_PATH = "checkpoint"
HIGHEST_LEVEL = 63  # C2SP tlog-tiles, "Merkle Tree"
LENGTH_SIZE_BYTES = 2  # C2SP tlog-tiles, "Log entries": big-endian uint16 before each entry
KEPT_TILES = 32  # cached by `tile_nodes`; a path in a large log reads four
PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?")

Read = Callable[[str], bytes]  # path below the log's prefix -> bytes; raises NotFound if there is no file


@dataclass(frozen=True, slots=True)
class Tile:
    """One file of the layout: up to 256 hashes of a level, or up to 256 entries.

    Attributes:
        level: Tile level: its hashes are nodes at level x 8 of the tree; None for a bundle of entries.
        index: Position in its level, from 0.
        width: Number of hashes or entries; fewer than 256 only at the right edge of a tree.
    """

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def path(self) -> str:
        """Path below the log's prefix (C2SP tlog-tiles, "Merkle Tree" and "Log entries").

        >>> Tile(0, 1_234_067).path(), Tile(None, 5, 17).path()
        ('tile/0/x001/x234/067', 'tile/entries/005.p/17')
        """
        groups = [f"{self.index % 1000:03}"]
        above = self.index // 1000
        while above:
            groups.append(f"x{above % 1000:03}")
            above //= 1000
        folder = "entries" if self.level is None else str(self.level)
        return f"tile/{folder}/{'/'.join(reversed(groups))}{'' if self.width == TILE_WIDTH else f'.p/{self.width}'}"

    def whole(self) -> "Tile":
        """The full tile that replaces this one once the log has grown.

        >>> Tile(1, 3, 7).whole()
        Tile(level=1, index=3, width=256)
        """
        return Tile(self.level, self.index)


def parse_path(path: str) -> Tile:
    """The tile at a path.

    Raises:
        NotFound: the path is not the canonical path of a tile.

    >>> parse_path("tile/1/x003/x057/500.p/5")
    Tile(level=1, index=3057500, width=5)
    """
    parts = PATH.fullmatch(path)
    if parts is not None:
        level = None if parts[1] == "entries" else int(parts[1])
        tile = Tile(level, int(parts[2].replace("/x", "").replace("/", "").replace("x", "")), int(parts[3] or TILE_WIDTH))
        if (level or 0) <= HIGHEST_LEVEL and 1 <= tile.width <= TILE_WIDTH and tile.path() == path:
            return tile
    raise NotFound(f"tile: expected tile/<level>/<index>[.p/<width>] or tile/entries/<index>[.p/<width>], got {path[:120]!r}")


def tiles_between(old_size: int, size: int) -> Iterator[Tile]:
    """The tiles and bundles to write when a log has grown: those of its new size that the old size did not have.

    Raises:
        ContractError: not 0 <= old_size <= size.
    Source:
        C2SP tlog-tiles, "Partial Tiles".

    >>> [tile.path() for tile in tiles_between(0, 256)]
    ['tile/entries/000', 'tile/0/000', 'tile/1/000.p/1']
    >>> [tile.path() for tile in tiles_between(255, 258)]
    ['tile/entries/000', 'tile/entries/001.p/2', 'tile/0/000', 'tile/0/001.p/2', 'tile/1/000.p/1']
    """
    if not 0 <= old_size <= size:
        raise ContractError(f"tiles: expected an old size in [0, {size}], got {old_size}")
    yield from _tiles_of_level(None, old_size, size)
    level = 0
    while size >> level * TILE_HEIGHT:
        yield from _tiles_of_level(level, old_size >> level * TILE_HEIGHT, size >> level * TILE_HEIGHT)
        level += 1


def _tiles_of_level(level: int | None, old_count: int, count: int) -> Iterator[Tile]:
    """Tiles that contain the nodes [old_count, count) of a level."""
    for index in range(old_count // TILE_WIDTH, count // TILE_WIDTH):
        yield Tile(level, index)
    if count % TILE_WIDTH and count > old_count:
        yield Tile(level, count // TILE_WIDTH, count % TILE_WIDTH)


def require_tile(tile: Tile, size: int) -> None:
    """Raise NotFound unless a log of the given size has the tile, or had it at a smaller size.

    >>> require_tile(Tile(0, 0, 3), 5)
    >>> require_tile(Tile(0, 0, 6), 5)
    Traceback (most recent call last):
        ...
    schemas.errors.NotFound: tile/0/000.p/6: expected a tile of a log of 5 entries
    """
    if tile.index * TILE_WIDTH + tile.width > size >> (tile.level or 0) * TILE_HEIGHT:
        raise NotFound(f"{tile.path()}: expected a tile of a log of {size} entries")


# --- contents ---------------------------------------------------------------------------------------------


def tile_bytes(tile: Tile, node: NodeReader) -> bytes:
    """The bytes of a tile of hashes, from the nodes of its tree.

    Args:
        tile: A tile of hashes, not a bundle.
        node: (level, index) -> hash of a perfect subtree of the log.
    Raises:
        ContractError: the tile is a bundle.
    Source:
        C2SP tlog-tiles, "Merkle Tree".

    >>> tile_bytes(Tile(1, 0, 2), lambda level, index: bytes([level, index]))
    b'\\x08\\x00\\x08\\x01'
    """
    if tile.level is None:
        raise ContractError(f"{tile.path()}: expected a tile of hashes, got a bundle")
    first = tile.index * TILE_WIDTH
    return b"".join(node(tile.level * TILE_HEIGHT, index) for index in range(first, first + tile.width))


def encode_bundle(payloads: Sequence[bytes]) -> bytes:
    """Encode consecutive entries as a bundle.

    Raises:
        ContractError: no entry, more than 256, or one of more than 65,535 bytes.
    Source:
        C2SP tlog-tiles, "Log entries".

    >>> encode_bundle([b"a", b"", b"bc"])
    b'\\x00\\x01a\\x00\\x00\\x00\\x02bc'
    """
    if not 1 <= len(payloads) <= TILE_WIDTH or max(map(len, payloads)) >> 8 * LENGTH_SIZE_BYTES:
        raise ContractError(f"bundle: expected 1 to {TILE_WIDTH} entries of at most 65,535 bytes, got {[*map(len, payloads)][:300]}")
    return b"".join(len(payload).to_bytes(LENGTH_SIZE_BYTES) + payload for payload in payloads)


def decode_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle.

    Raises:
        DamagedError: the bundle ends within an entry.

    >>> decode_bundle(b"\\x00\\x01a\\x00\\x00")
    [b'a', b'']
    """
    payloads: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + LENGTH_SIZE_BYTES
        at = start + int.from_bytes(data[at:start])
        if at > len(data) or start > len(data):
            raise DamagedError(f"bundle: entry {len(payloads)} is truncated: expected {at} bytes, got {len(data)}")
        payloads.append(data[start:at])
    return payloads


def fetch(read: Read, tile: Tile) -> bytes:
    """The hashes of a tile; if a partial tile is missing, from the full tile (C2SP tlog-tiles, "Partial Tiles").

    Raises:
        NotFound: neither exists.
        DamagedError: the file has the wrong size.

    >>> len(fetch({"tile/0/000": bytes(8192)}.__getitem__, Tile(0, 0)))
    8192
    """
    try:
        path, data, width = tile.path(), read(tile.path()), tile.width
    except NotFound:
        if tile.width == TILE_WIDTH:
            raise
        path, data, width = tile.whole().path(), read(tile.whole().path()), TILE_WIDTH
    if len(data) != width * HASH_SIZE_BYTES:
        raise DamagedError(f"{path}: expected {width * HASH_SIZE_BYTES} bytes, got {len(data)}")
    return data[: tile.width * HASH_SIZE_BYTES]


def tile_nodes(read: Read, size: int) -> NodeReader:
    """A reader of a tree's nodes from its tiles, for `ledger.formats.merkle.inclusion_path` and `consistency_path`.

    The tiles are not verified: check the result against a root.

    Args:
        read: Reads below the log's prefix; recently read tiles are cached.
        size: Size of the log.

    >>> node = tile_nodes({"tile/0/000.p/2": b"a" * 32 + b"b" * 32}.__getitem__, 2)
    >>> node(0, 1) == b"b" * 32, node(1, 0).hex()[:8]
    (True, '8e85fd55')
    """

    @lru_cache(KEPT_TILES)
    def hashes(level: int, index: int) -> bytes:
        return fetch(read, Tile(level, index, min(TILE_WIDTH, (size >> level * TILE_HEIGHT) - index * TILE_WIDTH)))

    def node(level: int, index: int) -> bytes:
        if index + 1 << level > size:
            raise NotFound(f"no complete subtree at level {level}, index {index} in a log of {size} entries")
        tile_level, above = divmod(level, TILE_HEIGHT)
        tile, first = divmod(index << above, TILE_WIDTH)
        data = hashes(tile_level, tile)
        return root(data[at * HASH_SIZE_BYTES : (at + 1) * HASH_SIZE_BYTES] for at in range(first, first + (1 << above)))

    return node
