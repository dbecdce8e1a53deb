"""Messages to Kafka and their delivery reports: only what the broker has confirmed counts as delivered."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException, Message, Producer

FORGOTTEN = "returned NULL without setting an exception"  # the interpreter's message for a call that failed without an exception


# The client removes the messages of a transaction that has failed: the reason is the transaction's, not theirs.
PURGED = frozenset((KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT))


class Undelivered(KafkaException):
    """A message was not delivered; `topic` is the one it was for."""

    def __init__(self, error: KafkaError, topic: str = "") -> None:
        super().__init__(error)
        self.topic = topic


class Reports:
    """Delivery reports of a batch of messages; the only proof that a broker has them."""

    def __init__(self) -> None:
        self._delivered = 0
        self._failed: Undelivered | None = None

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._delivered += 1
        elif self._failed is None or self._failed.args[0].code() in PURGED:
            self._failed = Undelivered(error, message.topic() or "")

    def check(self, expected: int) -> None:
        """Raise Undelivered unless every message was delivered."""
        if self._failed is not None:
            raise self._failed
        if self._delivered != expected:
            text = f"expected {expected} delivery reports, got {self._delivered}"
            raise Undelivered(KafkaError(KafkaError._TIMED_OUT, text))


@contextmanager
def fatal_errors() -> Iterator[None]:
    """Raise a fatal error of the client as KafkaException; for calls that serve callbacks.

    The client sets the exception before it serves the pending delivery reports, and the first of them then fails with
    SystemError. Sometimes the client loses the original exception: only the next call then reports which error it was.
    """
    try:
        yield
    except SystemError as broken:
        if isinstance(broken.__cause__, KafkaException):
            raise broken.__cause__ from broken
        if FORGOTTEN in str(broken):
            raise KafkaException(KafkaError(KafkaError._FATAL, f"the client lost the original error: {broken}")) from broken
        raise


def flush(producer: Producer, give_up_at: float) -> None:
    """Wait until every message has its delivery report, or until the time limit."""
    with fatal_errors():
        producer.flush(max(0.0, give_up_at - time.monotonic()))


def produce(
    producer: Producer, topic: str, key: bytes, value: bytes | None, reports: Reports, give_up_at: float, partition: int = -1
) -> None:
    """Queue one message; wait while the queue is full.

    Args:
        producer: Its flush serves the delivery reports.
        topic: Full name.
        key, value: Bytes; value None is a tombstone.
        reports: Receives the delivery report.
        give_up_at: Monotonic seconds.
        partition: -1 for that of the key.
    Raises:
        KafkaException: the queue stayed full, or the client refuses the message.
    """
    while True:
        try:
            producer.produce(topic, value, key, partition, on_delivery=reports)
            return
        except BufferError as cause:
            if time.monotonic() > give_up_at:
                raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from cause
            with fatal_errors():
                producer.poll(0.1)
