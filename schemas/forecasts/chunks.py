"""Forecasts as columns and as bytes: chunks of 16 cells, which are hashed, and the blob that holds an issue's chunks.

A chunk is Avro (`avro/forecast_chunk.v1.avsc`, single-object encoding) made of arrays of longs only, so the
chunks of an issue are one run of varints. `decode_chunk` is the simple way to read one, with fastavro only.
"""

import io
from dataclasses import dataclass
from itertools import accumulate, pairwise
from struct import unpack_from

import fastavro
import numpy as np

from schemas.encoding.avro_files import head, plain_parsed
from schemas.encoding.varints import MAX_BYTES, decode_longs, encode_longs
from schemas.errors import ContractError, DamagedError
from schemas.events.rides import Int64s, UInt8s, UInt64s
from schemas.records.records import FALLBACKS

CHUNK_CELLS = 16
FORECAST_CHUNK = "forecast_chunk.v1"
MAGIC = b"RIDECST1"  # start of a blob; then count, sizes, first cells (little-endian), chunks
NUMBERS = ("mean", "median", "lower", "upper", "dispersion", "baseline")  # columns with a value per horizon, in schema order


@dataclass(frozen=True, slots=True)
class ForecastColumns:
    """Forecasts of one issue, n cells and h horizons.

    Attributes:
        cells: uint64[n], strictly ascending.
        horizons_min: h windows, ascending.
        mean, median, lower, upper, baseline: int64[n, h], 1/1000 ride.
        dispersion: int64[n, h], 1/1000; variance = mean + dispersion x mean^2.
        fallback: uint8[n], index into `schemas.records.records.FALLBACKS`.
    """

    cells: UInt64s
    horizons_min: tuple[int, ...]
    mean: Int64s
    median: Int64s
    lower: Int64s
    upper: Int64s
    dispersion: Int64s
    baseline: Int64s
    fallback: UInt8s

    def __len__(self) -> int:
        return len(self.cells)

    def check(self) -> None:
        """Raise ContractError if shapes, order or codes are invalid."""
        n, h = len(self.cells), len(self.horizons_min)
        for name in NUMBERS:
            if getattr(self, name).shape != (n, h):
                raise ContractError(f"ForecastColumns: {name}: expected {(n, h)}, got {getattr(self, name).shape}")
        if self.fallback.shape != (n,) or (n and int(self.fallback.max()) >= len(FALLBACKS)):
            raise ContractError(f"ForecastColumns: fallback: expected {n} codes below {len(FALLBACKS)}, got {self.fallback}")
        if n > 1 and not (self.cells[1:] > self.cells[:-1]).all():
            raise ContractError("ForecastColumns: cells: expected strictly ascending codes")


# --- columns to chunks and back ---------------------------------------------------------------------


def encode_chunks(columns: ForecastColumns) -> list[bytes]:
    """Encode an issue as chunks of 16 cells each (the last may have fewer), in order of cells.

    Raises:
        ContractError: the columns have different shapes, or their cells do not ascend.

    >>> zeros = np.zeros((17, 1), np.int64)
    >>> columns = ForecastColumns(np.arange(17, dtype=np.uint64), (15,), *[zeros] * 6, np.zeros(17, np.uint8))
    >>> [len(chunk) for chunk in encode_chunks(columns)]
    [154, 34]
    """
    columns.check()
    n = len(columns)
    full = n // CHUNK_CELLS * CHUNK_CELLS
    runs, counts = [], []
    for start, stop, cells in ((0, full, CHUNK_CELLS), (full, n, n - full)):
        if stop > start:
            run = _longs(columns, start, stop, cells)
            runs.append(run.ravel())
            counts += [run.shape[1]] * len(run)
    if not runs:
        return []
    body, sizes = encode_longs(np.concatenate(runs))
    ends = np.cumsum(sizes)[np.cumsum(counts) - 1]
    data, first = body.tobytes(), head(FORECAST_CHUNK)
    return [first + data[start:stop] for start, stop in pairwise([0, *ends.tolist()])]


def _longs(columns: ForecastColumns, start: int, stop: int, cells: int) -> Int64s:
    """int64[chunks, values]: the contents of the chunks of rows [start, stop), `cells` each, one chunk per row."""
    chunks = (stop - start) // cells
    codes = columns.cells[start:stop].astype(np.int64).reshape(chunks, cells)
    arrays = [np.diff(codes, axis=1, prepend=0)]
    arrays += [getattr(columns, name)[start:stop].reshape(chunks, -1) for name in NUMBERS]
    arrays.append(columns.fallback[start:stop].astype(np.int64).reshape(chunks, cells))
    # An Avro array is one block, preceded by its count and followed by a zero.
    framed = [(np.full((chunks, 1), array.shape[1]), array, np.zeros((chunks, 1), np.int64)) for array in arrays]
    return np.concatenate([part for parts in framed for part in parts], axis=1)


