"""Reads ride events from a Kafka topic: one consumer per partition, with manual assignment and a known position."""

import logging
import time
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from typing import cast

import numpy as np
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from dataflows.connectors.kafka import connection
from dataflows.connectors.kafka.cluster import Brokers, is_refusal
from dataflows.connectors.source_identity import SourceIdentity
from schemas.errors import NotFound, SourceMoved, StoreUnavailable
from schemas.events.rides import NO_TIME, RawBatch

PATIENCE_S = 30.0  # a broker that is down longer is not just restarting: raise an error
# What a broker answers for a topic that was deleted, or deleted and created again.
DELETED = frozenset((KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID, KafkaError.INCONSISTENT_TOPIC_ID))
# What the client reports of it to a reader; a question about the ends gets the same while no broker answers.
GONE = DELETED | {KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
QUEUED_KB = 16_384  # read-ahead per partition; the default of 65,536 costs memory and is no faster


class KafkaRides:
    """A Kafka topic of ride events."""

    def __init__(self, bootstrap: Brokers, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._asker = _Asker(bootstrap, topic)

    def partitions(self) -> tuple[int, ...]:
        return connection.partitions_of(self._asker.consumer, self._bootstrap, self._topic)

    def bounds(self, partition: int) -> tuple[int, int]:
        return self._asker.bounds(partition)

    def open(self, partition: int, offset: int) -> "KafkaReader":
        return KafkaReader(self._bootstrap, self._topic, partition, offset, self._asker)

    def identity(self) -> SourceIdentity:
        return connection.topic_identity(self._asker.admin, self._bootstrap, self._topic)

    def close(self) -> None:
        self._asker.consumer.close()


class _Asker:
    """Reads the ends of partitions; reads uncommitted, because only then is the end the high watermark."""

    def __init__(self, bootstrap: Brokers, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        config = connection.reader_config(bootstrap, {"isolation.level": "read_uncommitted"})
        self.consumer = connection.open_client(Consumer, bootstrap, config)

    @cached_property
    def admin(self) -> AdminClient:
        """A client for the identity of the topic; one for all questions, as each has threads and connections of its own."""
        return connection.open_client(AdminClient, self._bootstrap, connection.client_config(self._bootstrap))

    def bounds(self, partition: int) -> tuple[int, int]:
        self.consumer.poll(0)  # serves the client's log callbacks; the consumer never has an assignment
        try:
            return connection.watermarks(self.consumer, self._bootstrap, self._topic, partition)
        except StoreUnavailable as failed:
            if isinstance(failed.__cause__, KafkaException) and failed.__cause__.args[0].code() in DELETED:
                raise SourceMoved(f"{failed}; is the topic deleted?") from failed
            raise


class KafkaReader:
    """Reads one partition with its own consumer, so that a full queue of one partition does not block another."""

    def __init__(self, bootstrap: Brokers, topic: str, partition: int, offset: int, asker: _Asker) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._partition = partition
        self._position = offset
        self._asker = asker
        self._away_since_s: float | None = None
        self._refused: KafkaError | None = None  # the client reports it to its callback only, and goes on trying
        self._consumer: Consumer | None = None  # created by the first read: the ends alone do not need it

    def read(self, limit: int, timeout_s: float) -> RawBatch | None:
        consumer = self._consumer or self._start_reading()
        refused = self._refused
        try:
            messages = consumer.consume(limit, timeout_s)
        except KafkaException as cause:
            raise connection.unavailable(self._bootstrap, f"reading {self._topic}/{self._partition}", cause) from cause
        if messages and any(map(Message.error, messages)):
            messages = [message for message in messages if not self._is_sign(message)]
        if not messages:
            if self._refused is not None:
                needs = connection.Needs("Read", self._topic)
                raise connection.unavailable(self._bootstrap, f"reading {self._topic}/{self._partition}", self._refused, needs=needs)
            self._check_patience()
            return None
        self._away_since_s = None
        if self._refused is refused:
            self._refused = None  # the broker has answered since
        batch = _columns(self._partition, messages)
        self._position = max(self._position, int(batch.offsets[-1]) + 1)
        return batch

    def position(self) -> int:
        return self._position

    def start(self) -> int:
        return self._asker.bounds(self._partition)[0]

    def end(self) -> int:
        return self._asker.bounds(self._partition)[1]

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()

    def _start_reading(self) -> Consumer:
        # The client treats negative offsets as special values, and may wait forever for an offset past the end.
        require_held(f"{self._topic}/{self._partition}", self._position, *self._asker.bounds(self._partition))
        settings = {"queued.max.messages.kbytes": QUEUED_KB, "error_cb": self._note_error}
        self._consumer = connection.open_client(Consumer, self._bootstrap, connection.reader_config(self._bootstrap, settings))
        self._consumer.assign([TopicPartition(self._topic, self._partition, self._position)])
        return self._consumer

    def _is_sign(self, message: Message) -> bool:
        """Whether a message is a signal of the client and not an event; raises permanent errors."""
        error = message.error()
        if error is None:
            return False
        if error.code() in connection.NO_MATTER:
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            self._position = max(self._position, message.offset() or 0)
            self._away_since_s = self._refused = None
            return True
        if error.code() in connection.TRANSIENT:
            self._note_error(error)
            return True
        where = f"{self._topic}/{self._partition}"
        if error.code() in GONE:
            raise SourceMoved(f"Kafka at {self._bootstrap}: reading {where}: {error.name()}: the topic was deleted")
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            require_held(where, self._position, *self._asker.bounds(self._partition))
            # Refused a moment ago and there now: another topic of the same name, which is being filled.
            raise SourceMoved(f"Kafka at {self._bootstrap}: reading {where}: offset {self._position} was refused: {error.str()}")
        needs = connection.Needs("Read", self._topic)
        raise connection.unavailable(self._bootstrap, f"reading {where} at offset {self._position}", error, needs=needs)

    def _note_error(self, error: KafkaError) -> None:
        """Called by the client while it reads. It reconnects by itself, so that a broker's restart is only a delay."""
        connection.tell(logging.WARNING, f"{self._topic}/{self._partition}", error)
        if is_refusal(error):
            self._refused = error
        if error.code() in connection.TRANSIENT and self._away_since_s is None:
            self._away_since_s = time.monotonic()

    def _check_patience(self) -> None:
        if self._away_since_s is not None and time.monotonic() - self._away_since_s > PATIENCE_S:
            self.end()  # raises if the broker is still down; an idle partition gives no signal when the broker is back
            self._away_since_s = None


def _columns(partition: int, messages: list[Message]) -> RawBatch:
    """Convert messages to columns without a Python loop over messages."""
    n = len(messages)
    first, last = messages[0].offset() or 0, messages[-1].offset() or 0
    contiguous = last - first == n - 1  # offsets of a partition are strictly ascending
    offsets = np.arange(first, last + 1) if contiguous else np.fromiter(map(Message.offset, messages), np.int64, n)
    stamps = np.fromiter(chain.from_iterable(map(Message.timestamp, messages)), np.int64, 2 * n)  # (type, milliseconds) pairs
    stamps_ms, by_broker = stamps[1::2], stamps[::2] == TIMESTAMP_LOG_APPEND_TIME
    logged_at_us = np.where(stamps_ms < 0, NO_TIME, stamps_ms * 1000)
    values = list(map(Message.value, messages))
    if not all(values):
        values = [value or b"" for value in values]  # a tombstone is not an event: pass it on as bytes that do not decode
    return RawBatch(partition, offsets, logged_at_us, cast(list[bytes], values), by_broker if by_broker.any() else None)


def require_held(where: str, offset: int, start: int, end: int) -> None:
    if not start <= offset <= end:
        raise NotFound(f"ride log {where}: expected offsets from {start} to {end}, the position to read from is {offset}")


def read_all(bootstrap: Brokers, topic: str, patience_s: float) -> Iterator[bytes]:
    """Values of all committed messages of a topic, up to its current end; tombstones as empty bytes.

    Raises:
        StoreUnavailable: the end was not reached in time, for example because of an open transaction.
        NotFound: no such topic.
    """
    give_up_at = time.monotonic() + patience_s
    source = KafkaRides(bootstrap, topic)
    try:
        for partition in source.partitions():
            start, end = source.bounds(partition)
            reader = source.open(partition, start)
            try:
                # The end is the high watermark: wait for messages after an open transaction instead of missing them.
                while reader.position() < end:
                    batch = reader.read(5_000, 0.05)
                    if batch is not None:
                        yield from batch.values
                    elif time.monotonic() > give_up_at:
                        raise StoreUnavailable(
                            f"Kafka at {bootstrap}: reading {topic}/{partition}: expected to reach offset {end} within {patience_s:g} s, "
                            f"reached {reader.position()}; is a transaction open?"
                        )
            finally:
                reader.close()
    finally:
        source.close()
