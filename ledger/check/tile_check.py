"""Whether exported tiles match the log's checkpoint: everything is hashed again, in constant memory.

Reads go through a callable, so a folder, an archive and a web server are checked alike. Other modules check what the entries
mean and whether the blobs that they name are stored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.check.stored_checkpoints import CheckpointComparison, StoredCheckpoint
from ledger.formats.checkpoint import Checkpoint, parse_checkpoint
from ledger.formats.keys import Verifier
from ledger.formats.merkle import HASH_SIZE_BYTES, TILE_HEIGHT, Frontier, leaf_hash
from ledger.formats.note import open_note
from ledger.formats.tiles import CHECKPOINT_PATH, TILE_WIDTH, Read, Tile, decode_bundle, fetch
from schemas.errors import DamagedError, NotFound

OnEntry = Callable[[int, bytes], None]  # (index, payload)


@dataclass(frozen=True, slots=True)
class TileProblem:
    """One problem in a file of an export: at an entry of the log, or not tied to a single entry (None)."""

    path: str
    index: int | None
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}" if self.index is None else f"{self.path}: entry {self.index}: {self.what}"


@dataclass(frozen=True, slots=True)
class TileReport:
    """The result of a check; clean if there are no problems.

    Attributes:
        size: Number of entries that the tree should have.
        entries: Number of entries that were found and hashed again.
        root: Root over them; a missing entry is replaced by the hash in its tile.
        problems: In log order; problems of the whole export come last.
    """

    size: int
    entries: int
    root: bytes
    problems: tuple[TileProblem, ...]


def check_export(
    read: Read, verifiers: Sequence[Verifier], on_entry: OnEntry | None = None, against: Sequence[StoredCheckpoint] = ()
) -> tuple[Checkpoint, TileReport]:
    """Check an exported log against the signed checkpoint next to its tiles.

    Args:
        read: Reads below the log's prefix.
        verifiers: Keys, one of which must have signed the checkpoint.
        on_entry: Called with every entry found, in order.
        against: Checkpoints of this log saved elsewhere.
    Returns:
        The checkpoint, and the report; a root that differs from the checkpoint's is a problem.
    Raises:
        NotFound: there is no checkpoint.
        DamagedError: none of the keys signed the checkpoint, so nothing can be checked.
    Source:
        C2SP tlog-tiles, tlog-checkpoint.

    >>> from ledger.formats.keys import Signer
    >>> from ledger.formats.merkle import EMPTY_ROOT
    >>> from ledger.formats.note import sign_note
    >>> signer = Signer("log", bytes(32))
    >>> files = {"checkpoint": sign_note(Checkpoint("log", 0, EMPTY_ROOT).body(), signer).encode()}
    >>> check_export(files.__getitem__, [signer.verifier])[1].problems
    ()
    """
    try:
        text = read(CHECKPOINT_PATH).decode("utf-8")
    except UnicodeDecodeError as cause:
        raise DamagedError(f"{CHECKPOINT_PATH}: expected a text in UTF-8: {cause}") from cause
    checkpoint = parse_checkpoint(open_note(text, verifiers).text)
    return checkpoint, check_tiles(read, checkpoint.size, on_entry, [StoredCheckpoint(CHECKPOINT_PATH, checkpoint), *against])


def check_tiles(read: Read, size: int, on_entry: OnEntry | None = None, against: Sequence[StoredCheckpoint] = ()) -> TileReport:
    """Hash the entries of a tree of tiles again, and compare the result with every tile.

    Args:
        read: Reads below the log's prefix.
        size: Number of entries that the tree should have.
        on_entry: Called with every entry found, in order.
        against: Checkpoints to compare the tree with.
    Source:
        C2SP tlog-tiles, "Merkle Tree", "Partial Tiles", "Log entries".

    >>> from ledger.formats.tiles import encode_bundle
    >>> files = {"tile/entries/000.p/1": encode_bundle([b"a"]), "tile/0/000.p/1": leaf_hash(b"b")}
    >>> print(*check_tiles(files.__getitem__, 1).problems)
    tile/0/000.p/1: entry 0: its bytes hash to 022a6979e6dab7aa, the tile has 57eb35615d47f34e
    """
    check = _Check(read, on_entry or (lambda index, payload: None), CheckpointComparison(against))
    for index in range(-(-size // TILE_WIDTH)):
        check.bundle(Tile(None, index, min(TILE_WIDTH, size - index * TILE_WIDTH)))
    check.edge()
    check.problems += [TileProblem(source, None, what) for source, what in check.comparison.faults(size, "the export")]
    return TileReport(size, check.entries, check.frontier.root(), tuple(check.problems))


class _Check:
    """The state of one check: a frontier, and at most one tile's hashes for each level."""

    def __init__(self, read: Read, on_entry: OnEntry, comparison: CheckpointComparison) -> None:
        self.read, self.on_entry, self.comparison = read, on_entry, comparison
        self.frontier = Frontier()
        comparison.look(self.frontier)
        self.entries = 0
        self.problems: list[TileProblem] = []
        self.open: dict[int, list[bytes]] = {}  # tile level above 0 -> hashes of its tile that is not full yet

    def bundle(self, place: Tile) -> None:
        """Check one bundle, the level-0 tile over it, and the higher tiles that it completes."""
        first = place.index * TILE_WIDTH
        payloads = self._payloads(place)
        tile = Tile(0, place.index, place.width)
        stored = self._hashes(tile)
        leaves = [leaf_hash(payload) for payload in payloads]
        for at, (leaf, expected) in enumerate(zip(leaves, stored, strict=False)):
            if leaf != expected:
                what = f"its bytes hash to {leaf.hex()[:16]}, the tile has {expected.hex()[:16]}"
                self.problems.append(TileProblem(tile.path(), first + at, what))
        # A missing entry is replaced by its hash in the tile; if the tile is missing too, by a hash that no entry has.
        leaves += stored[len(leaves) :] or [bytes(HASH_SIZE_BYTES)] * (place.width - len(leaves))
        completed: list[tuple[int, int, bytes]] = []
        self.comparison.extend(self.frontier, leaves, completed)
        for level, index, node in completed:
            self._above(level // TILE_HEIGHT, index, node)
        for at, payload in enumerate(payloads):
            self.on_entry(first + at, payload)
        self.entries += len(payloads)

    def edge(self) -> None:
        """Check the partial tiles at the right edge of the tree, above level 0."""
        for level, hashes in sorted(self.open.items()):
            if hashes:
                self._compare(Tile(level, (self.frontier.size >> level * TILE_HEIGHT) // TILE_WIDTH, len(hashes)), hashes)

    def _above(self, level: int, index: int, node: bytes) -> None:
        hashes = self.open.setdefault(level, [])
        hashes.append(node)
        if len(hashes) == TILE_WIDTH:
            self._compare(Tile(level, index // TILE_WIDTH), hashes)
            hashes.clear()

    def _compare(self, tile: Tile, hashes: list[bytes]) -> None:
        span = 1 << (tile.level or 0) * TILE_HEIGHT
        for at, (expected, stored) in enumerate(zip(hashes, self._hashes(tile), strict=False)):
            if expected != stored:
                begin = (tile.index * TILE_WIDTH + at) * span
                what = f"entries {begin} to {begin + span - 1} hash to {expected.hex()[:16]}, the tile has {stored.hex()[:16]}"
                self.problems.append(TileProblem(tile.path(), None, what))

    def _hashes(self, tile: Tile) -> list[bytes]:
        """The hashes stored in a tile; none, and a problem, if it cannot be read."""
        try:
            data = fetch(self.read, tile)
        except (NotFound, DamagedError) as damage:
            self.problems.append(_unreadable(tile, damage))
            return []
        return [data[at : at + HASH_SIZE_BYTES] for at in range(0, len(data), HASH_SIZE_BYTES)]

    def _payloads(self, place: Tile) -> list[bytes]:
        """The entries stored in a bundle; none, and a problem, if it cannot be read."""
        width = place.width
        try:
            try:
                data = self.read(place.path())
            except NotFound:
                if width == TILE_WIDTH:
                    raise
                data, width = self.read(place.whole().path()), TILE_WIDTH
            payloads = decode_bundle(data)
            if len(payloads) != width:
                raise DamagedError(f"expected {width} entries, got {len(payloads)}")
        except (NotFound, DamagedError) as damage:
            self.problems.append(_unreadable(place, damage))
            return []
        return payloads[: place.width]


def _unreadable(tile: Tile, damage: NotFound | DamagedError) -> TileProblem:
    path = tile.path()
    return TileProblem(path, None, "missing" if isinstance(damage, NotFound) else str(damage).removeprefix(f"{path}: "))