def decode_chunk(chunk: bytes, horizons_min: tuple[int, ...]) -> ForecastColumns:
    """Decode one chunk, with fastavro only.

    Raises:
        DamagedError: not a chunk, or another number of horizons.
    """
    source = io.BytesIO(chunk)
    source.seek(len(head(FORECAST_CHUNK)))
    try:
        if chunk[: source.tell()] != head(FORECAST_CHUNK):
            raise ValueError(f"starts with {chunk[:10].hex()}")
        fields = fastavro.schemaless_reader(source, plain_parsed(FORECAST_CHUNK), None)
        if not isinstance(fields, dict) or source.tell() != len(chunk):
            raise ValueError(f"{len(chunk) - source.tell()} bytes too many")
        shape = len(fields["cells"]), len(horizons_min)
        numbers = [np.array(fields[name], np.int64).reshape(shape) for name in NUMBERS]
        cells = np.cumsum(np.array(fields["cells"], np.int64)).astype(np.uint64)
        columns = _assemble(cells, horizons_min, numbers, np.array(fields["fallback"], np.uint8))
        columns.check()
    except Exception as cause:  # fastavro raises what its C code happens to raise; all mean the same here.
        raise DamagedError(f"chunk: expected {FORECAST_CHUNK} with {len(horizons_min)} horizons, got {cause}") from cause
    return columns


def decode_chunks(chunks: list[bytes] | tuple[bytes, ...], horizons_min: tuple[int, ...]) -> ForecastColumns:
    """Decode consecutive chunks: the same result as `decode_chunk` of each, much faster.

    Raises:
        DamagedError: not chunks as `encode_chunks` writes them.
    """
    first, h = head(FORECAST_CHUNK), len(horizons_min)
    if not all(chunk.startswith(first) for chunk in chunks):
        raise DamagedError(f"chunk: expected each to start with {first.hex()}")
    bodies = [chunk[len(first) :] for chunk in chunks]
    data = np.frombuffer(b"".join(bodies), np.uint8)
    values = decode_longs(data)
    last_bytes = np.cumsum(np.fromiter(map(len, bodies), np.int64, len(bodies)))
    bounds = np.concatenate([[0], np.searchsorted(np.flatnonzero(data < 128), last_bytes)])
    parts: list[ForecastColumns] = []
    start = 0
    while start < len(bodies):  # One step per run of chunks of equal length: the full ones, then the rest.
        lengths = bounds[start + 1 :] - bounds[start:-1]
        same = int(np.argmax(lengths != lengths[0])) or len(lengths)
        run = values[bounds[start] : bounds[start + same]].reshape(same, -1)
        parts.append(_columns_of(run, horizons_min, h))
        start += same
    if not parts:
        empty = np.empty((0, h), np.int64)
        return _assemble(np.empty(0, np.uint64), horizons_min, [empty] * len(NUMBERS), np.empty(0, np.uint8))
    columns = _assemble(
        np.concatenate([part.cells for part in parts]),
        horizons_min,
        [np.concatenate([getattr(part, name) for part in parts]) for name in NUMBERS],
        np.concatenate([part.fallback for part in parts]),
    )
    try:
        columns.check()
    except ContractError as cause:
        raise DamagedError(f"chunks: {cause}") from cause
    return columns


def _columns_of(run: Int64s, horizons_min: tuple[int, ...], h: int) -> ForecastColumns:
    """Forecasts of chunks with equally many values: int64[chunks, values]."""
    cells = (run.shape[1] - 2 * (2 + len(NUMBERS))) // (2 + len(NUMBERS) * h)
    if cells < 1:
        raise DamagedError(f"chunk: expected {FORECAST_CHUNK} with at least one cell, got {run.shape[1]} values")
    arrays, at = [], 0
    for count in (cells, *[cells * h] * len(NUMBERS), cells):
        end = at + 1 + count
        if end >= run.shape[1] or not ((run[:, at] == count).all() and (run[:, end] == 0).all()):
            raise DamagedError(f"chunk: expected {FORECAST_CHUNK} with {h} horizons, got other counts")
        arrays.append(run[:, at + 1 : end])
        at = end + 1
    if at != run.shape[1] or (arrays[-1] < 0).any() or (arrays[-1] >= len(FALLBACKS)).any():
        raise DamagedError(f"chunk: expected {FORECAST_CHUNK} with {h} horizons, got {run.shape[1]} values")
    numbers = [array.reshape(-1, h) for array in arrays[1:-1]]
    codes = np.cumsum(arrays[0], axis=1).astype(np.uint64).ravel()
    return _assemble(codes, horizons_min, numbers, arrays[-1].astype(np.uint8).ravel())


