"""What is published decodes with the schema alone, and says what the columns say."""

import io

import fastavro
import numpy as np
import pytest
from hypothesis import given, strategies as st

from schemas.encoding.avro_files import head, plain_parsed, released
from schemas.errors import DamagedError, UsageError
from schemas.events.cells import cell_texts
from schemas.events.rides import NO_TIME, Reason, Rejected
from schemas.forecasts.messages import (
    Cursor,
    decode_cursor,
    decode_demand_forecast,
    decode_reject,
    encode_cursor,
    encode_demand_forecasts,
    encode_reject,
    forecast_key,
)
from schemas.records.records import FALLBACKS, ForecastIssued
from schemas.topics import TOPICS, topic_named
from tests.schemas.forecasts.test_chunks import HORIZONS_MIN, forecasts


def issued(*models: bytes) -> ForecastIssued:
    """An issue's entry."""
    return ForecastIssued(
        region="nyc",
        measure="pickups",
        slot=4_666_667,
        target_us=1_400_000_400_000_000,
        horizons_min=HORIZONS_MIN,
        models=models,
        features_digest=b"",
        family="negative_binomial",
        spread=(),
        cells=40,
        chunks=3,
        root=b"",
        blob=b"",
        fallbacks={},
        universe_version=1,
        slot_status="partial",
    )


def test_a_message_says_what_its_row_says() -> None:
    """Each cell's key, numbers in rides, provenance and model, read back field by field."""
    columns = forecasts(40, 3)
    messages = encode_demand_forecasts(columns, issued(b"\x0a" * 32), 17, 6)
    texts = cell_texts(columns.cells, 6).tolist()
    assert [forecast_key("nyc", text) for text in texts] == [key for key, _ in messages]
    for row, (_, value) in enumerate(messages):
        fallback = FALLBACKS[columns.fallback[row]]
        assert decode_demand_forecast(value) == {
            "region": "nyc",
            "measure": "pickups",
            "cell": texts[row],
            "target": 1_400_000_400_000_000,
            "issued_slot": 4_666_667,
            "status": "partial",
            "log_index": 17,
            "horizons": [
                {"horizon_min": horizon_min}
                | {name: getattr(columns, name)[row, place] / 1000 for name in ("mean", "median", "lower", "upper", "baseline")}
                for place, horizon_min in enumerate(HORIZONS_MIN)
            ],
            "fallback": str(fallback),
            "model_digest": "" if fallback in ("quiet", "baseline", "level") else "0a" * 32,
        }


def test_messages_are_what_fastavro_writes() -> None:
    """The matrix of bytes equals the schema's own encoding."""
    for _, value in encode_demand_forecasts(forecasts(9, 4), issued(), 2**40, 7):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, plain_parsed("demand_forecast.v1"), decode_demand_forecast(value))
        assert head("demand_forecast.v1") + out.getvalue() == value


def test_an_issue_without_cells_has_no_messages() -> None:
    """Nothing to say is not an error."""
    assert encode_demand_forecasts(forecasts(0, 1), issued(), 0, 6) == []


@given(
    st.integers(0, 99),
    st.integers(0, 2**62),
    st.integers(0, 2**60) | st.just(NO_TIME),
    st.sampled_from(list(Reason)),
    st.binary(),
    st.text(),
)
def test_a_reject_keeps_everything(partition: int, offset: int, logged_at_us: int, reason: Reason, value: bytes, detail: str) -> None:
    """Place, reason and the original bytes come back; the key is the place."""
    rejected = Rejected(partition, offset, logged_at_us, reason, value, detail)
    key, message = encode_reject(rejected)
    assert f"{partition}/{offset}".encode() == key
    assert rejected == decode_reject(message)


@given(st.text(), st.builds(Cursor, st.integers(0, 2**62), st.binary(max_size=32), st.just("") | st.text()))
def test_a_cursor_comes_back(log: str, cursor: Cursor) -> None:
    """A publishing position is read as it was written, with root and topic and, as in earlier releases, without."""
    assert (log, cursor) == decode_cursor(encode_cursor(log, cursor))


A_CURSOR = encode_cursor("a", Cursor(1, bytes(32), "id"))


@pytest.mark.parametrize("value", [b"", b"\xc3\x01", A_CURSOR[:-1], A_CURSOR + b"\x00", b"\x00" + A_CURSOR])
def test_a_foreign_message_is_damage(value: bytes) -> None:
    """Cut, stretched or of another schema: refused."""
    with pytest.raises(DamagedError, match=r"expected a message of publish_cursor.v3"):
        decode_cursor(value)


def test_a_reject_of_an_unknown_reason_is_damage() -> None:
    """A reason that no rule has was not written by us."""
    out = io.BytesIO()
    fields = {"partition": 0, "offset": 0, "logged_at": None, "reason": "mood", "detail": "", "value": b""}
    fastavro.schemaless_writer(out, plain_parsed("reject.v1"), fields)
    with pytest.raises(DamagedError, match="got 'mood'"):
        decode_reject(head("reject.v1") + out.getvalue())


def test_every_topic_has_a_released_schema_and_partitions() -> None:
    """The table names files that exist, and settings that a broker knows."""
    for name, topic in TOPICS.items():
        assert name == topic.name
        assert released(topic.schema)["type"] == "record"
        assert topic.partitions > 0
        assert {"cleanup.policy", "retention.ms"} <= set(dict(topic.config))


def test_an_unknown_topic_is_named() -> None:
    """The error lists what there is."""
    with pytest.raises(UsageError, match=r"expected one of rides.raw, .*got 'rides'"):
        topic_named("rides")


def test_a_forecast_of_many_cells_keeps_its_order() -> None:
    """Messages of different fallbacks are written together and come out by cell."""
    columns = forecasts(200, 8)
    cells = [decode_demand_forecast(value)["cell"] for _, value in encode_demand_forecasts(columns, issued(), 0, 6)]
    assert cell_texts(columns.cells, 6).tolist() == cells
    assert np.unique(columns.fallback).size == len(FALLBACKS)
