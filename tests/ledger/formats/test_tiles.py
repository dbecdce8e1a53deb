"""Tiles have the paths and contents of the specification, at every size of a log."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from ledger.formats import merkle
from ledger.formats.merkle import Tree, leaf_hash, node_hash
from ledger.formats.tiles import Tile, decode_bundle, encode_bundle, fetch, parse_path, require_tile, tile_bytes, tile_nodes, tiles_between
from schemas.errors import ContractError, DamagedError, NotFound
from tests.ledger.exports import Export, exported

tiles = st.builds(Tile, st.none() | st.integers(0, 63), st.integers(0, 1 << 62), st.integers(1, 256))
sizes = st.integers(0, 1 << 40)


def leaf(index: int) -> bytes:
    """A unique leaf hash."""
    return leaf_hash(index.to_bytes(8, "big"))


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 999), "tile/0/999"),
        (Tile(0, 1_000), "tile/0/x001/000"),
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(63, 1_234_067, 1), "tile/63/x001/x234/067.p/1"),
        (Tile(None, 273, 112), "tile/entries/273.p/112"),
        (Tile(None, 1_000_000), "tile/entries/x001/x000/000"),
    ],
)
def test_paths(tile: Tile, path: str) -> None:
    """Levels, indexes and widths are formatted as in the specification."""
    assert (path, tile) == (tile.path(), parse_path(path))


def test_path_vectors(shared: Path) -> None:
    """Other implementations' paths are parsed: Go's checksum database only prepends the tile's height."""
    examples = json.loads((shared / "vectors" / "note" / "checkpoint.json").read_text("utf-8"))["tile_path_examples"]
    found = [parse_path(path.replace("tile/8/", "tile/")) for path in examples["ok"]]
    assert [Tile(0, 123_456_078), Tile(1, 3_057_500, 5)] == found
    assert Tile(0, 1_234_067).path() == f"tile/0/{examples['c2sp_index_1234067']}"


@given(tiles)
def test_paths_round_trip(tile: Tile) -> None:
    """Every tile is parsed again from its path."""
    assert tile == parse_path(tile.path())


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/1000",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "tile/entry/000",
        "tile/entries/../000",
        "/tile/0/000",
    ],
)
def test_invalid_paths(path: str) -> None:
    """A path that is not in canonical form is not found."""
    with pytest.raises(NotFound, match="tile: expected"):
        parse_path(path)


def test_size_vectors(shared: Path) -> None:
    """The specification's trees of 70,000 and 256 entries have the tiles that it lists."""
    examples = json.loads((shared / "vectors" / "note" / "checkpoint.json").read_text("utf-8"))["tile_path_examples"]
    for size, counts in ((70_000, examples["size_70000"]), (256, examples["size_256"])):
        found: dict[str, int] = {}
        for tile in tiles_between(0, size):
            if tile.level is not None:
                whole = tile.width == 256
                name = f"level{tile.level}_{'full' if whole else 'partial'}"
                found[name] = found.get(name, 0) + 1 if whole else tile.width
        assert counts == found


