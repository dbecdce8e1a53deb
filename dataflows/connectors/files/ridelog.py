"""Reads the embedded ride log, the counterpart of Kafka's `rides.raw`: directories of Avro containers.

`DIR/<partition>/<20-digit first offset>.avro` has the entries of one partition from that offset on. A
reader may follow while one writer appends: it sees complete blocks only. This file handles the layout on
disk; `schemas.events.codec` decodes the entries, and `dataflows.connectors.sources` polls for new ones.
"""

from bisect import bisect_right
from pathlib import Path

import numpy as np

from dataflows.connectors.files.containers import decode_block, read_header
from dataflows.connectors.files.segments import Segment, partitions, segment_firsts, segment_name
from dataflows.connectors.files.writer import PARTITIONS, RideLogWriter
from schemas.errors import ContractError, DamagedError, UsageError
from schemas.events.rides import Int64s, RawBatch

__all__ = ["PARTITIONS", "RideLogReader", "RideLogWriter", "partitions", "segment_firsts", "segment_name"]


class RideLogReader:
    """Reads one partition of a log that may still be growing.

    Args:
        directory: The log.
        partition: Which of its partitions.
    Raises:
        UsageError: no such log or partition.
        DamagedError: a file is not an Avro container of rides, or is damaged elsewhere than at its growing end.
    """

    def __init__(self, directory: Path | str, partition: int) -> None:
        known = partitions(directory)
        if partition not in known:
            raise UsageError(f"ride log {str(directory)!r}: expected a partition of 0 to {known[-1]}, got {partition}")
        self.partition = partition
        self._folder = Path(directory) / str(partition)
        self._segments: list[Segment] = []
        self._loaded: tuple[int, Int64s, list[bytes]] | None = None  # first offset, times and values of the last block read
        self._refresh()

    def start(self) -> int:
        """Lowest retained offset; the end of the log if it is empty."""
        return self._segments[0].first if self._segments else 0

    def end(self) -> int:
        """The offset of the next entry to be written, read from disk now."""
        self._refresh()
        return self._segments[-1].end if self._segments else 0

    def read(self, offset: int, limit: int) -> RawBatch | None:
        """Entries from an offset on, at most `limit`; from `start()` if that is higher.

        Returns:
            At least one entry, or None at the end.
        Raises:
            ContractError: offset or limit is negative or zero.
        """
        if offset < 0 or limit < 1:
            raise ContractError(f"ride log: expected an offset >= 0 and a limit >= 1, got {offset} and {limit}")
        offset = max(offset, self.start())
        if not self._segments or offset >= self._segments[-1].end:
            self._refresh()
        first, times, values = offset, [], list[bytes]()
        while len(values) < limit:
            block = self._block_at(offset)
            if block is None:
                break
            block_first, block_times, block_values = block
            skip = offset - block_first
            take = min(limit - len(values), len(block_values) - skip)
            times.append(block_times[skip : skip + take])
            values.extend(block_values[skip : skip + take] if take < len(block_values) else block_values)
            offset += take
        if not values:
            return None
        offsets = np.arange(first, offset, dtype=np.int64)
        return RawBatch(self.partition, offsets, times[0] if len(times) == 1 else np.concatenate(times), values)

    def close(self) -> None:
        """Clear the cache; a closed reader starts again from disk."""
        self._segments, self._loaded = [], None

    def _block_at(self, offset: int) -> tuple[int, Int64s, list[bytes]] | None:
        if self._loaded is not None and 0 <= offset - self._loaded[0] < len(self._loaded[2]):
            return self._loaded
        place = bisect_right(self._segments, offset, key=lambda segment: segment.first) - 1
        if place < 0 or offset >= self._segments[place].end:
            return None
        segment = self._segments[place]
        index = bisect_right(segment.firsts, offset) - 1
        self._loaded = (segment.firsts[index], *decode_block(segment.container, segment.blocks[index]))
        return self._loaded

    def _refresh(self) -> None:
        """Look for new files and new blocks."""
        known = {segment.first for segment in self._segments}
        names = segment_firsts(self._folder)
        for first in names:
            if first in known:
                continue
            container = read_header(self._folder / segment_name(first))
            if container is None:  # its writer has not finished the header yet
                break
            if self._segments:
                self._segments[-1].grow(final=True)
                if self._segments[-1].end != first:
                    raise DamagedError(f"{container.path}: expected the file to start at offset {self._segments[-1].end}, got {first}")
            self._segments.append(Segment(first, container))
        if self._segments:
            self._segments[-1].grow(final=False)
