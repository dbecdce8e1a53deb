"""Logs exported as tiles in memory, for the tests of tiles and proofs to read and damage."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ledger.formats.checkpoint import Checkpoint
from ledger.formats.keys import Signer
from ledger.formats.merkle import Tree, leaf_hash
from ledger.formats.note import sign_note
from ledger.formats.tiles import CHECKPOINT_PATH, TILE_WIDTH, encode_bundle, tile_bytes, tiles_between
from schemas.errors import NotFound

ORIGIN = "ridecast/local/region/nyc"
SIGNER = Signer("ridecast/local", bytes(range(32)))


@dataclass
class Export:
    """The files of one log, by path."""

    files: dict[str, bytes] = field(default_factory=dict)

    def read(self, path: str) -> bytes:
        """One file's bytes; raises NotFound."""
        if path not in self.files:
            raise NotFound(f"{path}: not in the export")
        return self.files[path]


def exported(payloads: Sequence[bytes], old_size: int = 0) -> Export:
    """The files of a log of these entries after growing from an older size."""
    tree = Tree([leaf_hash(payload) for payload in payloads])
    export = Export()
    for tile in tiles_between(old_size, len(payloads)):
        start = tile.index * TILE_WIDTH
        data = encode_bundle(payloads[start : start + tile.width]) if tile.level is None else tile_bytes(tile, tree.node)
        export.files[tile.path()] = data
    checkpoint = Checkpoint(ORIGIN, len(payloads), tree.root())
    export.files[CHECKPOINT_PATH] = sign_note(checkpoint.body(), SIGNER).encode("utf-8")
    return export
