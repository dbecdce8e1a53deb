"""How a log is summarized in one hash, and how inclusion and consistency are proved: the Merkle trees of RFC 6962.

Pure functions over hashes. A perfect subtree is identified by (level, index): it covers the leaves
[index << level, index + 1 << level). Nodes are stored by `ledger.store.log`; a `NodeReader` fetches them.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from schemas.errors import ContractError, DamagedError

HASH_SIZE_BYTES = 32  # SHA-256
EMPTY_ROOT = hashlib.sha256(b"").digest()  # RFC 6962 2.1: the hash of an empty list is the hash of an empty string
TILE_HEIGHT = 8  # C2SP tlog-tiles: a tile holds 2^8 hashes, so nodes at levels 8, 16, 24... are stored

NodeReader = Callable[[int, int], bytes]  # (level, index) -> root of that perfect subtree


def leaf_hash(payload: bytes) -> bytes:
    """Hash of one entry.

    >>> leaf_hash(b"").hex()[:16]
    '6e340b9cffb37a98'
    """
    # Leaves and nodes hash with different prefixes (RFC 6962 2.1); otherwise a node could pass as a leaf.
    return hashlib.sha256(b"\x00" + payload).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node over its two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(slots=True)
class Frontier:
    """The hashes needed to append to a tree: the roots of its perfect subtrees, largest first.

    One hash for each bit set in `size`: a log of a billion entries has at most thirty.

    >>> frontier = Frontier()
    >>> for payload in (b"a", b"b", b"c"):
    ...     frontier.append(leaf_hash(payload))
    >>> frontier.size, len(frontier.hashes), frontier.root() == root([leaf_hash(p) for p in (b"a", b"b", b"c")])
    (3, 2, True)
    """

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)

    def append(self, leaf: bytes, kept: list[tuple[int, int, bytes]] | None = None) -> None:
        """Append one leaf hash; completed nodes at levels that are multiples of TILE_HEIGHT are added to `kept` as (level, index, hash)."""
        self.grow(0, leaf, kept)

    def grow(self, level: int, node: bytes, kept: list[tuple[int, int, bytes]] | None = None) -> None:
        """Append a perfect subtree of 2^level leaves.

        Raises:
            ContractError: the current size is not a multiple of 2^level, so the subtree would not be aligned.
        """
        if self.size & ((1 << level) - 1):
            raise ContractError(f"tree: expected a size that is a multiple of {1 << level}, got {self.size}")
        self.size += 1 << level
        while True:
            if kept is not None and level and level % TILE_HEIGHT == 0:
                kept.append((level, (self.size >> level) - 1, node))
            if self.size >> level & 1:
                break
            node, level = node_hash(self.hashes.pop(), node), level + 1
        self.hashes.append(node)

    def extend(self, leaves: Sequence[bytes], kept: list[tuple[int, int, bytes]] | None = None) -> None:
        """Append many leaf hashes; same result as `append` for each, but full tiles are hashed level by level, twice as fast."""
        at = 0
        while at < len(leaves):
            if self.size % (1 << TILE_HEIGHT) or len(leaves) - at < 1 << TILE_HEIGHT:
                self.append(leaves[at], kept)
                at += 1
            else:
                self.grow(TILE_HEIGHT, root(leaves[at : at + (1 << TILE_HEIGHT)]), kept)
                at += 1 << TILE_HEIGHT

    def root(self) -> bytes:
        """Root of the tree over all leaves."""
        if not self.hashes:
            return EMPTY_ROOT
        node = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            node = node_hash(left, node)
        return node

    def copy(self) -> "Frontier":
        """An independent copy."""
        return Frontier(self.size, list(self.hashes))

    def to_bytes(self) -> bytes:
        """The concatenated hashes, without the size, which is stored separately."""
        return b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> "Frontier":
        """Parse the frontier of a tree of the given size.

        Raises:
            DamagedError: the number of hashes does not match the size.
        """
        if len(data) != HASH_SIZE_BYTES * size.bit_count():
            raise DamagedError(f"frontier of size {size}: expected {HASH_SIZE_BYTES * size.bit_count()} bytes, got {len(data)}")
        return cls(size, [data[at : at + HASH_SIZE_BYTES] for at in range(0, len(data), HASH_SIZE_BYTES)])


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """Root of the tree over leaf hashes (RFC 6962 2.1).

    >>> root([]) == EMPTY_ROOT
    True
    """
    nodes = list(leaf_hashes)
    while len(nodes) > 1:
        odd = nodes[-1:] if len(nodes) % 2 else []
        # Same as `node_hash` for each pair; inlined because the call would take a third of the verifier's time.
        nodes = [hashlib.sha256(b"\x01" + left + right).digest() for left, right in zip(nodes[::2], nodes[1::2], strict=False)] + odd
    return nodes[0] if nodes else EMPTY_ROOT


class Tree:
    """All nodes of a tree in memory, for small trees such as the chunks of a blob, and for tests.

    >>> tree = Tree([leaf_hash(bytes([i])) for i in range(5)])
    >>> verify_inclusion(3, 5, leaf_hash(b"\\x03"), inclusion_path(3, 5, tree.node), tree.root())
    """

    def __init__(self, leaf_hashes: Sequence[bytes]) -> None:
        self._levels = [list(leaf_hashes)]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            self._levels.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])

    @property
    def size(self) -> int:
        """Number of leaves."""
        return len(self._levels[0])

    def node(self, level: int, index: int) -> bytes:
        """Root of the perfect subtree (level, index)."""
        return self._levels[level][index]

    def root(self) -> bytes:
        """Root of the whole tree."""
        return range_root(0, self.size, self.node)


def perfect_subtrees(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """(level, index) of the largest aligned perfect subtrees that cover the leaves [begin, end), left to right.

    >>> list(perfect_subtrees(4, 7))
    [(1, 2), (0, 6)]
    """
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        yield level, begin >> level
        begin += 1 << level


def range_root(begin: int, end: int, node: NodeReader) -> bytes:
    """Root over the leaves [begin, end); begin must be a multiple of the smallest power of two >= end - begin."""
    parts = [node(level, index) for level, index in perfect_subtrees(begin, end)]
    if not parts:
        return EMPTY_ROOT
    above = parts.pop()
    while parts:
        above = node_hash(parts.pop(), above)
    return above


def inclusion_path(index: int, size: int, node: NodeReader) -> list[bytes]:
    """Audit path of a leaf (RFC 6962 2.1.1): the sibling hashes from the leaf to the root, lowest first.

    Raises:
        ContractError: a tree of that size has no such leaf.
    """
    if not 0 <= index < size:
        raise ContractError(f"inclusion path: expected an index in [0, {size}), got {index}")
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(range_root(middle, end, node))
            end = middle
        else:
            path.append(range_root(begin, middle, node))
            begin = middle
    return path[::-1]


def consistency_path(old_size: int, size: int, node: NodeReader) -> list[bytes]:
    """Proof that the tree of `old_size` is a prefix of the tree of `size` (RFC 6962 2.1.2).

    Raises:
        ContractError: not 0 <= old_size <= size.
    """
    if not 0 <= old_size <= size:
        raise ContractError(f"consistency path: expected an old size in [0, {size}], got {old_size}")
    if old_size in (0, size):
        return []  # Every tree is consistent with the empty tree and with itself.
    path: list[bytes] = []
    begin, end = 0, size
    whole = True  # b in RFC 6962: whether the old tree is still a complete subtree
    while old_size != end:
        middle = begin + _split(end - begin)
        if old_size <= middle:
            path.append(range_root(middle, end, node))
            end = middle
        else:
            path.append(range_root(begin, middle, node))
            begin, whole = middle, False
    if not whole:
        path.append(range_root(begin, end, node))
    return path[::-1]


def verify_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes], expected_root: bytes) -> None:
    """Check that the tree with the given size and root has a leaf hash at an index.

    Raises:
        DamagedError: the path does not lead to the root, or has the wrong length.
    Source:
        RFC 9162 2.1.3.2
    """
    if not 0 <= index < size:
        raise DamagedError(f"inclusion proof: expected an index in [0, {size}), got {index}")
    _require_hashes(f"inclusion proof of {index} in {size}", [leaf, *path, expected_root])
    node, at, last = leaf, index, size - 1
    for sibling in path:
        if last == 0:
            raise DamagedError(f"inclusion proof of {index} in {size}: expected a shorter path, got {len(path)} hashes")
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            while at and not at & 1:  # The right edge has no sibling at these levels.
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise DamagedError(f"inclusion proof of {index} in {size}: expected a longer path, got {len(path)} hashes")
    _require_root(f"inclusion proof of {index} in {size}", expected_root, node)


def verify_consistency(old_size: int, size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """Check that an older tree is a prefix of the tree with the given size and root.

    Raises:
        DamagedError: the path does not lead to both roots, or the old size is 0, which proves nothing.
    Source:
        RFC 9162 2.1.4.2
    """
    what = f"consistency proof from {old_size} to {size}"
    if not 0 < old_size <= size:
        raise DamagedError(f"{what}: expected 0 < old size <= size")
    _require_hashes(what, [old_root, *path, new_root])
    if old_size == size:
        if path:
            raise DamagedError(f"{what}: expected an empty path, got {len(path)} hashes")
        return _require_root(what, old_root, new_root)
    hashes = [old_root, *path] if old_size.bit_count() == 1 else list(path)
    if not path:
        raise DamagedError(f"{what}: expected a path, got none")
    at, last = old_size - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise DamagedError(f"{what}: expected a shorter path, got {len(path)} hashes")
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise DamagedError(f"{what}: expected a longer path, got {len(path)} hashes")
    _require_root(f"{what}, old root", old_root, old)
    _require_root(f"{what}, new root", new_root, new)


def _split(count: int) -> int:
    """Largest power of two below a count of at least two (k in RFC 6962)."""
    return 1 << (count - 1).bit_length() - 1


def _require_hashes(what: str, hashes: Sequence[bytes]) -> None:
    # Without this check an empty "hash" could equal an empty root.
    for value in hashes:
        if len(value) != HASH_SIZE_BYTES:
            raise DamagedError(f"{what}: expected hashes of {HASH_SIZE_BYTES} bytes, got one of {len(value)}")


def _require_root(what: str, expected: bytes, got: bytes) -> None:
    if expected != got:
        raise DamagedError(f"{what}: expected root {expected.hex()}, got {got.hex()}")
