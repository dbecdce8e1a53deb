"""Writes ride events to a Kafka topic: the same partitions and times as in the embedded log, each delivery confirmed."""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from dataflows.connectors.kafka.cluster import Brokers
from dataflows.connectors.kafka.connection import (
    ANSWER_S,
    Needs,
    client_config,
    ensure_topic,
    open_client,
    partitions_of,
    reader_config,
    unavailable,
    watermarks,
)
from schemas.errors import StoreUnavailable, UsageError
from schemas.events.rides import Int64s
from schemas.topics import RIDES

DELIVERY_S = 60.0  # how long a message may wait for its confirmation


class KafkaRideSink:
    """Appends events to a topic, which is created if missing.

    Args:
        brokers: The cluster.
        topic: Its name.
        partitions: Number of partitions of the existing or new topic.
        append_to: Whether the topic may already have events.
    Raises:
        UsageError: the topic has another number of partitions, or already has events.
        AccessRefused: the broker refuses the login, or a right is missing.
        StoreUnavailable: the broker does not answer.
    """

    def __init__(self, brokers: Brokers, topic: str, partitions: int, *, append_to: bool) -> None:
        self._brokers, self._topic = brokers, topic
        self._queued = self._delivered = 0
        self._error: KafkaError | None = None
        if not ensure_topic(brokers, topic, partitions, dict(RIDES.config)):
            _check_topic(brokers, topic, partitions, append_to=append_to)
        # Idempotent: a retry after a lost answer neither repeats a message nor changes the order of a partition.
        settings = {"enable.idempotence": True, "linger.ms": 20, "compression.type": "lz4", "delivery.timeout.ms": int(DELIVERY_S * 1_000)}
        self._producer = open_client(Producer, brokers, client_config(brokers, settings))

    def append(self, partition: int, logged_at_us: Int64s, keys: list[bytes], values: list[bytes]) -> None:
        """Queue entries at a partition's end; their timestamp is `logged_at_us` in milliseconds.

        Raises:
            StoreUnavailable: the broker rejects an event, or confirms none for too long.
        """
        produce, topic, report = self._producer.produce, self._topic, self._report
        for time_ms, key, value in zip((logged_at_us // 1_000).tolist(), keys, values, strict=True):
            while True:
                try:
                    produce(topic, value, key, partition, on_delivery=report, timestamp=time_ms)
                    break
                except BufferError:
                    self._wait_for_room()
                except KafkaException as cause:
                    raise self._failed(cause) from cause
        self._queued += len(values)
        self._producer.poll(0)
        self._check()

    def flush(self) -> None:
        """Wait until every event is confirmed.

        Raises:
            StoreUnavailable: an event was not confirmed.
        """
        self._producer.flush(DELIVERY_S)
        self._check()
        if self._delivered != self._queued:
            text = f"expected {self._queued:,} events to be confirmed, got {self._delivered:,} within {DELIVERY_S:g} s"
            raise self._failed(TimeoutError(text))

    def _wait_for_room(self) -> None:
        before, give_up_at = self._delivered, time.monotonic() + DELIVERY_S
        while self._delivered == before:
            self._producer.poll(0.1)
            self._check()
            if time.monotonic() > give_up_at:
                raise self._failed(TimeoutError(f"no event confirmed within {DELIVERY_S:g} s"))

    def _report(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self._delivered += 1
        else:
            self._error = error

    def _check(self) -> None:
        if self._error is not None:
            raise self._failed(self._error)

    def _failed(self, cause: KafkaException | KafkaError | Exception) -> StoreUnavailable:
        return unavailable(self._brokers, f"writing to {self._topic}", cause, needs=Needs("Write", self._topic))


def _check_topic(brokers: Brokers, topic: str, partitions: int, *, append_to: bool) -> None:
    """Check that an existing topic has the expected partitions and, unless appending, no events."""
    # Only the high watermark, which includes open transactions, shows whether the topic is empty.
    settings = {"isolation.level": "read_uncommitted", "socket.timeout.ms": int(ANSWER_S * 1_000)}
    consumer = open_client(Consumer, brokers, reader_config(brokers, settings))
    try:
        found = partitions_of(consumer, brokers, topic)
        if len(found) != partitions:
            raise UsageError(f"topic {topic}: expected {partitions} partitions, got {len(found)}")
        events = sum(end - start for start, end in (watermarks(consumer, brokers, topic, partition) for partition in found))
    finally:
        consumer.close()
    if events and not append_to:
        raise UsageError(f"topic {topic}: expected an empty topic, got {events:,} events; --append adds to them")
