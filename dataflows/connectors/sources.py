"""Sources of ride events: partitions of a Kafka topic, or of a directory of event files.

A source reads bytes in batches of one partition and knows where each partition starts and ends.
It decodes nothing and stores nothing: positions belong to the ledger.
"""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from dataflows.connectors.files import ridelog
from dataflows.connectors.kafka import connection
from dataflows.connectors.kafka.cluster import Cluster
from dataflows.connectors.kafka.rides import KafkaRides, require_held
from dataflows.connectors.source_identity import SourceIdentity
from schemas.configuration.kafka_client import Property
from schemas.errors import StoreUnavailable
from schemas.events.rides import RawBatch

ORIGIN_FILE = "origin.json"  # in a directory that one command created: what it was created from
POLL_S = 0.02  # how often a live directory is polled


class PartitionReader(Protocol):
    """One partition, read forward from an offset."""

    def read(self, limit: int, timeout_s: float) -> RawBatch | None:
        """Up to `limit` events from the position on, or None if none arrived in time.

        None does not mean the end of the input: only a `position()` that has reached a fresh `end()` does.

        Raises:
            NotFound: the position is not in the log: no longer retained, or never written.
            StoreUnavailable: the log cannot be read.
        """
        ...

    def position(self) -> int:
        """Every lower offset was read, or has no event (transaction markers, compacted events)."""
        ...

    def start(self) -> int:
        """Lowest offset that the log still has, read from it now."""
        ...

    def end(self) -> int:
        """The high watermark, read from the log now: the offset of the next event to be written.

        Raises:
            StoreUnavailable: no answer; an unconfirmed end is never returned.
        """
        ...

    def close(self) -> None:
        """Close connections and files."""
        ...


class RideSource(Protocol):
    """A log of ride events in partitions."""

    def partitions(self) -> tuple[int, ...]:
        """Numbers of the partitions, ascending."""
        ...

    def bounds(self, partition: int) -> tuple[int, int]:
        """(start, end) of a partition, same as its reader's."""
        ...

    def open(self, partition: int, offset: int) -> PartitionReader:
        """A reader positioned at an offset. Its first read checks that the log has that offset."""
        ...

    def identity(self) -> SourceIdentity:
        """Identifies this log, also among others of the same name."""
        ...

    def close(self) -> None:
        """Close connections; callers close the readers that they opened."""
        ...


def open_rides(where: str, client: Sequence[Property] = ()) -> RideSource:
    """The source at an address: a directory, or kafka://HOST:PORT/TOPIC.

    Args:
        client: Properties of the Kafka client, `Settings.rides_client`.
    Raises:
        UsageError: it is neither.
    """
    if "://" not in where:
        return FileRides(Path(where))
    bootstrap, topic = connection.parse_address(where)
    return KafkaRides(Cluster(bootstrap, tuple(client)), topic)


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
        self._folder = folder
        self._partition = partition
        self._position = offset
        self._checked = False  # whether the log is known to have the position

    def read(self, limit: int, timeout_s: float) -> RawBatch | None:
        if not self._checked:
            require_held(f"partition {self._partition}", self._position, self.start(), self.end())
            self._checked = True
        give_up_at = time.monotonic() + timeout_s
        while (batch := self._read(limit)) is None:
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                return None
            time.sleep(min(left_s, POLL_S))
        self._position = int(batch.offsets[-1]) + 1
        return batch

    def _read(self, limit: int) -> RawBatch | None:
        try:
            return self._log.read(self._position, limit)
        except StoreUnavailable:  # A file that is gone may have been deleted together with its rides.
            require_held(f"partition {self._partition}", self._position, *FileRides(self._folder).bounds(self._partition))
            raise

    def position(self) -> int:
        return self._position

    def start(self) -> int:
        return self._log.start()

    def end(self) -> int:
        return self._log.end()

    def close(self) -> None:
        self._log.close()


__all__ = ["FileReader", "FileRides", "KafkaRides", "PartitionReader", "RideSource", "open_rides"]
