"""Forecasts as chunks: the fast writer and reader against fastavro, the blob around them, and damage."""

import io
from dataclasses import replace

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.encoding.avro_files import head, plain_parsed
from schemas.encoding.varints import encode_longs
from schemas.errors import ContractError, DamagedError
from schemas.forecasts.chunks import (
    CHUNK_CELLS,
    NUMBERS,
    ForecastColumns,
    chunks_in,
    decode_chunk,
    decode_chunks,
    encode_chunks,
    pack_blob,
    unpack_blob,
)
from schemas.records.records import FALLBACKS

HORIZONS_MIN = (15, 30, 60)


def forecasts(n: int, seed: int, horizons_min: tuple[int, ...] = HORIZONS_MIN, *, largest: int = 10_000) -> ForecastColumns:
    """Forecasts of n scattered cells."""
    rng = np.random.default_rng(seed)
    numbers = [rng.integers(0, largest, (n, len(horizons_min))) for _ in NUMBERS]
    cells = np.sort(rng.choice(1 << 22, n, replace=False)).astype(np.uint64) << np.uint64(8)
    mean, median, lower, upper, dispersion, baseline = numbers
    fallback = rng.integers(0, len(FALLBACKS), n).astype(np.uint8)
    return ForecastColumns(cells, horizons_min, mean, median, lower, upper, dispersion, baseline, fallback)


def assert_same(expected: ForecastColumns, got: ForecastColumns) -> None:
    """Equal values and types in every column."""
    assert expected.horizons_min == got.horizons_min
    for name in ("cells", *NUMBERS, "fallback"):
        wanted, column = getattr(expected, name), getattr(got, name)
        assert wanted.dtype == column.dtype
        assert np.array_equal(wanted, column), name


def rows(columns: ForecastColumns, start: int, stop: int) -> ForecastColumns:
    """Some of the cells."""
    return replace(columns, **{name: getattr(columns, name)[start:stop] for name in ("cells", *NUMBERS, "fallback")})


@given(st.integers(0, 70), st.integers(0, 9), st.integers(1, 4), st.sampled_from([2, 1000, 2**62]))
@settings(deadline=None)
def test_reading_undoes_writing(n: int, seed: int, horizons: int, largest: int) -> None:
    """Any number of cells and horizons comes back, all at once and chunk by chunk."""
    columns = forecasts(n, seed, tuple(range(5, 5 * horizons + 1, 5)), largest=largest)
    chunks = encode_chunks(columns)
    assert -(-n // CHUNK_CELLS) == len(chunks)
    assert_same(columns, decode_chunks(chunks, columns.horizons_min))
    for index, chunk in enumerate(chunks):
        start = index * CHUNK_CELLS
        assert_same(rows(columns, start, start + CHUNK_CELLS), decode_chunk(chunk, columns.horizons_min))


@given(st.integers(1, 40), st.integers(0, 9))
@settings(deadline=None)
def test_chunks_are_what_fastavro_writes(n: int, seed: int) -> None:
    """The bytes that are hashed come from the schema, not from our arithmetic."""
    columns = forecasts(n, seed)
    expected = []
    for start in range(0, n, CHUNK_CELLS):
        part = rows(columns, start, start + CHUNK_CELLS)
        fields = {name: getattr(part, name).ravel().tolist() for name in (*NUMBERS, "fallback")}
        fields["cells"] = np.diff(part.cells.astype(np.int64), prepend=0).tolist()
        out = io.BytesIO(head("forecast_chunk.v1"))
        out.seek(0, io.SEEK_END)
        fastavro.schemaless_writer(out, plain_parsed("forecast_chunk.v1"), fields)
        expected.append(out.getvalue())
    assert expected == encode_chunks(columns)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_damaged_chunks_are_refused_or_read_as_fastavro_reads_them(data: st.DataObject) -> None:
    """The fast reader never gives numbers that the plain one would not give."""
    chunk = bytearray(encode_chunks(forecasts(3, 1, (15,), largest=200))[0])
    at = data.draw(st.integers(0, len(chunk) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "insert", "drop"])):
        case "flip":
            chunk[at] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del chunk[at:]
        case "insert":
            chunk.insert(at, data.draw(st.integers(0, 255)))
        case _:
            del chunk[at]
    try:
        fast = decode_chunks([bytes(chunk)], (15,))
    except DamagedError:
        return
    assert_same(decode_chunk(bytes(chunk), (15,)), fast)


