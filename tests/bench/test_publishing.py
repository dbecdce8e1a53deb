"""How soon an issue is published after its append, and what a publisher that waits asks of the database."""

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from dataflows.stream.publish import Publisher
from ledger.store.blobs import open_blobs
from schemas.records.record_codec import encode
from schemas.regions import load_region
from tests.forecast_samples import sample_columns, sample_issued
from tests.ledger.places import LOG, Place

ROUNDS = 15
SPACED_S = 0.7  # longer than the pause behind each published issue, so that every append meets a publisher that waits
IDLE_S = 6.0
MOST_LATENCY_MS = 100.0
MOST_IDLE_QUERIES_PER_S = 2.0


class Timed:
    """A sink that remembers when it was given what."""

    def __init__(self) -> None:
        self.published_s: dict[int, float] = {}
        self._next_index = 0
        self.place = "memory"

    def root(self, log: str) -> bytes:
        """Of no ledger in particular."""
        return b""

    def cursor(self, log: str) -> int:
        """How far it is."""
        return self._next_index

    def publish(self, messages: Sequence[tuple[bytes, bytes | None]], log: str, next_index: int, root: bytes = b"") -> bool:
        """Note the time."""
        self.published_s[next_index - 1] = time.perf_counter()
        self._next_index = next_index
        return True

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.bench
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_publishing(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Every issue is published within the bound, and a publisher without work asks the database no more than twice a second."""
    place = Place(tmp_path / "home", request.getfixturevalue("postgres_url") if store == "postgres" else "")
    writer, reader, blobs = place.open(), place.open(), open_blobs(tmp_path / "blobs", "")
    sink, stop, asked = Timed(), threading.Event(), [0]
    publisher = Publisher(reader, blobs, sink, load_region("nyc"))
    thread = threading.Thread(target=publisher.run, args=(stop,))

    def count(*_: object) -> None:
        asked[0] += 1

    columns = sample_columns(0)
    appended_s = {}
    writer.append(LOG, 0, [encode(sample_issued(columns, 4_660_000))])
    thread.start()
    for number in range(1, ROUNDS + 1):
        time.sleep(SPACED_S)
        writer.append(LOG, number, [encode(sample_issued(columns, 4_660_000 + number))])
        appended_s[number] = time.perf_counter()
    time.sleep(3.0)
    sa.event.listen(Engine, "before_cursor_execute", count)
    time.sleep(IDLE_S)
    sa.event.remove(Engine, "before_cursor_execute", count)
    stop.set()
    thread.join()
    place.close()
    took_ms = np.array([1000 * (sink.published_s[number] - at) for number, at in appended_s.items()])
    rate = asked[0] / IDLE_S
    print(
        f"\npublished on {store} after an append: p50 {np.median(took_ms):.1f} ms, largest {took_ms.max():.1f} ms of {ROUNDS}; "
        f"idle: {rate:.1f} queries a second; load {os.getloadavg()[0]:.1f}"
    )
    assert took_ms.max() < MOST_LATENCY_MS
    assert rate <= MOST_IDLE_QUERIES_PER_S
