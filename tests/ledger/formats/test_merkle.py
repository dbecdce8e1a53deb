"""The Merkle trees agree with RFC 6962, with public test vectors, and with a plain recursion."""

import base64
import binascii
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ledger.formats import merkle
from ledger.formats.merkle import EMPTY_ROOT, Frontier, Tree, leaf_hash, node_hash
from schemas.errors import ContractError, DamagedError

leaves = st.lists(st.binary(max_size=4), max_size=70).map(lambda payloads: [leaf_hash(payload) for payload in payloads])


def cases(shared: Path, folder: str) -> Iterator[dict[str, Any]]:
    """Every case of a folder of vectors; a failure shows the file's name."""
    files = sorted((shared / "vectors" / "merkle" / folder).rglob("*.json"))
    assert files, f"no vectors in {folder}"
    for file in files:
        print(file)
        yield json.loads(file.read_text("utf-8"))


@pytest.fixture
def reference(shared: Path) -> dict[str, Any]:
    """Hashes of Certificate Transparency's reference."""
    found: dict[str, Any] = json.loads((shared / "vectors" / "merkle" / "ct-reference" / "ct-reference.json").read_text("utf-8"))
    return found


def plain_root(hashes: list[bytes]) -> bytes:
    """RFC 6962 2.1, implemented literally."""
    if len(hashes) < 2:
        return hashes[0] if hashes else EMPTY_ROOT
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return node_hash(plain_root(hashes[:k]), plain_root(hashes[k:]))


def unpack(values: list[str] | None) -> list[bytes]:
    """Hashes from the vectors' base64."""
    return [base64.b64decode(value, validate=True) for value in values or []]


def test_inclusion_vectors(shared: Path) -> None:
    """Every inclusion case of transparency-dev/merkle is accepted or refused as specified."""
    for case in cases(shared, "inclusion"):
        index, size = case["leafIdx"], case["treeSize"]
        leaf, root = unpack([case["leafHash"] or ""])[0], unpack([case["root"] or ""])[0]
        if case["wantErr"]:
            with pytest.raises(DamagedError, match="inclusion proof"):
                merkle.verify_inclusion(index, size, leaf, unpack(case["proof"]), root)
        else:
            merkle.verify_inclusion(index, size, leaf, unpack(case["proof"]), root)


def test_consistency_vectors(shared: Path) -> None:
    """Every consistency case of transparency-dev/merkle is accepted or refused as specified."""
    for case in cases(shared, "consistency"):
        old_root, new_root = unpack([case["root1"] or "", case["root2"] or ""])
        if case["wantErr"]:
            with pytest.raises(DamagedError, match="consistency proof"):
                merkle.verify_consistency(case["size1"], case["size2"], old_root, new_root, unpack(case["proof"]))
        else:
            merkle.verify_consistency(case["size1"], case["size2"], old_root, new_root, unpack(case["proof"]))


def test_reference_hashes(reference: dict[str, Any]) -> None:
    """Leaf, node and empty hashes are those of Certificate Transparency's reference."""
    assert binascii.unhexlify(reference["empty_root"]) == EMPTY_ROOT
    for case in reference["leaf_hash"]:
        assert case["hash"] == leaf_hash(binascii.unhexlify(case["data"])).hex()
    for case in reference["node_hash"]:
        assert case["hash"] == node_hash(binascii.unhexlify(case["left"]), binascii.unhexlify(case["right"])).hex()


def test_reference_roots(reference: dict[str, Any]) -> None:
    """The roots of the reference's eight leaves are reproduced at every size."""
    hashes = [leaf_hash(binascii.unhexlify(leaf)) for leaf in reference["leaves"]]
    assert reference["roots_by_size_1_to_8"] == [merkle.root(hashes[:size]).hex() for size in range(1, 9)]


@given(leaves)
def test_root_is_the_recursion(hashes: list[bytes]) -> None:
    """The growing root equals the recursive definition."""
    assert plain_root(hashes) == merkle.root(hashes) == Tree(hashes).root()


@given(leaves, st.data())
def test_inclusion_round_trip(hashes: list[bytes], data: st.DataObject) -> None:
    """Every leaf of every tree has a path that verifies, and no other leaf verifies with it."""
    if not hashes:
        return
    index = data.draw(st.integers(0, len(hashes) - 1))
    tree = Tree(hashes)
    path = merkle.inclusion_path(index, len(hashes), tree.node)
    merkle.verify_inclusion(index, len(hashes), hashes[index], path, tree.root())
    with pytest.raises(DamagedError):
        merkle.verify_inclusion(index, len(hashes), leaf_hash(b"something else"), path, tree.root())


