"""Where ride events are read from: partitions of a Kafka topic, or of a directory of event files.

A source hands out the bytes in batches of one partition and says where each partition begins and ends.
It decodes nothing and remembers nothing: positions belong to the ledger.
"""

import hashlib
import time
from pathlib import Path
from typing import Protocol

from dataflows.connectors.files import ridelog
from dataflows.connectors.kafka import connection
from dataflows.connectors.kafka.rides import KafkaRides, require_held
from dataflows.connectors.source_identity import SourceIdentity
from schemas.events.rides import RawBatch

ORIGIN_FILE = "origin.json"  # in a directory that was made in one go: what it was made from
POLL_S = 0.02  # how often a live directory is looked at


class PartitionReader(Protocol):
    """One partition, read forward from an offset."""

    def read(self, limit: int, timeout_s: float) -> RawBatch | None:
        """Up to `limit` events from the position on, or None if none came in time.

        None says nothing about why: only a `position()` that has reached a fresh `end()` is silence.

        Raises:
            NotFound: the position is not in the log: too old to be held still, or never written.
            StoreUnavailable: the log can not be read.
        """
        ...

    def position(self) -> int:
        """Every offset below it was read, or holds no event (markers of transactions, compacted events)."""
        ...

    def start(self) -> int:
        """Lowest offset that the log still holds, freshly asked."""
        ...

    def end(self) -> int:
        """The high watermark: the offset that the next event will get, freshly asked.

        Raises:
            StoreUnavailable: no answer. An end that nobody confirms is no end.
        """
        ...

    def close(self) -> None:
        """Let go of connections and files."""
        ...


class RideSource(Protocol):
    """A log of ride events in partitions."""

    def partitions(self) -> tuple[int, ...]:
        """Numbers of the partitions, ascending."""
        ...

    def bounds(self, partition: int) -> tuple[int, int]:
        """(start, end) of a partition, as its reader would say."""
        ...

    def open(self, partition: int, offset: int) -> PartitionReader:
        """A reader that stands at an offset. Whether the log holds it shows at the first read."""
        ...

    def identity(self) -> SourceIdentity:
        """What tells this log from another one under the same name."""
        ...

    def close(self) -> None:
        """Let go of connections; readers are closed by whoever opened them."""
        ...


def open_rides(where: str) -> RideSource:
    """The source that a person names: a directory, or kafka://HOST:PORT/TOPIC.

    Raises:
        UsageError: it is neither.
    """
    return KafkaRides(*connection.parse_address(where)) if "://" in where else FileRides(Path(where))


# --- files -------------------------------------------------------------------------------------


class FileRides:
    """The embedded ride log, see `dataflows.connectors.files.ridelog`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def partitions(self) -> tuple[int, ...]:
        return ridelog.partitions(self._folder)

    def bounds(self, partition: int) -> tuple[int, int]:
        log = ridelog.RideLogReader(self._folder, partition)
        return log.start(), log.end()

    def files(self, partition: int) -> list[tuple[Path, int]]:
        """The files of a partition in order, each with the number of events in it now."""
        _, end = self.bounds(partition)
        firsts = ridelog.segment_firsts(self._folder / str(partition))
        sizes = zip(firsts, [*firsts[1:], end], strict=True)
        return [(self._folder / str(partition) / ridelog.segment_name(first), until - first) for first, until in sizes]

    def open(self, partition: int, offset: int) -> "FileReader":
        return FileReader(self._folder, partition, offset)

    def identity(self) -> SourceIdentity:
        name = self._folder.resolve().name
        try:
            origin = (self._folder / ORIGIN_FILE).read_bytes()
        except OSError:
            return SourceIdentity(files=name)
        return SourceIdentity(files=name, origin=hashlib.sha256(origin).hexdigest()[:16])

    def close(self) -> None:
        pass


class FileReader:
    """One partition of the embedded ride log; it may still be growing."""

    def __init__(self, folder: Path, partition: int, offset: int) -> None:
        self._log = ridelog.RideLogReader(folder, partition)
        self._partition = partition
        self._position = offset
        self._held = False  # whether the position was seen to lie in the log

    def read(self, limit: int, timeout_s: float) -> RawBatch | None:
        if not self._held:
            require_held(f"partition {self._partition}", self._position, self.start(), self.end())
            self._held = True
        give_up_at = time.monotonic() + timeout_s
        while (batch := self._log.read(self._position, limit)) is None:
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                return None
            time.sleep(min(left_s, POLL_S))
        self._position = int(batch.offsets[-1]) + 1
        return batch

    def position(self) -> int:
        return self._position

    def start(self) -> int:
        return self._log.start()

    def end(self) -> int:
        return self._log.end()

    def close(self) -> None:
        self._log.close()


__all__ = ["FileReader", "FileRides", "KafkaRides", "PartitionReader", "RideSource", "open_rides"]
