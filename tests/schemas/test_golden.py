"""Formats do not move by accident: bytes written today equal the bytes that were released."""

import json

import numpy as np
import pytest

from schemas.events.codec import decode_slow
from schemas.events.rides import Reason, Rejected
from schemas.forecasts.chunks import NUMBERS, decode_chunk, decode_chunks
from schemas.forecasts.messages import Cursor, decode_cursor, decode_demand_forecast, decode_reject
from tests.schemas.golden import FILE, FULL_EVENT, SPARE_EVENT, TARGET_US, forecasts, formats

GOLDEN: dict[str, str] = json.loads(FILE.read_text("utf-8"))


@pytest.mark.parametrize("name", sorted({*GOLDEN, *formats()}))
def test_a_format_is_written_as_it_was_released(name: str) -> None:
    """A schema file or a byte that changed needs a new version, not another golden file."""
    assert GOLDEN.get(name) == formats().get(name)


def test_released_bytes_are_read_as_what_they_meant() -> None:
    """Old events, chunks, messages, rejects and cursors still say the same."""
    golden = {name: bytes.fromhex(text) for name, text in GOLDEN.items()}
    assert decode_slow(golden["ride_event.full"]) == FULL_EVENT
    assert decode_slow(golden["ride_event.spare"]) == SPARE_EVENT
    for name in ("reject.value", "reject.value_v1"):
        assert decode_reject(golden[name]) == Rejected(2, 41, TARGET_US, Reason.BAD_FARE, b"\x00\xff", "fare -1")
    with_source = Rejected(2, 41, TARGET_US, Reason.BAD_FARE, b"\x00\xff", "fare -1", '{"topic_id":"a"}')
    assert decode_reject(golden["reject.value_v3"]) == with_source
    assert decode_cursor(golden["publish_cursor"]) == ("region/nyc", Cursor(812))
    assert decode_cursor(golden["publish_cursor.topic"]) == ("region/nyc", Cursor(812, bytes(range(32)), "a topic id"))
    assert decode_cursor(golden["publish_cursor.root"]) == ("region/nyc", Cursor(812, bytes(range(32))))
    assert decode_demand_forecast(golden["demand_forecast.value"])["log_index"] == 812
    columns = decode_chunks([golden["forecast_chunk.first"], golden["forecast_chunk.last"]], (15, 30, 60))
    last = decode_chunk(golden["forecast_chunk.last"], (15, 30, 60))
    for name in ("cells", *NUMBERS, "fallback"):
        assert np.array_equal(getattr(forecasts(), name), getattr(columns, name))
        assert np.array_equal(getattr(forecasts(), name)[16:], getattr(last, name))
