"""Reads Avro container files of rides, block by block.

Two schemas are supported: ride_log_entry.v1, which Ridecast writes, and any ride event schema that Avro
can resolve to ride_event.v1, so that other programs' files are ride logs too. Source: Avro 1.12
specification, "Object Container Files".
"""

import io
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import fastavro
import numpy as np

from schemas.encoding.avro_files import AvroSchema, fingerprint, head, plain_parsed, released, without_logical_types
from schemas.encoding.evolution import check
from schemas.encoding.varints import encode_longs
from schemas.errors import DamagedError, StoreUnavailable
from schemas.events.codec import encode_event
from schemas.events.ride_columns import RideFields
from schemas.events.rides import NO_TIME, Int64s

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
HEADER_BYTES = 1 << 20  # the longest header accepted; Ridecast's own has 500 bytes
MAX_BLOCK_BYTES = 1 << 30
_TIME_BYTES = 8  # size of a varint of microseconds between 1987 and 2112


@dataclass(frozen=True, slots=True)
class Container:
    """A file and its header; each read opens the file again, so that a reader has nothing to close."""

    path: Path
    schema: AvroSchema
    codec: str
    sync_marker: bytes
    header_bytes: int

    @property
    def is_log_entry(self) -> bool:
        """Whether its entries are ride_log_entry, not plain ride events."""
        # Some writers put the namespace into the name.
        return isinstance(self.schema, dict) and str(self.schema.get("name")).rpartition(".")[2] == "RideLogEntry"


@dataclass(frozen=True, slots=True)
class Block:
    """Position of one block in a container: its data is at `start`, the next block at `stop`."""

    entries: int
    start: int
    size_bytes: int
    stop: int


def container_header(schema_json: str, sync_marker: bytes) -> bytes:
    """The bytes before the first block of an uncompressed container."""
    out = [MAGIC, _long(2)]
    for name, value in (("avro.codec", b"null"), ("avro.schema", schema_json.encode())):
        out += [_long(len(name)), name.encode(), _long(len(value)), value]
    return b"".join([*out, b"\x00", sync_marker])


def read_header(path: Path) -> Container | None:
    """A container of rides; None while its header is still being written.

    Raises:
        StoreUnavailable: the file cannot be read.
        DamagedError: not an Avro container, or not one of rides.
    """
    with _opened(path) as file:
        start = os.pread(file.fileno(), HEADER_BYTES, 0)
    if start[: len(MAGIC)] != MAGIC[: len(start)]:
        raise DamagedError(f"{path}: expected an Avro file (4f626a01), got {start[:4].hex()}")
    source, fields = _Bytes(start, len(MAGIC)), dict[str, bytes]()
    try:
        while count := source.long():
            if count < 0:
                source.long()  # the size of the block of fields, which is not needed
            for _ in range(abs(count)):
                name = source.text().decode()
                fields[name] = source.text()
        sync_marker = source.take(SYNC_BYTES)
    except EOFError:
        if len(start) >= HEADER_BYTES:
            raise DamagedError(f"{path}: expected an Avro header of less than {HEADER_BYTES} bytes") from None
        return None
    except ValueError as cause:
        raise DamagedError(f"{path}: expected an Avro header, got {cause}") from cause
    codec = fields.get("avro.codec", b"null").decode("utf-8", "replace")
    if codec not in ("null", "deflate"):
        raise DamagedError(f"{path}: expected the codec null or deflate, got {codec}")
    try:
        schema = json.loads(fields.get("avro.schema", b""))
    except ValueError as cause:
        raise DamagedError(f"{path}: expected a schema in JSON, got {cause}") from cause
    container = Container(path, schema, codec, sync_marker, source.at)
    expected = released("ride_log_entry.v1" if container.is_log_entry else "ride_event.v1")
    try:
        problems = check(reader=expected, writer=schema)
    except Exception as cause:  # fastavro raises various types for an invalid schema
        raise DamagedError(f"{path}: expected a schema of rides, got {cause}") from cause
    if problems:
        raise DamagedError(f"{path}: expected ride events: {problems[0]}")
    return container


def scan_blocks(container: Container, position: int) -> Iterator[Block]:
    """The complete blocks from a byte position on; stops before an incomplete one.

    Raises:
        DamagedError: a complete block does not end with the file's sync marker.
    """
    with _opened(container.path) as file:
        yield from _scan(container, file.fileno(), position)


def _scan(container: Container, descriptor: int, position: int) -> Iterator[Block]:
    size_bytes = os.fstat(descriptor).st_size
    while position < size_bytes:
        source = _Bytes(os.pread(descriptor, 20, position), 0)
        try:
            entries, data_bytes = source.long(), source.long()
        except EOFError:
            return
        except ValueError as cause:
            raise DamagedError(f"{container.path}: expected a block at byte {position}, got {cause}") from cause
        if entries < 0 or not 0 <= data_bytes <= MAX_BLOCK_BYTES:
            raise DamagedError(f"{container.path}: expected a block at byte {position}, got {entries} entries in {data_bytes} bytes")
        start = position + source.at
        stop = start + data_bytes + SYNC_BYTES
        if stop > size_bytes:
            return
        if os.pread(descriptor, SYNC_BYTES, stop - SYNC_BYTES) != container.sync_marker:
            raise DamagedError(f"{container.path}: expected the sync marker at byte {stop - SYNC_BYTES}; the file is damaged")
        yield Block(entries, start, data_bytes, stop)
        position = stop