def test_a_chunk_of_other_horizons_is_refused() -> None:
    """Reading with the wrong number of horizons cannot succeed by chance."""
    chunks = encode_chunks(forecasts(20, 1))
    with pytest.raises(DamagedError, match=r"expected forecast_chunk\.v1 with 1 horizons"):
        decode_chunks(chunks, (15,))
    with pytest.raises(DamagedError, match=r"expected forecast_chunk\.v1 with 1 horizons"):
        decode_chunk(chunks[0], (15,))


@pytest.mark.parametrize("values", [b"", b"\x00", b"\x01" * 5, b"\x00" * 16, b"\x02" * 24])
def test_a_chunk_of_too_few_values_is_refused(values: bytes) -> None:
    """A head with little or nothing after it holds no cell."""
    with pytest.raises(DamagedError, match="chunk: expected"):
        decode_chunks([head("forecast_chunk.v1") + values], (15, 30))


@pytest.mark.parametrize("code", [-1, -256, len(FALLBACKS), 256])
def test_a_fallback_that_is_none_is_refused(code: int) -> None:
    """A code of no fallback is damage both ways, also one that a byte would turn into another code."""
    longs = [1, 7, 0, *([1, 1000, 0] * 6), 1, code, 0]  # one cell and one horizon: cells, six numbers, fallbacks
    chunk = head("forecast_chunk.v1") + encode_longs(np.array(longs))[0].tobytes()
    with pytest.raises(DamagedError):
        decode_chunk(chunk, (15,))
    with pytest.raises(DamagedError):
        decode_chunks([chunk], (15,))


def test_bytes_after_a_chunk_are_refused() -> None:
    """A chunk ends where its last field ends, however it is read."""
    [chunk] = encode_chunks(forecasts(3, 1, (15,)))
    with pytest.raises(DamagedError, match="chunk: expected"):
        decode_chunk(chunk + b"\x00", (15,))
    with pytest.raises(DamagedError, match="chunk: expected"):
        decode_chunks([chunk + b"\x00"], (15,))


def test_chunks_in_the_wrong_order_are_refused() -> None:
    """Cells ascend through a whole issue."""
    chunks = encode_chunks(forecasts(32, 1))
    with pytest.raises(DamagedError, match="strictly ascending"):
        decode_chunks(chunks[::-1], HORIZONS_MIN)


def test_a_cell_is_found_in_its_chunk_and_nowhere_else() -> None:
    """The blob's index leads to the one chunk that holds a cell; other cells have none."""
    columns = forecasts(50, 2)
    blob = unpack_blob(pack_blob(encode_chunks(columns)))
    assert blob.chunks == tuple(chunks_in(pack_blob(encode_chunks(columns))))
    for row, cell in enumerate(columns.cells.tolist()):
        found = blob.chunk_of(cell)
        assert found is not None
        index, chunk = found
        assert row // CHUNK_CELLS == index
        assert cell in decode_chunk(chunk, HORIZONS_MIN).cells.tolist()
        assert blob.chunk_of(cell + 1) is None
    assert blob.chunk_of(0) is None
    assert_same(columns, blob.columns(HORIZONS_MIN))


def test_an_issue_without_cells_has_an_empty_blob() -> None:
    """No cell, no chunk; the columns keep their shape."""
    blob = unpack_blob(pack_blob(encode_chunks(forecasts(0, 1))))
    assert blob.chunks == ()
    assert blob.columns(HORIZONS_MIN).mean.shape == (0, 3)
    assert blob.chunk_of(7) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "expected .* bytes, got"),
        (lambda data: data + b"x", "expected .* bytes, got"),
        (lambda data: b"X" + data, "got .* bytes from"),
    ],
)
def test_a_blob_that_is_cut_or_foreign_is_damage(change: "object", message: str) -> None:
    """The error says what was expected and what came."""
    assert callable(change)
    with pytest.raises(DamagedError, match=message):
        unpack_blob(change(pack_blob(encode_chunks(forecasts(40, 1)))))
    with pytest.raises(DamagedError, match="blob: expected"):
        chunks_in(change(pack_blob(encode_chunks(forecasts(40, 1)))))
    with pytest.raises(DamagedError):
        unpack_blob(b"")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": np.array([2, 1], np.uint64)}, "strictly ascending"),
        ({"cells": np.array([1, 1], np.uint64)}, "strictly ascending"),
        ({"fallback": np.array([0, 6], np.uint8)}, "codes below 6"),
        ({"mean": np.zeros((2, 2), np.int64)}, r"mean: expected \(2, 3\), got \(2, 2\)"),
    ],
)
def test_columns_that_break_their_promise_are_not_written(change: dict[str, np.ndarray], message: str) -> None:
    """A mistake of ours stops before it is hashed."""
    with pytest.raises(ContractError, match=message):
        encode_chunks(replace(forecasts(2, 1), **change))  # type: ignore[arg-type]