def _assemble(cells: UInt64s, horizons_min: tuple[int, ...], numbers: list[Int64s], fallback: UInt8s) -> ForecastColumns:
    mean, median, lower, upper, dispersion, baseline = numbers
    return ForecastColumns(cells, horizons_min, mean, median, lower, upper, dispersion, baseline, fallback)


# --- the blob of an issue -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Blob:
    """The chunks of one issue, in order, and the first cell of each: uint64[chunks], ascending."""

    chunks: tuple[bytes, ...]
    first_cells: UInt64s

    def chunk_of(self, cell: int) -> tuple[int, bytes] | None:
        """(index, bytes) of the chunk that holds a cell; None if the issue has no such cell."""
        index = int(np.searchsorted(self.first_cells, np.uint64(cell), side="right")) - 1
        if index < 0 or cell not in _cells_of(self.chunks[index]).tolist():
            return None
        return index, self.chunks[index]

    def columns(self, horizons_min: tuple[int, ...]) -> ForecastColumns:
        """All forecasts of the issue."""
        return decode_chunks(self.chunks, horizons_min)


def pack_blob(chunks: list[bytes]) -> bytes:
    """Pack one issue's chunks, preceded by an index.

    >>> pack_blob([])
    b'RIDECST1\\x00\\x00\\x00\\x00'
    """
    sizes = np.array([len(chunk) for chunk in chunks], "<u4")
    firsts = np.array([_first_cell(chunk) for chunk in chunks], "<u8")
    return b"".join([MAGIC, len(chunks).to_bytes(4, "little"), sizes.tobytes(), firsts.tobytes(), *chunks])


def unpack_blob(data: bytes) -> Blob:
    """Unpack a blob made by `pack_blob`.

    Raises:
        DamagedError: not such a blob, or its length does not match its index.
    """
    count = int.from_bytes(data[8:12], "little")
    start = 12 + 12 * count
    if data[:8] != MAGIC or len(data) < start:
        raise DamagedError(f"blob: expected {MAGIC!r} and an index of {count} chunks, got {len(data)} bytes from {data[:8]!r}")
    sizes = np.frombuffer(data, "<u4", count, 12)
    firsts = np.frombuffer(data, "<u8", count, 12 + 4 * count).astype(np.uint64)
    bounds = [start, *(start + np.cumsum(sizes, dtype=np.int64)).tolist()]
    if bounds[-1] != len(data):
        raise DamagedError(f"blob: expected {bounds[-1]} bytes, got {len(data)}")
    return Blob(tuple(data[begin:end] for begin, end in pairwise(bounds)), firsts)


def chunks_in(data: bytes) -> list[bytes]:
    """Only the chunks of a blob, as from `unpack_blob`, several times as fast.

    Raises:
        DamagedError: not such a blob, or its length does not match its index.

    >>> chunks_in(pack_blob([]))
    []
    """
    count = int.from_bytes(data[8:12], "little")
    if data[:8] != MAGIC or len(data) < 12 + 12 * count:
        unpack_blob(data)  # Raises with the reason.
    bounds = [*accumulate(unpack_from(f"<{count}I", data, 12), initial=12 + 12 * count)]
    if bounds[-1] != len(data):
        raise DamagedError(f"blob: expected {bounds[-1]} bytes, got {len(data)}")
    return [data[begin:end] for begin, end in pairwise(bounds)]


def _first_cell(chunk: bytes) -> int:
    """The second long of a chunk, after the number of its cells, which takes one byte."""
    value, at = 0, len(head(FORECAST_CHUNK)) + 1
    for place, byte in enumerate(chunk[at : at + MAX_BYTES]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value >> 1
    raise ContractError(f"chunk: expected {FORECAST_CHUNK}, got {chunk[:10].hex()}")


def _cells_of(chunk: bytes) -> UInt64s:
    """The cells of one chunk, without its numbers."""
    values = decode_longs(np.frombuffer(chunk, np.uint8, offset=len(head(FORECAST_CHUNK))))
    return np.cumsum(values[1 : 1 + int(values[0])]).astype(np.uint64)
