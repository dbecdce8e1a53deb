"""`verify` finds every change of a small ledger, with its place, unless the change affects nothing readable.

Bytes are flipped one at a time: a sample in the ordinary run, far more under the marker `long`. A flip is harmless if
rows, blobs, checkpoints and key, read by other means, equal those of the original ledger.

The sample: of blobs, checkpoint, key and tiles any byte; of the database and its WAL any byte that is not zero, and one
in sixteen of the zeros. The bit is drawn as well; the seed is fixed.
"""

import contextlib
import random
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from dataflows.stream.signing import public_path
from dataflows.stream.stores import open_stores
from ledger.formats.keys import Signer
from ledger.store.key_files import write_verifier
from ledger.store.log import open_embedded
from schemas.errors import RidecastError
from tests.faults.small_ledger import FIRST_SLOT, LOG, SmallLedger, append_close, make_small_ledger

SEED = 20_140_501
DATABASE, WAL = "home/ledger/region__nyc.sqlite", "home/ledger/region__nyc.sqlite-wal"
OTHER = Signer("ridecast/local", bytes(range(32)))
SAMPLES = {"database": 80, "wal": 40, "blobs": 40, "checkpoint": 40, "key": 20, "tiles": 60}  # flips in the ordinary run
LONG = {"database": 6_000, "wal": 4_000}  # under the marker `long`; of the other parts every byte


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> SmallLedger:
    """A ledger at rest, with its tiles and a kept checkpoint."""
    made = make_small_ledger(tmp_path_factory.mktemp("small"))
    made.export()
    return made


@pytest.fixture(scope="module")
def with_wal(pristine: SmallLedger, tmp_path_factory: pytest.TempPathFactory) -> SmallLedger:
    """The same while a process has it open: its last closes are in the WAL, and the checkpoint covers them."""
    busy = pristine.copy(tmp_path_factory.mktemp("busy"))
    stores = open_stores(busy.settings())
    for slot in range(FIRST_SLOT + 4, FIRST_SLOT + 6):
        append_close(stores, slot)
    stores.ledger.flush()
    made = busy.copy(tmp_path_factory.mktemp("wal"))
    stores.close()
    assert (made.folder / WAL).stat().st_size > 4096
    return made


@pytest.fixture
def small(pristine: SmallLedger, tmp_path: Path) -> SmallLedger:
    """A copy to change by hand."""
    return pristine.copy(tmp_path / "small")


# --- one byte at a time ------------------------------------------------------------------------------


def files_of(made: SmallLedger, part: str) -> list[Path]:
    """The files of a part of the ledger, relative to its folder."""
    patterns = {
        "database": DATABASE,
        "wal": WAL,
        "blobs": "home/blobs/**/*",
        "checkpoint": "home/checkpoints/region__nyc.txt",
        "key": "home/keys/checkpoint.pub",
        "tiles": f"tiles/{LOG}/**/*",
    }
    return [path.relative_to(made.folder) for path in sorted(made.folder.glob(patterns[part])) if path.is_file()]


def verdict(made: SmallLedger, part: str) -> list[str]:
    """The output of `verify` for a changed ledger, including errors on opening it."""
    try:
        return made.tiles_verified() if part == "tiles" else made.verified(log=LOG if part in LONG else "")
    except RidecastError as error:
        return [str(error)]


def flip_all(pristine: SmallLedger, part: str, folder: Path, limit: int | None, names: str) -> None:
    """Flip bytes of a part, one at a time, and assert that each is found with a place, or harmless."""
    rng = random.Random(f"{SEED} {part}")
    files = {path: (pristine.folder / path).read_bytes() for path in files_of(pristine, part)}
    # Most of a small database is unused zeros: flip one in sixteen of these.
    places = [(path, at) for path, data in files.items() for at, byte in enumerate(data) if part not in LONG or byte or at % 16 == 0]
    sample = places if limit is None else rng.sample(places, min(limit, len(places)))
    work = pristine.copy(folder)
    untouched = content_of(pristine.copy(folder.with_name("untouched")), part)
    counts: Counter[str] = Counter()
    for path, at in sample:
        data = bytearray(files[path])
        data[at] ^= 1 << rng.randrange(8)
        (work.folder / path).write_bytes(data)
        said = verdict(work, part)
        if said:
            counts["found"] += 1
            assert any(re.search(names, line) for line in said), (str(path), at, said)
        else:
            counts["harmless"] += 1
            assert untouched == content_of(work, part), (str(path), at)
        restore(pristine, work, path)
    total = sum(map(len, files.values()))
    print(f"\ntampering, {part}: {len(sample)} of {total} bytes flipped, {counts['found']} found, {counts['harmless']} harmless")
    assert len(sample) == counts.total() > 0


