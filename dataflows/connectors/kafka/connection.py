"""How a Kafka broker is spoken to: client settings, what its failures mean to us, topics and their ends.

Shared by the ride source and by the sinks. Nothing here decides what a message means.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from dataflows.connectors.source_identity import SourceIdentity
from schemas.errors import NotFound, StoreUnavailable, UsageError

ANSWER_S = 10.0  # how long one question to a broker may take; a broker on the same network needs milliseconds
LOG = logging.getLogger("ridecast.kafka")
# The client library speaks of every refused connection, several times a second, and of coordinators that load as if that
# were a fault. What matters reaches us as an error of a call; its own lines are for whoever asks for log level debug.
CLIENT_LOG = logging.getLogger("ridecast.kafka.client")
CLIENT_LOG.addFilter(lambda record: LOG.isEnabledFor(logging.DEBUG))
SAY_AGAIN_S = 60.0  # the same trouble of a client is told once in this time

# What the client gets over by itself once the broker is back.
TRANSIENT = frozenset(
    (
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
    )
)
# Where a topic is new, or its broker has just come back, the one that is asked may not lead it yet.
UNSETTLED = frozenset((KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION))
RETRY_S = 0.05
FORGOTTEN = "returned NULL without setting an exception"  # what the interpreter says of a call that failed without an error

Config = dict[str, Any]  # the client's own: text, numbers, switches and callbacks


def client_config(bootstrap: str) -> Config:
    """Settings that every client of ours has: its broker, and a logger instead of the standard error."""
    return {"bootstrap.servers": bootstrap, "logger": CLIENT_LOG, "error_cb": _log_error}


_said: dict[str, float] = {}  # name of an error -> monotonic seconds at which it was last told


def _log_error(error: KafkaError) -> None:
    tell(logging.INFO, "client", error)


def tell(level: int, who: str, error: KafkaError) -> None:
    """Log a client's error, unless the same was told a moment ago: a broker that is away says so again and again."""
    now = time.monotonic()
    if now - _said.get(error.name(), -SAY_AGAIN_S) >= SAY_AGAIN_S:
        _said[error.name()] = now
        LOG.log(level, "%s: %s: %s", who, error.name(), error.str())


def reader_config(bootstrap: str) -> Config:
    """Settings of a consumer that is assigned by hand, keeps its own positions and reads what is committed."""
    return client_config(bootstrap) | {
        "group.id": "ridecast",  # the client insists on a name; no group is ever joined
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        # The end of a partition arrives as an event with its offset: the only sign that transaction markers were passed.
        "enable.partition.eof": True,
        "auto.offset.reset": "error",  # a position that the log no longer holds must be seen, never skipped
        "fetch.wait.max.ms": 100,  # so late is the end of a partition known, if its last offset is a marker
        "fetch.queue.backoff.ms": 5,  # the default of 1,000 throttles every replay: 0.18 instead of 1.1 million/s
    }


def unavailable(bootstrap: str, doing: str, cause: KafkaException | KafkaError | Exception) -> StoreUnavailable:
    """A broker's failure in our own words, to be raised from its cause."""
    error = cause.args[0] if isinstance(cause, KafkaException) else cause
    text = f"{error.name()}: {error.str()}" if isinstance(error, KafkaError) else str(error)
    return StoreUnavailable(f"Kafka at {bootstrap}: {doing}: {text}")


def watermarks(consumer: Consumer, bootstrap: str, topic: str, partition: int) -> tuple[int, int]:
    """(oldest offset held, next offset to be written), freshly asked from the broker.

    The second is the high watermark only if the consumer reads uncommitted; else it stops at the first open transaction.

    Raises:
        StoreUnavailable: the broker does not answer.
    """
    give_up_at = time.monotonic() + ANSWER_S
    while True:
        try:
            found = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_S)
            break
        except KafkaException as cause:
            if cause.args[0].code() not in UNSETTLED or time.monotonic() > give_up_at:
                raise unavailable(bootstrap, f"asked for the ends of {topic}/{partition}", cause) from cause
            time.sleep(RETRY_S)
    if found is None:
        raise StoreUnavailable(f"Kafka at {bootstrap}: asked for the ends of {topic}/{partition}: no answer in {ANSWER_S:g} s")
    return int(found[0]), int(found[1])


def partitions_of(consumer: Consumer, bootstrap: str, topic: str) -> tuple[int, ...]:
    """Numbers of a topic's partitions, ascending.

    Raises:
        StoreUnavailable: the broker does not answer.
        NotFound: the broker has no such topic.
    """
    try:
        found = consumer.list_topics(topic, timeout=ANSWER_S).topics.get(topic)
    except KafkaException as cause:
        raise unavailable(bootstrap, f"asked for the partitions of {topic}", cause) from cause
    if found is None or found.error is not None or not found.partitions:
        if found is not None and found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise unavailable(bootstrap, f"asked for the partitions of {topic}", found.error)
        raise NotFound(f"Kafka at {bootstrap}: expected a topic {topic}, and there is none")
    return tuple(sorted(found.partitions))


