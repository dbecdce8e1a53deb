"""Any change of an exported log is found, with the file and the entry; an honest export is clean."""

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ledger.check.tile_check import check_export, check_tiles
from ledger.formats.keys import Signer
from ledger.formats.merkle import Tree, leaf_hash
from schemas.errors import DamagedError, NotFound
from tests.ledger.exports import SIGNER, Export, exported

KEYS = [SIGNER.verifier]


def payloads(size: int) -> list[bytes]:
    """Entries of different lengths."""
    return [index.to_bytes(4, "big") * (1 + index % 3) for index in range(size)]


def problems(export: Export) -> list[str]:
    """The problems that the check reports."""
    return [str(problem) for problem in check_export(export.read, KEYS)[1].problems]


@settings(max_examples=15)
@given(st.one_of(st.integers(0, 1_100), st.sampled_from([1, 255, 256, 257, 511, 512, 513])))
def test_honest_exports_are_clean(size: int) -> None:
    """Every entry is hashed and passed on once, in order, and the root is the tree's."""
    seen: list[tuple[int, bytes]] = []
    checkpoint, report = check_export(exported(payloads(size)).read, KEYS, lambda index, payload: seen.append((index, payload)))
    assert list(enumerate(payloads(size))) == seen
    assert (size, size, checkpoint.root, ()) == (report.size, report.entries, report.root, report.problems)
    assert Tree([leaf_hash(payload) for payload in payloads(size)]).root() == report.root


def test_a_large_export_is_clean() -> None:
    """A log with tiles on three levels is checked with all of them, and a wrong hash on the second is named."""
    export = exported(payloads(65_536 + 300))
    assert {"tile/1/000", "tile/1/001.p/1", "tile/2/000.p/1", "tile/0/257.p/44"} <= export.files.keys()
    export.files["tile/1/000"] = export.files["tile/1/000"][:-1] + b"\0"
    export.files["tile/2/000.p/1"] = bytes(32)
    found = problems(export)
    assert [text.partition(" hash to ")[0] for text in found] == [
        "tile/1/000: entries 65280 to 65535",
        "tile/2/000.p/1: entries 0 to 65535",
    ]


def test_every_flipped_byte_is_found() -> None:
    """If any byte of any file of an export is flipped, the check names the file."""
    honest = exported(payloads(259))
    places = [(path, at) for path, data in honest.files.items() for at in range(0, len(data), 1 if len(data) < 400 else 37)]
    for path, at in places:
        data = bytearray(honest.files[path])
        data[at] ^= 1 << at % 8
        try:
            found = problems(Export({**honest.files, path: bytes(data)}))
        except DamagedError:
            assert path == "checkpoint"
            continue
        assert any(path.replace("entries", "0") in text or path in text for text in found), (path, at)


@pytest.mark.parametrize("path", ["tile/entries/000", "tile/entries/001.p/3", "tile/0/000", "tile/0/001.p/3", "tile/1/000.p/1"])
def test_missing_files_are_found(path: str) -> None:
    """A missing file is named, and the other files still give the root."""
    export = exported(payloads(259))
    del export.files[path]
    assert [f"{path}: missing"] == problems(export)


def test_a_bundle_and_its_tile_are_missing() -> None:
    """Without a bundle and its tile the root differs."""
    export = exported(payloads(259))
    del export.files["tile/entries/001.p/3"], export.files["tile/0/001.p/3"]
    found = problems(export)
    assert found[:2] == ["tile/entries/001.p/3: missing", "tile/0/001.p/3: missing"]
    assert found[2].startswith("checkpoint: at size 259 expected root ")


def test_entries_are_named() -> None:
    """Each changed entry is named by its index; a bundle with an extra entry is not trusted at all."""
    export, changed = exported(payloads(300)), payloads(300)
    changed[258], changed[299] = b"changed", b"as well"
    export.files["tile/entries/001.p/44"] = exported(changed).files["tile/entries/001.p/44"]
    _, report = check_export(export.read, KEYS)
    assert [258, 299, None] == [problem.index for problem in report.problems]
    export.files["tile/entries/001.p/44"] += b"\0\0"
    assert problems(export) == ["tile/entries/001.p/44: expected 44 entries, got 45"]


def test_a_consistent_forgery_contradicts_the_checkpoint() -> None:
    """A log rewritten with all its tiles still contradicts the earlier signed checkpoint."""
    honest, forged = exported(payloads(259)), exported([b"forged", *payloads(259)[1:]])
    forged.files["checkpoint"] = honest.files["checkpoint"]
    (found,) = problems(forged)
    assert found.startswith("checkpoint: at size 259 expected root ")


def test_checkpoints_of_others() -> None:
    """A missing checkpoint, one of another key and one that is not text prove nothing about the tiles."""
    export = exported(payloads(3))
    with pytest.raises(DamagedError, match="expected a signature of a known key"):
        check_export(export.read, [Signer("ridecast/local", bytes(32)).verifier])
    export.files["checkpoint"] = b"\xff"
    with pytest.raises(DamagedError, match="checkpoint: expected a text in UTF-8"):
        check_export(export.read, KEYS)
    del export.files["checkpoint"]
    with pytest.raises(NotFound, match="checkpoint"):
        check_export(export.read, KEYS)


def test_larger_logs_serve_smaller_checkpoints() -> None:
    """Files that grew after a checkpoint still prove it, even without its partial tiles."""
    grown: dict[str, Any] = exported(payloads(768)).files
    small = exported(payloads(700))
    for path in [path for path in small.files if ".p/" in path and "tile/1" not in path]:
        del small.files[path]
    report = check_tiles(Export({**grown, **small.files}).read, 700)
    assert (700, (), Tree([leaf_hash(payload) for payload in payloads(700)]).root()) == (report.entries, report.problems, report.root)