def restore(pristine: SmallLedger, work: SmallLedger, path: Path) -> None:
    """Restore a file; of a database all of its files."""
    if path.parts[:2] != ("home", "ledger"):
        shutil.copyfile(pristine.folder / path, work.folder / path)
        return
    for held in (work.home / "ledger").glob("region__nyc*"):
        held.unlink()
    for held in (pristine.home / "ledger").glob("region__nyc*"):
        shutil.copyfile(held, work.home / "ledger" / held.name)


def content_of(made: SmallLedger, part: str) -> object:
    """The readable content of the part, read without Ridecast's code."""
    if part == "tiles":
        return {path: (made.folder / path).read_bytes() for path in files_of(made, part)}
    return made.content()


PLACES = {
    "database": r"entry \d+|entries|size|root|database|nodes|no region nyc|damaged|cannot",
    "wal": r"entry \d+|size|root|database|nodes|checkpoint: it covers|damaged",
    "blobs": r"entry \d+: its (counts|chunks|model): blob [0-9a-f]{64}: the stored bytes hash to",
    "checkpoint": r"checkpoint",
    "key": r"checkpoint|public key",
    "tiles": r"tile/|entry \d+: its|checkpoint",
}


@pytest.mark.parametrize("part", PLACES)
def test_a_flipped_byte_is_found_or_harmless(pristine: SmallLedger, with_wal: SmallLedger, tmp_path: Path, part: str) -> None:
    """A sample of bytes of every part: database, WAL, blobs, checkpoint, key, tiles."""
    flip_all(with_wal if part == "wal" else pristine, part, tmp_path / "work", SAMPLES[part], PLACES[part])


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("part", PLACES)
def test_every_flipped_byte_is_found_or_harmless(pristine: SmallLedger, with_wal: SmallLedger, tmp_path: Path, part: str) -> None:
    """Every byte of blobs, checkpoint, key and tiles; 6,000 of the database's and 4,000 of the WAL's."""
    flip_all(with_wal if part == "wal" else pristine, part, tmp_path / "work", LONG.get(part), PLACES[part])


# --- more than a byte --------------------------------------------------------------------------------


def run_sql(made: SmallLedger, *statements: str) -> None:
    """Change the region's database behind the ledger's back."""
    connection = sqlite3.connect(made.folder / DATABASE)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def forked(made: SmallLedger, folder: Path, signer: Signer | None = None, changed: int = 5) -> SmallLedger:
    """A home whose region has another entry at one index, with all hashes and signatures recomputed."""
    stores = open_stores(made.settings(), reading=True)
    payloads = [stored.payload for stored in stores.ledger.scan(LOG)]
    stores.close()
    payloads[changed] = payloads[changed][:-1] + bytes([payloads[changed][-1] ^ 1])
    other = made.copy(folder)
    for path in (*(other.home / "ledger").glob("region__nyc*"), *(other.home / "checkpoints").glob("region__nyc*")):
        path.unlink()
    if signer is None:
        stores = open_stores(other.settings())
        stores.ledger.append(LOG, 0, payloads)
        stores.close()
        return other
    for path in (other.home / "ledger").glob("*.sqlite"):  # A forger also removes the record of whose ledger it is.
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM owner")
    ledger = open_embedded(other.home, instance="local", clock=lambda: 0.0, signer=signer)
    ledger.append(LOG, 0, payloads)
    ledger.close()
    return other


HANDS: dict[str, tuple[Callable[[SmallLedger], object], str]] = {
    "delete an entry": (lambda made: run_sql(made, 'DELETE FROM entries WHERE "index" = 4'), r"entry 4: missing"),
    "swap two entries": (
        lambda made: run_sql(
            made,
            'UPDATE entries SET "index" = 99 WHERE "index" = 4',
            'UPDATE entries SET "index" = 4 WHERE "index" = 7',
            'UPDATE entries SET "index" = 7 WHERE "index" = 99',
        ),
        r"root: the entries hash to",
    ),
    "truncate": (lambda made: run_sql(made, 'DELETE FROM entries WHERE "index" > 8', "UPDATE logs SET size = 9"), r"it covers 12"),
    "cut the file": (lambda made: _cut(made.folder / DATABASE, 8_192), r"database|damaged|malformed"),
    "empty the file": (lambda made: _cut(made.folder / DATABASE, 0), r"it covers 12 entries, the database has no region nyc"),
    "remove the file": (lambda made: (made.folder / DATABASE).unlink(), r"it covers 12 entries, the database has no region nyc"),
    "rename the log": (lambda made: run_sql(made, "UPDATE logs SET name = 'region/oslo'"), r"the database has no region nyc"),
    "remove a blob": (
        lambda made: next((made.home / "blobs/forecast").rglob("??/*")).unlink(),
        r"entry \d+: its chunks, blob .* is missing",
    ),
    "swap two blobs": (lambda made: _swap(*list((made.home / "blobs/forecast").rglob("??/*"))[:2]), r"entry \d+: its chunks: blob"),
    "remove the checkpoint": (lambda made: (made.home / "checkpoints/region__nyc.txt").unlink(), r"region__nyc.txt is missing"),
    "swap two checkpoints": (
        lambda made: _swap(made.home / "checkpoints/region__nyc.txt", made.home / "checkpoints/runs.txt"),
        r"expected origin ridecast/local/region/nyc",
    ),
    "remove the key": (lambda made: public_path(made.settings()).unlink(), r"the public key to verify .* is missing"),
    "another's key": (lambda made: write_verifier(public_path(made.settings()), OTHER.verifier), r"expected a good signature of"),
}


