"""Appends to the embedded ride log: blocks, files of bounded size, and durable flushes."""

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from types import TracebackType

import numpy as np

from dataflows.connectors.files.containers import container_header, read_header
from dataflows.connectors.files.segments import Segment, segment_firsts, segment_name
from ledger.store.files import open_to_others
from schemas.encoding.avro_files import released
from schemas.encoding.varints import encode_longs
from schemas.errors import ContractError, StoreUnavailable, UsageError
from schemas.events.rides import Int64s

log = logging.getLogger(__name__)

PARTITIONS = 4  # enough to use the cores of a small machine; a log keeps its number of partitions
BLOCK_EVENTS = 1_000  # about 130 KB: small enough to read from the middle, large enough to be one write
SEGMENT_BYTES = 256 << 20  # a file that is still easy to copy and inspect
LOCK_FILE = "writer.lock"


class RideLogWriter:
    """Appends to a log; the log's only writer while open.

    Entries become visible to readers a block at a time, and durable after `flush` or `close`. A
    partial block of an interrupted writer is truncated: it was never confirmed.

    Args:
        directory: The log; created if missing.
        partitions: Number of partitions; must match an existing log.
        segment_bytes: When a file has reached this size, the next one starts.
    Raises:
        UsageError: the log has another number of partitions.
        StoreUnavailable: another process is writing, or the disk fails.

    >>> import tempfile
    >>> from dataflows.connectors.files.ridelog import RideLogReader
    >>> directory = tempfile.mkdtemp()
    >>> with RideLogWriter(directory, 2) as log:
    ...     log.append(1, np.array([5, 6]), [b"a", b"b"], [b"first", b"second"])
    >>> RideLogReader(directory, 1).read(1, 10).values
    [b'second']
    """

    def __init__(self, directory: Path | str, partitions: int = PARTITIONS, segment_bytes: int = SEGMENT_BYTES) -> None:
        if not 1 <= partitions <= 1_000:
            raise UsageError(f"ride log: expected 1 to 1000 partitions, got {partitions}")
        self.directory = Path(directory)
        self._segment_bytes = segment_bytes
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if warning := open_to_others(self.directory):
                log.warning("%s", warning)
            self._lock = open(self.directory / LOCK_FILE, "ab")  # noqa: SIM115  open as long as this writer
        except OSError as cause:
            raise StoreUnavailable(f"ride log: cannot write to {str(directory)!r}: {cause.strerror}") from cause
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            self._lock.close()
            raise StoreUnavailable(f"ride log: {str(directory)!r} is open for writing in another process") from cause
        found = sorted(int(item.name) for item in self.directory.iterdir() if item.is_dir() and item.name.isdecimal())
        if found and found != list(range(partitions)):
            self._lock.close()
            raise UsageError(f"ride log {str(directory)!r}: expected {partitions} partitions, got {len(found)}")
        self._tails = [_Tail(self.directory, partition, segment_bytes) for partition in range(partitions)]
        try:
            for tail in self._tails:
                tail.open()
            _sync_folder(self.directory)
        except BaseException:
            self._release()
            raise

    def ends(self) -> list[int]:
        """The offset of each partition's next entry."""
        return [tail.end for tail in self._tails]

    def append(self, partition: int, logged_at_us: Int64s, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Add entries at a partition's end.

        Args:
            logged_at_us: int64[n], the log's own time of each entry, UTC.
            keys, values: n byte strings each.
        Raises:
            ContractError: no such partition, or columns of unequal length.
            StoreUnavailable: the disk fails.
        """
        if not 0 <= partition < len(self._tails):
            raise ContractError(f"ride log: expected a partition below {len(self._tails)}, got {partition}")
        if not len(logged_at_us) == len(keys) == len(values):
            raise ContractError(f"ride log: expected columns of one length, got {len(logged_at_us)}, {len(keys)} and {len(values)}")
        self._tails[partition].append(logged_at_us, keys, values)

    def flush(self) -> None:
        """Make everything appended so far visible and durable."""
        for tail in self._tails:
            tail.flush()

    def close(self) -> None:
        """Flush, and release the log."""
        if self._lock.closed:
            return
        try:
            self.flush()
        finally:
            self._release()

    def _release(self) -> None:
        for tail in self._tails:
            if tail.file is not None:
                tail.file.close()
        self._lock.close()

    def __enter__(self) -> "RideLogWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Tail:
    """The growing end of one partition."""

    def __init__(self, directory: Path, partition: int, segment_bytes: int) -> None:
        self._folder, self._partition, self._segment_bytes = directory / str(partition), partition, segment_bytes
        self._times: list[Int64s] = []
        self._keys: list[bytes] = []
        self._values: list[bytes] = []
        self.end = 0
        self.file: FileIO | None = None

    def open(self) -> None:
        """Open the last file, positioned after its last complete block."""
        try:
            self._folder.mkdir(exist_ok=True)
            firsts = segment_firsts(self._folder)
            container = read_header(self._folder / segment_name(firsts[-1])) if firsts else None
            if container is None:
                self._begin(firsts[-1] if firsts else 0)
                return
            segment = Segment(firsts[-1], container)
            segment.grow(final=False)
            self.end = segment.end
            self.file = FileIO(container.path, "r+")
            self.file.truncate(segment.scanned_bytes)
            self.file.seek(segment.scanned_bytes)
            self._sync_marker = container.sync_marker
            if not container.is_log_entry or container.codec != "null":
                self._begin(self.end)
        except OSError as cause:
            raise StoreUnavailable(f"ride log: cannot write to {self._folder}: {cause.strerror}") from cause

    def append(self, times: Int64s, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        self._times.append(np.asarray(times, np.int64))
        self._keys.extend(keys)
        self._values.extend(values)
        self.end += len(values)
        if len(self._values) >= BLOCK_EVENTS:
            self._write(len(self._values) // BLOCK_EVENTS * BLOCK_EVENTS)

    def flush(self) -> None:
        self._write(len(self._values))
        try:
            os.fsync(self._opened().fileno())
        except OSError as cause:
            raise StoreUnavailable(f"ride log: cannot write to {self._folder}: {cause.strerror}") from cause

    def _write(self, count: int) -> None:
        """Write the first `count` waiting entries."""
        if not count:
            return
        times = np.concatenate(self._times)
        first = self.end - len(self._values)
        try:
            for start in range(0, count, BLOCK_EVENTS):
                stop = min(start + BLOCK_EVENTS, count)
                if self._opened().tell() >= self._segment_bytes:
                    self._begin(first + start)
                data = _entries(times[start:stop], self._keys[start:stop], self._values[start:stop])
                head = encode_longs(np.array([stop - start, len(data)]))[0].tobytes()
                _write_all(self._opened().fileno(), head + data + self._sync_marker)
        except OSError as cause:
            raise StoreUnavailable(f"ride log: cannot write to {self._folder}: {cause.strerror}") from cause
        self._times = [times[count:]]
        del self._keys[:count], self._values[:count]

    def _opened(self) -> FileIO:
        if self.file is None:
            raise ContractError(f"ride log: {self._folder} is not open")
        return self.file

    def _begin(self, first: int) -> None:
        """Start a new file; the previous one is flushed first, so that a gap between files always means damage."""
        if self.file is not None:
            os.fsync(self.file.fileno())
            self.file.close()
        self.end = max(self.end, first)
        # Avro recommends a random marker; this one depends on partition and offset, so that the same rides give the same bytes.
        self._sync_marker = hashlib.blake2b(f"ridecast ride log {self._partition} {first}".encode(), digest_size=16).digest()
        self.file = FileIO(self._folder / segment_name(first), "w")
        _write_all(self.file.fileno(), container_header(json.dumps(released("ride_log_entry.v1")), self._sync_marker))
        _sync_folder(self._folder)


_SHORT_LENGTHS = [encode_longs(np.array([length]))[0].tobytes() for length in range(1_024)]


def _lengths(items: Sequence[bytes]) -> list[bytes]:
    sizes = list(map(len, items))
    if max(sizes, default=0) < len(_SHORT_LENGTHS):
        return [_SHORT_LENGTHS[size] for size in sizes]
    return [encode_longs(np.array([size]))[0].tobytes() for size in sizes]


def _entries(times: Int64s, keys: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """Entries of ride_log_entry.v1, one after another."""
    flat, sizes = encode_longs(times)
    stops = np.cumsum(sizes)
    data, bounds = flat.tobytes(), stops.tolist()
    parts = [b""] * (5 * len(values))
    parts[0::5] = [data[start:stop] for start, stop in zip((stops - sizes).tolist(), bounds, strict=True)]
    parts[1::5], parts[2::5] = _lengths(keys), keys
    parts[3::5], parts[4::5] = _lengths(values), values
    return b"".join(parts)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
