"""How fast events and forecasts become bytes and back, on one core, in CPU time."""

import time
from collections.abc import Callable

import pytest

from schemas.events.codec import Decoder, encode_events, event_columns_reference
from schemas.forecasts.chunks import decode_chunks, encode_chunks
from tests.schemas.forecasts.test_chunks import HORIZONS_MIN, forecasts
from tests.schemas.rides import REGIONS, raw_batch, ride_columns

pytestmark = pytest.mark.bench
BATCH_EVENTS = 5_000


def best_s(work: Callable[[], object], rounds: int = 30) -> float:
    """CPU seconds of the fastest round: other programs can only slow one down."""
    spent = []
    for _ in range(rounds):
        before = time.process_time()
        work()
        spent.append(time.process_time() - before)
    return min(spent)


@pytest.mark.parametrize("full", [False, True], ids=["needed fields", "all fields"])
def test_events_are_read_and_written_by_the_batch(full: bool) -> None:
    """Batches of 5,000 events with 32-letter ids: the fast decoder is far ahead of one event at a time."""
    columns = ride_columns(BATCH_EVENTS, 1, full=full)
    values = encode_events(columns)
    raw, decoder = raw_batch(values), Decoder(REGIONS)
    fast = best_s(lambda: decoder.decode(raw))
    slow = best_s(lambda: event_columns_reference(raw, REGIONS), 3)
    write = best_s(lambda: encode_events(columns))
    size_bytes = sum(map(len, values)) / BATCH_EVENTS
    million = BATCH_EVENTS / 1e6
    print(f"\n{size_bytes:.0f} bytes: read {million / fast:.2f} M/s, one by one {million / slow:.2f} M/s, write {million / write:.2f} M/s")
    assert fast < slow / 5


def test_an_issue_becomes_chunks_and_back() -> None:
    """3,100 cells x 3 horizons: a close has 18 ms for everything."""
    columns = forecasts(3_100, 1, largest=2_000)
    chunks = encode_chunks(columns)
    write, read = best_s(lambda: encode_chunks(columns)), best_s(lambda: decode_chunks(chunks, HORIZONS_MIN))
    print(f"\n{len(chunks)} chunks, {sum(map(len, chunks)):,} bytes: write {write * 1e3:.2f} ms, read {read * 1e3:.2f} ms")
    assert write < 0.01