@given(st.integers(0, 3_000_000), st.integers(0, 5_000))
def test_growth_writes_only_new_tiles(old_size: int, more: int) -> None:
    """Growth writes exactly the tiles that the new size has and the old size did not have."""
    size = old_size + more
    if size > 200_000:  # The whole list is long; its right edge decides.
        new = [tile for tile in tiles_between(old_size, size) if tile.level is None]
        assert sum(tile.width for tile in new) == (size - old_size // 256 * 256 if more else 0)
        return
    assert set(tiles_between(0, size)) - set(tiles_between(0, old_size)) == set(tiles_between(old_size, size))
    for tile in tiles_between(0, size):
        require_tile(tile, size)


@given(sizes, st.data())
def test_wider_tiles_are_not_the_logs(size: int, data: st.DataObject) -> None:
    """A tile with one hash more than the log has is not the log's."""
    level = data.draw(st.none() | st.integers(0, 8))
    filled = size >> (level or 0) * 8
    require_tile(Tile(level, max(filled - 1, 0) // 256, max(filled - 1, 0) % 256 + 1), max(size, 1 << (level or 0) * 8))
    with pytest.raises(NotFound, match=f"of a log of {size} entries"):
        require_tile(Tile(level, filled // 256, filled % 256 + 1), size)


def test_tiles_contain_roots_of_subtrees() -> None:
    """Each hash of a higher tile is the root of the whole tile below it."""
    tree = Tree([leaf(index) for index in range(1_000)])
    low, high = tile_bytes(Tile(0, 1), tree.node), tile_bytes(Tile(1, 0, 3), tree.node)
    assert b"".join(leaf(index) for index in range(256, 512)) == low
    assert merkle.root(low[at : at + 32] for at in range(0, 8_192, 32)) == high[32:64]
    with pytest.raises(ContractError, match="expected a tile of hashes, got a bundle"):
        tile_bytes(Tile(None, 0), tree.node)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_round_trip(payloads: list[bytes]) -> None:
    """Entries of a bundle are decoded unchanged, and a truncated bundle is not read as a shorter one."""
    data = encode_bundle(payloads)
    assert payloads == decode_bundle(data)
    if len(payloads[-1]):
        with pytest.raises(DamagedError, match=f"entry {len(payloads) - 1} is truncated"):
            decode_bundle(data[:-1])


def test_bundles_have_bounds() -> None:
    """The largest entry fits, one more byte or entry does not, and an incomplete length is damage."""
    largest = bytes(65_535)
    assert [largest] == decode_bundle(encode_bundle([largest]))
    for wrong in ([], [b""] * 257, [bytes(65_536)]):
        with pytest.raises(ContractError, match="bundle: expected 1 to 256 entries"):
            encode_bundle(wrong)
    with pytest.raises(DamagedError, match="entry 1 is truncated"):
        decode_bundle(b"\0\0\0")


@settings(max_examples=20)
@given(st.integers(1, 1_500), st.data())
def test_proofs_come_from_tiles(size: int, data: st.DataObject) -> None:
    """Paths made from a log's tiles alone are the paths of its tree."""
    payloads = [index.to_bytes(8, "big") for index in range(size)]
    tree, node = Tree([leaf_hash(payload) for payload in payloads]), tile_nodes(exported(payloads).read, size)
    index, old_size = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    assert merkle.inclusion_path(index, size, tree.node) == merkle.inclusion_path(index, size, node)
    assert merkle.consistency_path(old_size, size, tree.node) == merkle.consistency_path(old_size, size, node)
    assert tree.root() == merkle.range_root(0, size, node)


def test_nodes_after_the_end() -> None:
    """A subtree after the log's end is not found, and no tile is read for it."""
    node = tile_nodes(Export().read, 3)
    for level, index in ((0, 3), (1, 1), (2, 0)):
        with pytest.raises(NotFound, match="in a log of 3 entries"):
            node(level, index)


def test_partial_tiles_may_be_deleted() -> None:
    """If a partial tile was deleted, the full one replaces it; a tile of another length is damage."""
    payloads = [bytes([index]) for index in range(256)]
    export = exported(payloads)
    hashes = [leaf_hash(payload) for payload in payloads]
    assert b"".join(hashes[:17]) == fetch(export.read, Tile(0, 0, 17))
    assert node_hash(hashes[0], hashes[1]) == tile_nodes(export.read, 17)(1, 0)
    export.files["tile/0/000.p/17"] = bytes(31)
    with pytest.raises(DamagedError, match=r"tile/0/000\.p/17: expected 544 bytes, got 31"):
        fetch(export.read, Tile(0, 0, 17))
    with pytest.raises(NotFound, match="tile/0/001"):
        fetch(export.read, Tile(0, 1))


def test_growth_backwards_is_a_bug() -> None:
    """A log does not shrink."""
    with pytest.raises(ContractError, match=r"expected an old size in \[0, 4\], got 5"):
        list(tiles_between(5, 4))