@pytest.mark.parametrize("hand", HANDS)
def test_tampering_by_hand_is_named(small: SmallLedger, hand: str) -> None:
    """Deleting, reordering, truncating, removing and swapping are each named with their place."""
    change, expected = HANDS[hand]
    change(small)
    said = small.verified()
    assert any(re.search(expected, line) for line in said), said


@pytest.mark.parametrize("grown", [1, 3])
def test_an_older_copy_is_a_rollback(small: SmallLedger, tmp_path: Path, grown: int) -> None:
    """An older copy restored with its checkpoint is clean by itself, and contradicts kept checkpoints."""
    older = small.copy(tmp_path / "older")
    small.append(range(FIRST_SLOT + 4, FIRST_SLOT + 4 + grown))
    small.export()
    shutil.copyfile(small.kept, older.kept)
    assert [] == older.verified() + older.tiles_verified()
    size = 12 + 3 * grown
    assert [f"{LOG}: kept.txt: it covers {size} entries, the database has 12: rolled back or truncated"] == older.verified(older.kept)
    assert any(f"it covers {size} entries, the export has 12" in line for line in older.tiles_verified(older.kept))
    shutil.copyfile(small.home / "checkpoints/region__nyc.txt", older.home / "checkpoints/region__nyc.txt")
    assert [f"{LOG}: checkpoint: it covers {size} entries, the database has 12: rolled back or truncated"] == older.verified()


def test_a_fork_contradicts_kept_checkpoints(small: SmallLedger, tmp_path: Path) -> None:
    """A history rewritten with the key is consistent by itself, and contradicts any kept checkpoint above the change."""
    other = forked(small, tmp_path / "other")
    assert [] == other.verified()
    [said] = other.verified(other.kept)
    assert re.search(r"kept.txt: at size 12 expected root \w+, got \w+; checkpoint matches what is stored: the log was forked", said)
    other.kept.unlink()
    shutil.rmtree(other.tiles)
    other.export()
    assert [] == other.tiles_verified()
    assert any("the log was forked" in line for line in other.tiles_verified(small.kept))


def test_signed_again_with_another_key(small: SmallLedger, tmp_path: Path) -> None:
    """A fork with a replaced key is found with the old key or a kept checkpoint."""
    old = small.key()
    other = forked(small, tmp_path / "other", OTHER)
    assert any("expected a good signature of" in line for line in other.verified())
    write_verifier(public_path(other.settings()), OTHER.verifier)
    for log in ("control", "runs"):
        (other.home / "checkpoints" / f"{log}.txt").unlink()
        (other.home / "ledger" / f"{log}.sqlite").unlink()
    assert [] == other.verified()
    assert any("expected a good signature of" in line for line in other.verified(verifier=old))
    said = other.verified(other.kept)
    assert any("another key signed this log, or its key was replaced" in line for line in said)
    assert any("kept.txt: at size 12 expected root" in line for line in said)


TILE_HANDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "remove a bundle": (lambda log: (log / "tile/entries/000.p/12").unlink(), r"tile/entries/000.p/12: missing"),
    "remove a tile": (lambda log: (log / "tile/0/000.p/12").unlink(), r"tile/0/000.p/12: missing"),
    "remove a blob": (lambda log: next((log / "blobs").iterdir()).unlink(), r"entry \d+: its \w+, blob \w+, is missing"),
    "cut a bundle": (lambda log: _cut(log / "tile/entries/000.p/12", 700), r"tile/entries/000.p/12: "),
    "cut a tile": (lambda log: _cut(log / "tile/0/000.p/12", 320), r"tile/0/000.p/12: expected 384 bytes, got 320"),
    "cut the checkpoint": (lambda log: _cut(log / "checkpoint", 100), r"checkpoint: "),
    "another log's bundle": (
        lambda log: shutil.copyfile(log.parents[1] / "runs/tile/entries/000.p/1", log / "tile/entries/000.p/12"),
        r"tile/entries/000.p/12: expected 12 entries, got 1",
    ),
}


@pytest.mark.parametrize("hand", TILE_HANDS)
def test_tampering_with_tiles_is_named(small: SmallLedger, hand: str) -> None:
    """A missing, truncated or foreign file of an export is named."""
    change, expected = TILE_HANDS[hand]
    change(small.tiles / LOG)
    said = small.tiles_verified()
    assert any(re.search(expected, line) for line in said), said


def _cut(path: Path, size_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:size_bytes])


def _swap(one: Path, other: Path) -> None:
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)
