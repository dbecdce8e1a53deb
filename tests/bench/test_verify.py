"""How fast a ledger is verified, held against merely hashing the bytes that it reads, and in how much memory."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from dataflows.audit.verification import VerifyOptions, verify_folder, verify_stores
from dataflows.jobs.exports.tiles import export_tiles
from dataflows.stream.stores import open_stores
from ledger.check.verify import PAGE_ENTRIES
from ledger.formats.merkle import leaf_hash, root
from ledger.formats.tiles import TILE_WIDTH, Tile, decode_bundle
from ledger.store import statements
from ledger.store.blobs import BlobFolder, ReadBlobs, Retention
from ledger.store.tables import reading
from schemas.forecasts.chunks import encode_chunks, pack_blob
from schemas.records.record_codec import encode
from schemas.records.records import (
    CountTable,
    Fallback,
    ForecastIssued,
    HorizonSpread,
    PartitionCut,
    ScoreRow,
    SlotClosed,
    SlotScored,
    StateDigested,
)
from tests.faults.small_ledger import LOG, SmallLedger, silent
from tests.schemas.forecasts.test_chunks import HORIZONS_MIN, forecasts

pytestmark = pytest.mark.bench
CELLS, ACTIVE_CELLS = 3_000, 300  # forecast for, and with rides in a slot: New York
CLOSES = 6_000  # three weeks
AT_ONCE = 100  # closes in one append
ROUNDS = 5
FIRST_SLOT = 4_667_000

PEAK = """
import resource, sys
from ridecast.main import cli
status = cli.main(sys.argv[1:], standalone_mode=False)
print(status, *(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
"""


def close_of(slot: int, blob: bytes, chunks: int, chunks_root: bytes) -> list[bytes]:
    """The five entries of a close, as large as New York's."""
    steps = (FIRST_SLOT, *[0] * (ACTIVE_CELLS - 1))
    table = CountTable(measure="pickups", slots=steps, cells=tuple(range(10**6, 10**6 + ACTIVE_CELLS)), counts=(3,) * ACTIVE_CELLS)
    cuts = tuple(
        PartitionCut(
            partition=number,
            cut=10**7 + slot,
            largest_us=10**15,
            open_from=10**7,
            excused=False,
            received=300,
            accepted=300,
            duplicate=0,
            counted=300,
        )
        for number in range(3)
    )
    rows = tuple(
        ScoreRow(
            horizon_min=minutes,
            cells=CELLS,
            truth=4_000,
            forecast_mean_milli=4 * 10**6,
            abs_error_milli=3 * 10**6,
            square_error_micro=10**9,
            baseline_abs_error_milli=3 * 10**6,
            baseline_square_error_micro=10**9,
            covered=2_900,
        )
        for minutes in HORIZONS_MIN
    )
    spread = tuple(
        HorizonSpread(horizon_min=minutes, dispersion_milli=150, quiet_dispersion_milli=100, lower_milli=100, upper_milli=900)
        for minutes in HORIZONS_MIN
    )
    issued = ForecastIssued(
        region="nyc",
        measure="pickups",
        slot=slot,
        target_us=slot * 300_000_000,
        horizons_min=HORIZONS_MIN,
        models=(),
        features_digest=bytes(32),
        family="negative_binomial",
        spread=spread,
        cells=CELLS,
        chunks=chunks,
        root=chunks_root,
        blob=blob,
        fallbacks={Fallback.NONE: 1_000, Fallback.QUIET: 2_000},
        universe_version=17,
        slot_status="observed",
    )
    return [
        encode(
            SlotClosed(
                region="nyc",
                slot=slot,
                status="observed",
                partitions=cuts,
                counts=(table,),
                corrections=(),
                counts_blob=b"",
                control_size=7,
                control_root=bytes(32),
            )
        ),
        encode(SlotScored(region="nyc", measure="pickups", slot=slot, settled=False, rows=rows)),
        encode(SlotScored(region="nyc", measure="pickups", slot=slot, settled=True, rows=rows)),
        encode(issued),
        encode(StateDigested(region="nyc", slot=slot, integers=bytes(32), models=bytes(32))),
    ]


def build(folder: Path, closes: int, *, chunks: bool) -> SmallLedger:
    """A ledger of that many closes, with their blobs or with entries alone."""
    made = SmallLedger(folder)
    stores = open_stores(made.settings())
    sources = [encode_chunks(forecasts(CELLS, seed, largest=200)) for seed in range(4)] if chunks else []
    for start in range(0, closes, AT_ONCE):
        payloads: list[bytes] = []
        for number in range(start, min(start + AT_ONCE, closes)):
            if chunks:
                held = sources[number % 4]
                turned = held[number % 150 :] + held[: number % 150]  # other bytes each time, as quickly as can be
                turned[0] = turned[0][:-1] + bytes([number // 300])
                blob, found = stores.blobs.put(pack_blob(turned), Retention.FORECAST), root([leaf_hash(chunk) for chunk in turned])
                payloads += close_of(FIRST_SLOT + number, blob, len(turned), found)
            else:
                payloads += close_of(FIRST_SLOT + number, b"", 0, bytes(32))
        stores.ledger.append(LOG, 5 * start, payloads)
    stores.close()
    return made


def hashed_database(made: SmallLedger, digests: list[bytes]) -> int:
    """Read what verify reads, in the same way, and hash it: bytes."""
    stores = open_stores(made.settings(), reading=True)
    engine, log_id = stores.ledger.opened(LOG)
    size, total = stores.ledger.head(LOG).size, 0
    for start in range(0, size, PAGE_ENTRIES):
        bounds = {"log_id": log_id, "start": start, "stop": min(start + PAGE_ENTRIES, size), "limit": PAGE_ENTRIES}
        with reading(engine, LOG) as connection:
            for row in connection.execute(statements.entries(of_kind=False), bounds).all():
                sha256(row[5]).digest()
                total += len(row[5])
    total += _hashed_blobs(stores.blobs, digests)
    stores.close()
    return total


def hashed_tiles(made: SmallLedger, size: int, digests: list[bytes]) -> int:
    """The same of tiles."""
    total = 0
    for index in range(-(-size // TILE_WIDTH)):
        data = (made.tiles / LOG / Tile(None, index, min(TILE_WIDTH, size - index * TILE_WIDTH)).path()).read_bytes()
        for payload in decode_bundle(data):
            sha256(payload).digest()
        total += len(data)
    return total + _hashed_blobs(BlobFolder(made.tiles / LOG / "blobs"), digests)


def _hashed_blobs(blobs: ReadBlobs, digests: list[bytes]) -> int:
    return sum(len(blobs.get(digest)) for digest in digests)  # `get` hashes what it reads


def verified(made: SmallLedger, processes: int, *, tiles: bool) -> None:
    """Verify, and demand that all is clean."""
    if tiles:
        [report] = verify_folder(made.tiles, VerifyOptions(LOG, (), (made.key(),), processes), silent)
    else:
        stores = open_stores(made.settings(), reading=True)
        [report] = verify_stores(stores, VerifyOptions(LOG, (), (), processes), silent)
        stores.close()
    assert report.problems == ()


def fastest(*works: Callable[[], object]) -> list[float]:
    """Seconds of the fastest round of each, taken in turns: other programs can only slow one down."""
    spent: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for held, work in zip(spent, works, strict=True):
            before = time.perf_counter()
            work()
            held.append(time.perf_counter() - before)
    return [min(held) for held in spent]


def peak_mb(made: SmallLedger, *words: str) -> tuple[float, float]:
    """Largest resident memory of `ridecast ledger verify` and of a process that it started, MB."""
    command = [sys.executable, "-c", PEAK, "ledger", "verify", *words, "--home", str(made.home)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": os.getcwd()}).stdout
    status, mine, others = said.splitlines()[-1].split()
    assert "0" == status, said
    return int(mine) / 1e3, int(others) / 1e3


def export(made: SmallLedger) -> list[bytes]:
    """The ledger as tiles, its blobs beside; their digests."""
    stores = open_stores(made.settings(), reading=True)
    note = stores.ledger.guard.note(LOG)
    assert note is not None
    export_tiles(stores.ledger, LOG, note, made.tiles)
    stores.close()
    folder = made.tiles / LOG / "blobs"
    folder.mkdir()
    files = [path for path in (made.home / "blobs").rglob("*") if path.is_file()]
    for path in files:
        os.link(path, folder / path.name)
    return [bytes.fromhex(path.name) for path in files]


@pytest.mark.parametrize("chunks", [True, False], ids=["5 entries and 100 KB of chunks a close", "entries alone"])
def test_verify_is_half_as_fast_as_hashing(tmp_path: Path, chunks: bool) -> None:
    """A ledger of closes like New York's: at least half the speed of hashing the same bytes, in constant memory."""
    closes = CLOSES if chunks else 4 * CLOSES
    made, small = build(tmp_path / "large", closes, chunks=chunks), build(tmp_path / "small", closes // 4, chunks=chunks)
    digests = export(made)
    processors = os.cpu_count() or 1
    ratios = {}
    works: tuple[tuple[str, bool, Callable[[], int]], ...] = (
        ("SQLite", False, lambda: hashed_database(made, digests)),
        ("tiles", True, lambda: hashed_tiles(made, 5 * closes, digests)),
    )
    for name, tiles, hashed in works:
        total = hashed()
        by_one, by_all = (partial(verified, made, processes, tiles=tiles) for processes in (1, processors))
        least, one, all_of_them = fastest(hashed, by_one, by_all)
        ratios[name] = least / all_of_them
        print(
            f"\n{name}: {5 * closes:,} entries, {len(digests):,} blobs, {total / 1e6:,.0f} MB: hashed in {least:.2f} s, "
            f"verified in {all_of_them:.2f} s by {processors} processes: ratio {least / all_of_them:.2f}, "
            f"in {one:.2f} s by one: ratio {least / one:.2f}"
        )
        mine, other = peak_mb(made, *(["--tiles", str(made.tiles)] if tiles else []))
        print(f"{name}: peak {mine:.0f} MB, and {other:.0f} MB in a process that helps")
    large_mb, small_mb = peak_mb(made)[0], peak_mb(small)[0]
    print(f"SQLite: peak {large_mb:.0f} MB with {closes:,} closes, {small_mb:.0f} MB with {closes // 4:,}")
    assert large_mb < 1.1 * small_mb
    assert not chunks or all(ratio >= 0.5 for ratio in ratios.values()), ratios