def topic_identity(bootstrap: str, topic: str) -> SourceIdentity:
    """Ids of the cluster and of the topic: a topic made anew under the same name has another id.

    Raises:
        StoreUnavailable: the broker does not answer.
        NotFound: the broker has no such topic.
    """
    admin = AdminClient(client_config(bootstrap))
    try:
        cluster = admin.describe_cluster(request_timeout=ANSWER_S).result()
        described = admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_S)[topic].result()
    except KafkaException as cause:
        if cause.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise NotFound(f"Kafka at {bootstrap}: expected a topic {topic}, and there is none") from cause
        raise unavailable(bootstrap, f"asked for the identity of {topic}", cause) from cause
    return SourceIdentity(cluster=str(cluster.cluster_id), topic=topic, topic_id=str(described.topic_id))


def ensure_topic(bootstrap: str, topic: str, partitions: int, config: Mapping[str, str], replicas: int = -1) -> bool:
    """Make a topic if it is missing; one that exists is left as it is.

    Args:
        bootstrap: HOST:PORT of a broker.
        topic: Its full name.
        partitions: How many, if it must be made.
        config: Broker settings of the topic, such as cleanup.policy.
        replicas: Copies; -1 leaves it to the broker.
    Returns:
        Whether it was made now.
    Raises:
        StoreUnavailable: the broker does not answer, or refuses.
    """
    admin = AdminClient(client_config(bootstrap))
    new = NewTopic(topic, num_partitions=partitions, replication_factor=replicas, config=dict(config))
    try:
        admin.create_topics([new], operation_timeout=ANSWER_S, request_timeout=ANSWER_S)[topic].result()
    except KafkaException as cause:
        if cause.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise unavailable(bootstrap, f"making the topic {topic}", cause) from cause
    # A broker answers before it knows its new topic itself.
    give_up_at = time.monotonic() + ANSWER_S
    while not _is_known(admin, topic):
        if time.monotonic() > give_up_at:
            raise StoreUnavailable(f"Kafka at {bootstrap}: making the topic {topic}: it was made, and did not appear in {ANSWER_S:g} s")
        time.sleep(0.02)
    return True


def _is_known(admin: AdminClient, topic: str) -> bool:
    try:
        admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_S)[topic].result()
    except KafkaException:
        return False
    return True


def parse_address(where: str) -> tuple[str, str]:
    """(bootstrap, topic) of an address.

    Raises:
        UsageError: it is not kafka://HOST:PORT/TOPIC.

    >>> parse_address("kafka://127.0.0.1:9092/rides.raw")
    ('127.0.0.1:9092', 'rides.raw')
    """
    bootstrap, _, topic = where.removeprefix("kafka://").partition("/")
    if not where.startswith("kafka://") or ":" not in bootstrap or not topic:
        raise UsageError(f"ride events: expected a directory or kafka://HOST:PORT/TOPIC, got {where!r}")
    return bootstrap, topic


class Reports:
    """Delivery reports of some messages; the only proof that a broker has them."""

    def __init__(self) -> None:
        self._delivered = 0
        self._errors: list[KafkaError] = []

    def __call__(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self._delivered += 1
        else:
            self._errors.append(error)

    def check(self, expected: int) -> None:
        """Raise KafkaException unless every message was delivered."""
        if self._errors:
            raise KafkaException(self._errors[0])
        if self._delivered != expected:
            text = f"expected {expected} reports of delivery, got {self._delivered}"
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, text))


@contextmanager
def fatal_errors() -> Iterator[None]:
    """Around a call that serves callbacks: a fatal error of the client comes out of it as the KafkaException that it is.

    The client raises it before it serves the delivery reports that wait, and the first of these then fails on it. Now and
    then it forgets meanwhile what it raised: that there was one is all that is left, and the next call says which.
    """
    try:
        yield
    except SystemError as broken:
        if isinstance(broken.__cause__, KafkaException):
            raise broken.__cause__ from broken
        if FORGOTTEN in str(broken):
            raise KafkaException(KafkaError(KafkaError._FATAL, f"the client forgot which: {broken}")) from broken
        raise


def flush(producer: Producer, give_up_at: float) -> None:
    """Wait until every message has its report, or for as long as there is time."""
    with fatal_errors():
        producer.flush(max(0.0, give_up_at - time.monotonic()))


def produce(producer: Producer, topic: str, key: bytes, value: bytes | None, reports: Reports, give_up_at: float) -> None:
    """Queue one message; wait for room while the queue is full.

    Args:
        producer: Its delivery reports are served by its flush.
        topic: Full name.
        key, value: Bytes; no value is a tombstone.
        reports: Hears how it ended.
        give_up_at: Monotonic seconds.
    Raises:
        KafkaException: the queue stayed full, or the client refuses the message.
    """
    while True:
        try:
            producer.produce(topic, value, key, on_delivery=reports)
            return
        except BufferError as cause:
            if time.monotonic() > give_up_at:
                raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from cause
            with fatal_errors():
                producer.poll(0.1)
