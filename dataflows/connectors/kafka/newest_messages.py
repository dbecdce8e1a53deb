"""The newest committed message of each key in each partition of a topic, read once and then only what came since."""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from dataflows.connectors.kafka import connection
from dataflows.connectors.kafka.cluster import Brokers
from schemas.errors import StoreUnavailable

PATIENCE_S = 45.0  # longer than a transaction that its publisher has left open
KEPT_BYTES = 4_096  # of a value; its digest is of all of it
MOST_KEYS = 1_000_000
BATCH = 5_000


class NewestMessage(NamedTuple):
    """A message as it was read: the SHA-256 of its value and its beginning; None for a tombstone."""

    digest: bytes | None
    value: bytes | None


class NewestMessages:
    """Follows a topic.

    Args:
        brokers: The cluster.
        topic: Full name.
        on_step: Called with how many of how many offsets are read.
    """

    def __init__(self, brokers: Brokers, topic: str, on_step: Callable[[int, int], None] = lambda done, total: None) -> None:
        self._brokers, self._topic, self._on_step = brokers, topic, on_step
        asking = connection.reader_config(brokers, {"isolation.level": "read_uncommitted"})
        self._asker = connection.open_client(Consumer, brokers, asking)
        self._reader = connection.open_client(Consumer, brokers, connection.reader_config(brokers))
        self._positions: dict[int, int] = {}
        self.found: dict[tuple[int, bytes], NewestMessage] = {}
        self.partitions = 0

    def read(self) -> None:
        """Read up to the ends that the topic has now.

        Raises:
            NotFound: no such topic.
            StoreUnavailable: the ends were not reached in time, or there are too many keys.
        """
        numbers = connection.partitions_of(self._asker, self._brokers, self._topic)
        self.partitions = len(numbers)
        bounds = {number: connection.watermarks(self._asker, self._brokers, self._topic, number) for number in numbers}
        starts = {number: max(self._positions.get(number, 0), bounds[number][0]) for number in numbers}
        total, before = sum(end - starts[number] for number, (_, end) in bounds.items()), 0
        for number, (_, end) in bounds.items():
            self._read(number, starts[number], end, lambda done, before=before: self._on_step(before + done, total))  # type: ignore[misc]
            before += end - starts[number]

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()
        self._asker.close()

    def _read(self, partition: int, start: int, end: int, on_step: Callable[[int], None]) -> None:
        position, give_up_at = start, time.monotonic() + PATIENCE_S
        if start < end:
            self._reader.assign([TopicPartition(self._topic, partition, start)])
        while position < end:
            messages = self._reader.consume(BATCH, 0.1)
            for message in messages:
                error, offset = message.error(), message.offset() or 0
                if error is None:
                    self._keep(partition, message.key() or b"", message.value())
                    position = offset + 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    position = max(position, offset)
                elif error.code() not in connection.TRANSIENT:
                    needs = connection.Needs("Read", self._topic)
                    raise connection.unavailable(self._brokers, f"reading {self._topic}/{partition}", error, needs=needs)
            if messages:
                give_up_at = time.monotonic() + PATIENCE_S
                on_step(position - start)
            elif time.monotonic() > give_up_at:
                raise StoreUnavailable(
                    f"Kafka at {self._brokers}: reading {self._topic}/{partition}: expected to reach offset {end} within {PATIENCE_S:g} s, "
                    f"reached {position}; is a transaction open?"
                )
        self._positions[partition] = max(position, self._positions.get(partition, 0))
        with suppress(KafkaException):
            self._reader.unassign()

    def _keep(self, partition: int, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.found[partition, key] = NewestMessage(None, None)
        else:
            self.found[partition, key] = NewestMessage(hashlib.sha256(value).digest(), value[:KEPT_BYTES])
        if len(self.found) > MOST_KEYS:
            raise StoreUnavailable(
                f"Kafka at {self._brokers}: {self._topic}: expected at most {MOST_KEYS:,} keys", remedy="find out who writes them"
            )
