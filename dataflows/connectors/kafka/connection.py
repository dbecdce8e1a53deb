"""Connections to a Kafka broker: client settings, error handling, topics and their ends.

Shared by the ride source and the sinks. Nothing here depends on the content of messages.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from dataflows.connectors.source_identity import SourceIdentity
from schemas.errors import AccessRefused, NotFound, StoreUnavailable, UsageError

ANSWER_S = 10.0  # timeout of one request to a broker; a broker on the same network needs milliseconds
LOG = logging.getLogger("ridecast.kafka")
# The client library logs every refused connection, several times a second, and loading coordinators as errors.
# Relevant errors are raised by calls; the library's own lines appear only at log level debug.
CLIENT_LOG = logging.getLogger("ridecast.kafka.client")
CLIENT_LOG.addFilter(lambda record: LOG.isEnabledFor(logging.DEBUG))
LOG_AGAIN_S = 60.0  # the same error of a client is logged once in this time

# Errors from which the client recovers by itself once the broker is back.
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
# For a new topic, or after a broker's restart, the broker that answers may not lead the partition yet.
UNSETTLED = frozenset((KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION))
# The broker does not accept our credentials, or they do not allow what was asked. Nobody but its operator can change that.
REFUSED = frozenset(
    (
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
        KafkaError.SECURITY_DISABLED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.DELEGATION_TOKEN_AUTHORIZATION_FAILED,
        KafkaError.DELEGATION_TOKEN_AUTH_DISABLED,
    )
)
RETRY_S = 0.05
FORGOTTEN = "returned NULL without setting an exception"  # the interpreter's message for a call that failed without an exception

Config = dict[str, Any]  # settings of the client library: text, numbers, booleans and callbacks


def client_config(bootstrap: str) -> Config:
    """Settings of every client: its broker, and a logger instead of standard error."""
    return {"bootstrap.servers": bootstrap, "logger": CLIENT_LOG, "error_cb": _log_error}


_logged_at_s: dict[str, float] = {}  # name of an error -> monotonic seconds at which it was last logged


def _log_error(error: KafkaError) -> None:
    tell(logging.INFO, "client", error)


def tell(level: int, who: str, error: KafkaError) -> None:
    """Log a client's error, at most once a minute for each error: the client repeats it while a broker is down."""
    now = time.monotonic()
    if now - _logged_at_s.get(error.name(), -LOG_AGAIN_S) >= LOG_AGAIN_S:
        _logged_at_s[error.name()] = now
        LOG.log(level, "%s: %s: %s", who, error.name(), error.str())


def reader_config(bootstrap: str) -> Config:
    """Settings of a consumer with manual assignment and positions that reads committed messages only."""
    return client_config(bootstrap) | {
        "group.id": "ridecast",  # the client requires a name; it never joins a group
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        # Reports the end of a partition with its offset: the only way to know that transaction markers were passed.
        "enable.partition.eof": True,
        "auto.offset.reset": "error",  # a position that is no longer retained must raise an error, never be skipped
        "fetch.wait.max.ms": 100,  # delay until the end of a partition is known if its last offset is a marker
        "fetch.queue.backoff.ms": 5,  # the default of 1,000 throttles every replay: 0.18 instead of 1.1 million/s
    }


def unavailable(bootstrap: str, doing: str, cause: KafkaException | KafkaError | Exception) -> StoreUnavailable:
    """A broker's error as StoreUnavailable, or as AccessRefused, to be raised from its cause."""
    error = cause.args[0] if isinstance(cause, KafkaException) else cause
    if not isinstance(error, KafkaError):
        return StoreUnavailable(f"Kafka at {bootstrap}: {doing}: {error}")
    kind = AccessRefused if error.code() in REFUSED else StoreUnavailable
    return kind(f"Kafka at {bootstrap}: {doing}: {error.name()}: {error.str()}")


def watermarks(consumer: Consumer, bootstrap: str, topic: str, partition: int) -> tuple[int, int]:
    """(oldest retained offset, next offset to be written), read from the broker now.

    The second is the high watermark only if the consumer reads uncommitted; else it is the first open transaction.

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
                raise unavailable(bootstrap, f"reading the ends of {topic}/{partition}", cause) from cause
            time.sleep(RETRY_S)
    if found is None:
        raise StoreUnavailable(f"Kafka at {bootstrap}: reading the ends of {topic}/{partition}: no answer in {ANSWER_S:g} s")
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
        raise unavailable(bootstrap, f"reading the partitions of {topic}", cause) from cause
    if found is None or found.error is not None or not found.partitions:
        if found is not None and found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise unavailable(bootstrap, f"reading the partitions of {topic}", found.error)
        raise NotFound(f"Kafka at {bootstrap}: expected a topic {topic}, found none")
    return tuple(sorted(found.partitions))


def topic_identity(bootstrap: str, topic: str) -> SourceIdentity:
    """Ids of the cluster and of the topic: a topic that was deleted and created again has another id.

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
            raise NotFound(f"Kafka at {bootstrap}: expected a topic {topic}, found none") from cause
        raise unavailable(bootstrap, f"reading the identity of {topic}", cause) from cause
    return SourceIdentity(cluster=str(cluster.cluster_id), topic=topic, topic_id=str(described.topic_id))


def ensure_topic(bootstrap: str, topic: str, partitions: int, config: Mapping[str, str], replicas: int = -1) -> bool:
    """Create a topic if it is missing; an existing topic is not changed.

    Args:
        bootstrap: HOST:PORT of a broker.
        topic: Its full name.
        partitions: Number of partitions of a new topic.
        config: Broker settings of a new topic, such as cleanup.policy.
        replicas: Replication factor; -1 for the broker's default.
    Returns:
        Whether the topic was created.
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
        raise unavailable(bootstrap, f"creating topic {topic}", cause) from cause
    # The broker answers before its metadata includes the new topic.
    give_up_at = time.monotonic() + ANSWER_S
    while not _is_known(admin, topic):
        if time.monotonic() > give_up_at:
            raise StoreUnavailable(f"Kafka at {bootstrap}: creating topic {topic}: created, but did not appear within {ANSWER_S:g} s")
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
    """Delivery reports of a batch of messages; the only proof that a broker has them."""

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
            text = f"expected {expected} delivery reports, got {self._delivered}"
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, text))


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


def produce(producer: Producer, topic: str, key: bytes, value: bytes | None, reports: Reports, give_up_at: float) -> None:
    """Queue one message; wait while the queue is full.

    Args:
        producer: Its flush serves the delivery reports.
        topic: Full name.
        key, value: Bytes; value None is a tombstone.
        reports: Receives the delivery report.
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