@given(leaves, st.data())
def test_consistency_round_trip(hashes: list[bytes], data: st.DataObject) -> None:
    """Every tree is consistent with each of its own prefixes, and with no other tree."""
    if not hashes:
        return
    old = data.draw(st.integers(1, len(hashes)))
    tree = Tree(hashes)
    path = merkle.consistency_path(old, len(hashes), tree.node)
    merkle.verify_consistency(old, len(hashes), plain_root(hashes[:old]), tree.root(), path)
    with pytest.raises(DamagedError):
        merkle.verify_consistency(old, len(hashes), leaf_hash(b"forked"), tree.root(), path)


@given(st.integers(0, 2000))
def test_frontier_survives_bytes(size: int) -> None:
    """A frontier written and read back grows to the same root."""
    frontier = Frontier()
    for number in range(size % 300):
        frontier.append(leaf_hash(bytes([number % 256])))
    again = Frontier.from_bytes(frontier.size, frontier.to_bytes())
    frontier.append(EMPTY_ROOT)
    again.append(EMPTY_ROOT)
    assert frontier == again
    assert frontier.root() == again.root()


def test_frontier_keeps_tile_nodes() -> None:
    """Exactly the completed nodes at multiples of the tile height are returned, and they rebuild the root."""
    hashes = [leaf_hash(number.to_bytes(3, "big")) for number in range(66_000)]
    kept: list[tuple[int, int, bytes]] = []
    frontier = Frontier()
    for leaf in hashes:
        frontier.append(leaf, kept)
    assert [(8, index) for index in range(257)] == [(level, index) for level, index, _ in kept if level == 8]
    assert [(level, index) for level, index, _ in kept if level == 16] == [(16, 0)]
    tree = Tree(hashes)
    assert all(tree.node(level, index) == node for level, index, node in kept)
    short = Frontier()
    short.grow(16, kept[-2][2] if kept[-2][0] == 16 else next(node for level, _, node in kept if level == 16))
    short.grow(8, next(node for level, index, node in kept if (level, index) == (8, 256)))
    for leaf in hashes[65_792:]:
        short.append(leaf)
    assert tree.root() == frontier.root() == short.root()


@settings(max_examples=20)
@given(st.lists(st.integers(0, 700), max_size=4))
def test_growing_in_batches_equals_growing_by_one(counts: list[int]) -> None:
    """For any batch sizes, the frontier and its returned nodes equal those of adding leaves one by one."""
    one, many, start = Frontier(), Frontier(), 0
    kept_by_one: list[tuple[int, int, bytes]] = []
    kept_by_many: list[tuple[int, int, bytes]] = []
    for count in counts:
        hashes = [leaf_hash(number.to_bytes(3, "big")) for number in range(start, start + count)]
        for leaf in hashes:
            one.append(leaf, kept_by_one)
        many.extend(hashes, kept_by_many)
        start += count
    assert (one, kept_by_one) == (many, kept_by_many)


def test_misaligned_growth_is_refused() -> None:
    """A subtree that is not aligned to its own size is a bug of the caller."""
    frontier = Frontier()
    frontier.append(EMPTY_ROOT)
    with pytest.raises(ContractError, match="multiple of 256, got 1"):
        frontier.grow(8, EMPTY_ROOT)


def test_short_frontier_is_damage() -> None:
    """A frontier with a missing hash cannot be read."""
    with pytest.raises(DamagedError, match="frontier of size 3: expected 64 bytes, got 32"):
        Frontier.from_bytes(3, bytes(32))


def test_paths_outside_the_tree() -> None:
    """The error for a leaf or a size outside the tree has the tree's size."""
    with pytest.raises(ContractError, match=r"expected an index in \[0, 5\), got 5"):
        merkle.inclusion_path(5, 5, Tree([]).node)
    with pytest.raises(ContractError, match=r"expected an old size in \[0, 5\], got 6"):
        merkle.consistency_path(6, 5, Tree([]).node)
    assert merkle.consistency_path(0, 5, Tree([]).node) == []
