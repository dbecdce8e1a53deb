"""How long one close takes until it is durable, as a multiple of one bare fsync on the same disk."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ledger.store.blobs import Blobs, Retention, open_blobs
from ledger.store.log import Ledger
from tests.ledger.places import LOG, Place, scored

ROUNDS = int(os.environ.get("RIDECAST_BENCH_ROUNDS", 300))
BATCHES = 3  # the best one counts: whoever shares the machine disturbs, and never speeds up
WARM_UP_ROUNDS = 20
CHUNKS_BYTES = 100_000
ENTRY_BYTES = (6_000, 1_200, 400, 400, 200)  # a close of New York: slot, scores, issues, digests
FLOOR_P99_MS = {"sqlite": 15.0, "postgres": 20.0}


def timed_ms(step: Callable[[int], object], rounds: int = ROUNDS) -> tuple[float, float]:
    """(p50, p99) in milliseconds of a step that is told its number."""
    took_s = []
    for number in range(rounds + WARM_UP_ROUNDS):
        begun_s = time.perf_counter()
        step(number)
        took_s.append(time.perf_counter() - begun_s)
    p50, p99 = np.percentile(np.array(took_s[WARM_UP_ROUNDS:]) * 1000, (50, 99))
    return float(p50), float(p99)


def bare_fsync_ms(folder: Path) -> tuple[float, float]:
    """The same of 4 KB behind a file's end and an fsync: what the disk takes for one durable write at least."""
    with (folder / "bare").open("wb", buffering=0) as file:

        def step(_: int) -> None:
            file.write(bytes(4096))
            os.fsync(file.fileno())

        return timed_ms(step)


def close_ms(ledger: Ledger, blobs: Blobs, batch: int) -> tuple[float, float]:
    """The same of a close: its chunks in a blob, then its entries, both durable; checkpoints are written beside."""
    random, size = np.random.default_rng(batch), ledger.head(LOG).size
    chunks = [random.bytes(CHUNKS_BYTES) for _ in range(ROUNDS + WARM_UP_ROUNDS)]
    entries = [[scored(size + 5 * number + at, size_bytes=more) for at, more in enumerate(ENTRY_BYTES)] for number in range(len(chunks))]

    def step(number: int) -> None:
        blobs.put(chunks[number], Retention.FORECAST)
        ledger.append(LOG, size + 5 * number, entries[number])

    return timed_ms(step)


@pytest.mark.bench
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_one_close(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """p99 of a durable close stays below the floor; printed beside the disk's own speed right after."""
    place = Place(tmp_path / "home", request.getfixturevalue("postgres_url") if store == "postgres" else "")
    ledger, blobs = place.open(), open_blobs(place.home, place.url)
    batches = [(*close_ms(ledger, blobs, batch), *bare_fsync_ms(tmp_path)) for batch in range(BATCHES)]
    blobs.close()
    place.close()
    p50, p99, bare50, bare99 = min(batches, key=lambda batch: batch[1])
    print(
        f"\none close on {store}, best of {BATCHES} x {ROUNDS}: p50 {p50:.2f} ms = {p50 / bare50:.1f} bare fsyncs ({bare50:.2f} ms), "
        f"p99 {p99:.2f} ms = {p99 / bare99:.1f} bare fsyncs ({bare99:.2f} ms); load {os.getloadavg()[0]:.1f}"
    )
    assert p99 <= FLOOR_P99_MS[store], f"expected p99 <= {FLOOR_P99_MS[store]} ms, got {p99:.2f} ms; a bare fsync took {bare99:.2f} ms"