def decode_block(container: Container, block: Block) -> tuple[Int64s, list[bytes]]:
    """Times and framed values of a block's entries.

    Returns:
        int64[n], microseconds or NO_TIME; and n byte strings.
    Raises:
        DamagedError: the block does not match its header.
    """
    with _opened(container.path) as file:
        data = os.pread(file.fileno(), block.size_bytes, block.start)
    try:
        if len(data) != block.size_bytes:
            raise ValueError(f"{len(data)} bytes")
        if container.codec == "deflate":
            data = zlib.decompress(data, -15)
        if not container.is_log_entry:
            return _ride_events(container.schema, data, block.entries)
        return _fast_entries(data, block.entries) or plain_entries(data, block.entries)
    except Exception as cause:  # fastavro's C code raises various types; all mean a damaged block
        where = f"{container.path}: block at byte {block.start}"
        raise DamagedError(f"{where}: expected {block.entries} entries in {block.size_bytes} bytes, got {cause}") from cause


def _fast_entries(data: bytes, n: int) -> tuple[Int64s, list[bytes]] | None:
    """Entries of ride_log_entry.v1 whose times have eight bytes and whose lengths one or two; else None."""
    starts, values, at = [0] * n, [b""] * n, 0
    try:
        for row in range(n):
            starts[row] = at
            at += _TIME_BYTES
            size = data[at]
            at += 1
            if size > 127:
                size = size & 127 | data[at] << 7
                at += 1
            if size & 0x4001:  # negative, or a third byte
                return None
            at += size >> 1
            size = data[at]
            at += 1
            if size > 127:
                size = size & 127 | data[at] << 7
                at += 1
            if size & 0x4001:
                return None
            stop = at + (size >> 1)
            values[row] = data[at:stop]
            at = stop
    except IndexError:
        return None
    if at != len(data):
        return None
    if not n:
        return np.empty(0, np.int64), values
    words = np.frombuffer(data, np.uint8)[np.array(starts)[:, None] + np.arange(_TIME_BYTES)]
    # A time of another size shifts every later position: then the result is wrong.
    if not (words[:, :-1] > 127).all() or (words[:, -1] > 127).any() or (words[:, -1] == 0).any():
        return None
    shifts = np.uint64(7) * np.arange(_TIME_BYTES, dtype=np.uint64)
    zigzag = ((words & np.uint8(127)).astype(np.uint64) << shifts).sum(axis=1, dtype=np.uint64)
    return (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64), values


def plain_entries(data: bytes, n: int) -> tuple[Int64s, list[bytes]]:
    """Entries of ride_log_entry.v1, read one at a time: the reference for `_fast_entries`."""
    source, parsed = io.BytesIO(data), plain_parsed("ride_log_entry.v1")
    times, values = np.empty(n, np.int64), list[bytes]()
    for row in range(n):
        entry = cast(dict[str, object], fastavro.schemaless_reader(source, parsed, None))
        times[row] = cast(int, entry["logged_at"])
        values.append(cast(bytes, entry["value"]))
    if source.tell() != len(data):
        raise ValueError(f"{len(data) - source.tell()} bytes too many")
    return times, values


def _ride_events(schema: AvroSchema, data: bytes, n: int) -> tuple[Int64s, list[bytes]]:
    """Plain ride events as framed values: unchanged bytes if the schema is ride_event.v1, else converted to it."""
    same = fingerprint(schema) == fingerprint(released("ride_event.v1"))
    writer = fastavro.parse_schema(without_logical_types(schema))
    frame, reader = head("ride_event.v1"), None if same else plain_parsed("ride_event.v1")
    source, times, values = io.BytesIO(data), np.empty(n, np.int64), list[bytes]()
    for row in range(n):
        start = source.tell()
        fields = cast(RideFields, fastavro.schemaless_reader(source, writer, reader))
        logged_at = cast(int | None, fields["logged_at"])
        times[row] = NO_TIME if logged_at is None else logged_at
        values.append(frame + data[start : source.tell()] if same else encode_event(fields))
    if source.tell() != len(data):
        raise ValueError(f"{len(data) - source.tell()} bytes too many")
    return times, values


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115  closed below in every case
    except OSError as cause:
        raise StoreUnavailable(f"ride log: cannot read {path}: {cause.strerror}") from cause
    with file:
        yield file


class _Bytes:
    """A cursor over bytes that may be truncated (EOFError) or invalid (ValueError)."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def take(self, size: int) -> bytes:
        if size < 0:
            raise ValueError(f"a length of {size}")
        if self.at + size > len(self.data):
            raise EOFError
        self.at += size
        return self.data[self.at - size : self.at]

    def long(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value >> 1 ^ -(value & 1)
        raise ValueError("a number of more than 64 bits")

    def text(self) -> bytes:
        return self.take(self.long())


def _long(value: int) -> bytes:
    return encode_longs(np.array([value]))[0].tobytes()
