"""Connections to Kafka: the settings of every client, errors, topics and their ends.

Shared by the ride source and the sinks. Nothing here depends on the content of messages.
"""

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from dataflows.connectors.kafka.cluster import (
    LOG as LOG,
    NO_MATTER as NO_MATTER,
    Brokers,
    Cluster,
    client_log,
    cluster_of,
    is_refusal,
    last_cause,
)
from dataflows.connectors.source_identity import SourceIdentity
from schemas.configuration.addresses import masked
from schemas.errors import AccessRefused, ConfigError, NotFound, StoreUnavailable, UsageError

ANSWER_S = 10.0  # timeout of one request to a broker; a broker on the same network needs milliseconds
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
# Errors that say only that something did not work: the client's log has the cause.
VAGUE = frozenset(
    (
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._WAIT_COORD,
        KafkaError._RESOLVE,
        KafkaError.REQUEST_TIMED_OUT,
    )
)
CHECK_LOGIN = "check the client's properties for the login against what the broker expects"
RETRY_S = 0.05
NO_TOPIC = "create the topic, or check its name"

Config = dict[str, Any]  # settings of the client library: text, numbers, booleans and callbacks
C = TypeVar("C", Consumer, Producer, AdminClient)


def client_config(brokers: Brokers, settings: Config | None = None) -> Config:
    """Settings of every client: its brokers, a logger instead of standard error, what the caller needs, and the person's properties.

    Args:
        settings: Of the caller. The person's properties go before them: those that must not be changed cannot be given.
    """
    cluster, given = cluster_of(brokers), settings or {}
    cause, on_error = last_cause(cluster), given.get("error_cb", _log_error)

    def hear(error: KafkaError) -> None:
        if error.code() not in NO_MATTER:
            cause.hear(error)
            on_error(error)

    base: Config = {"bootstrap.servers": cluster.bootstrap, "client.id": "ridecast", "logger": client_log(cluster)}
    return base | given | {row.name: row.value for row in cluster.properties} | {"error_cb": hear}


def open_client(kind: type[C], brokers: Brokers, config: Config) -> C:
    """A client with these settings.

    Raises:
        ConfigError: the client refuses a property of the person's, such as a file that it cannot read.
    """
    try:
        return kind(config)
    except KafkaException as cause:
        given = "; ".join(f"{row.name} from {row.source}" for row in cluster_of(brokers).properties)
        text = cause.args[0].str() or cause.args[0].name()
        raise ConfigError(f"Kafka at {brokers}: the client refuses its properties: {text}", remedy=f"given: {given or 'none'}") from cause


_logged_at_s: dict[str, float] = {}  # name of an error -> monotonic seconds at which it was last logged


def _log_error(error: KafkaError) -> None:
    tell(logging.INFO, "client", error)


def tell(level: int, who: str, error: KafkaError) -> None:
    """Log a client's error, at most once a minute for each error: the client repeats it while a broker is down."""
    now = time.monotonic()
    if now - _logged_at_s.get(error.name(), -LOG_AGAIN_S) >= LOG_AGAIN_S:
        _logged_at_s[error.name()] = now
        LOG.log(level, "%s: %s: %s", who, error.name(), error.str())


def reader_config(brokers: Brokers, settings: Config | None = None) -> Config:
    """Settings of a consumer with manual assignment and positions that reads committed messages only, and the caller's."""
    reading: Config = {
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
    return client_config(brokers, reading | (settings or {}))


@dataclass(frozen=True, slots=True)
class Needs:
    """The rights that a request needs, for the message if the broker does not grant them.

    Attributes:
        operation: On the topic: Read, Write, Create, Describe; the first three include Describe.
        topic: Its full name.
        transactional_id: Of a producer, which needs Write on it.
    """

    operation: str = ""
    topic: str = ""
    transactional_id: str = ""

    def right(self, code: int) -> str:
        """The right that is missing after an error, empty if none is known."""
        if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return f"{self.operation} on topic {self.topic}" if self.topic else ""
        if code == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return f"Write on transactional id {self.transactional_id}"
        if code == KafkaError.CLUSTER_AUTHORIZATION_FAILED:
            return f"{self.operation} on topic {self.topic}, or IdempotentWrite on the cluster"
        return ""


def unavailable(
    brokers: Brokers,
    doing: str,
    cause: KafkaException | KafkaError | Exception,
    *,
    needs: Needs | None = None,
    client: Producer | AdminClient | Consumer | None = None,
) -> StoreUnavailable:
    """A broker's error as StoreUnavailable, or as AccessRefused, to be raised from its cause.

    Args:
        doing: What did not work, and on which resource.
        cause: The error; if it is vague, the client's last cause of a failed connection is added.
        needs: The rights that the request needs.
        client: Serves its log first; not a consumer with an assignment, which would lose a message.
    """
    cluster = cluster_of(brokers)
    error = cause.args[0] if isinstance(cause, KafkaException) else cause
    if client is not None:
        with suppress(KafkaException):  # of a client whose last error was fatal
            client.poll(0)
    is_vague = not isinstance(error, KafkaError) or error.code() in VAGUE
    text = f"{error.name()}: {error.str()}" if isinstance(error, KafkaError) else str(error)
    text = f"Kafka at {brokers}: {doing}: {text}{_last_words(cluster, text) if is_vague else ''}"
    if isinstance(error, KafkaError) and is_refusal(error):
        right = needs.right(error.code()) if needs else ""
        return AccessRefused(text, remedy=f"grant {_user_of(cluster)} {right}" if right else CHECK_LOGIN)
    if is_vague and last_cause(cluster).is_refusal():
        return AccessRefused(text, remedy=CHECK_LOGIN)
    return StoreUnavailable(text)


def _user_of(cluster: Cluster) -> str:
    name = cluster.property("sasl.username")
    return f"the user {name}" if name else "this client"


def _last_words(cluster: Cluster, text: str) -> str:
    words = last_cause(cluster).text()
    return f"; last cause: {words}" if words and words not in text else ""


def watermarks(consumer: Consumer, brokers: Brokers, topic: str, partition: int) -> tuple[int, int]:
    """(oldest retained offset, next offset to be written), read from the broker now.

    The second is the high watermark only if the consumer reads uncommitted; else it is the first open transaction.

    Args:
        consumer: Without an assignment.
    Raises:
        AccessRefused: the right Describe on the topic is missing.
        StoreUnavailable: the broker does not answer.
    """
    give_up_at = time.monotonic() + ANSWER_S
    while True:
        try:
            found = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_S)
            break
        except KafkaException as cause:
            if cause.args[0].code() not in UNSETTLED or time.monotonic() > give_up_at:
                raise unavailable(
                    brokers, f"reading the ends of {topic}/{partition}", cause, needs=Needs("Describe", topic), client=consumer
                ) from cause
            time.sleep(RETRY_S)
    if found is None:
        raise StoreUnavailable(f"Kafka at {brokers}: reading the ends of {topic}/{partition}: no answer in {ANSWER_S:g} s")
    return int(found[0]), int(found[1])


def partitions_of(consumer: Consumer, brokers: Brokers, topic: str) -> tuple[int, ...]:
    """Numbers of a topic's partitions, ascending.

    Args:
        consumer: Without an assignment.
    Raises:
        AccessRefused: the right Describe on the topic is missing.
        StoreUnavailable: the broker does not answer.
        NotFound: the broker has no such topic.
    """
    doing, needs = f"reading the partitions of {topic}", Needs("Describe", topic)
    try:
        found = consumer.list_topics(topic, timeout=ANSWER_S).topics.get(topic)
    except KafkaException as cause:
        raise unavailable(brokers, doing, cause, needs=needs, client=consumer) from cause
    if found is None or found.error is not None or not found.partitions:
        if found is not None and found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise unavailable(brokers, doing, found.error, needs=needs)
        raise NotFound(f"Kafka at {brokers}: expected a topic {topic}, found none", remedy=NO_TOPIC)
    return tuple(sorted(found.partitions))


def topic_identity(admin: AdminClient, brokers: Brokers, topic: str) -> SourceIdentity:
    """Ids of the cluster and of the topic: a topic that was deleted and created again has another id.

    Raises:
        AccessRefused: the right Describe on the topic is missing.
        StoreUnavailable: the broker does not answer.
        NotFound: the broker has no such topic.
    """
    try:
        cluster = admin.describe_cluster(request_timeout=ANSWER_S).result()
        described = admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_S)[topic].result()
    except KafkaException as cause:
        if cause.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise NotFound(f"Kafka at {brokers}: expected a topic {topic}, found none", remedy=NO_TOPIC) from cause
        doing, needs = f"reading the identity of {topic}", Needs("Describe", topic)
        raise unavailable(brokers, doing, cause, needs=needs, client=admin) from cause
    return SourceIdentity(cluster=str(cluster.cluster_id), topic=topic, topic_id=str(described.topic_id))


def ensure_topic(brokers: Brokers, topic: str, partitions: int, config: Mapping[str, str], replicas: int = -1) -> bool:
    """Create a topic if it is missing; an existing topic is not changed, and needs no right to create.

    Args:
        brokers: The cluster.
        topic: Its full name.
        partitions: Number of partitions of a new topic.
        config: Broker settings of a new topic, such as cleanup.policy.
        replicas: Replication factor; -1 for the broker's default.
    Returns:
        Whether the topic was created.
    Raises:
        AccessRefused: a right is missing: Describe on the topic, or Create if there is none.
        StoreUnavailable: the broker does not answer, or refuses.
    """
    admin = open_client(AdminClient, brokers, client_config(brokers))
    doing = f"creating topic {topic} unless it exists"
    try:
        if _is_known(admin, topic):
            return False
    except KafkaException as cause:
        raise unavailable(brokers, doing, cause, needs=Needs("Describe", topic), client=admin) from cause
    new = NewTopic(topic, num_partitions=partitions, replication_factor=replicas, config=dict(config))
    doing = f"creating topic {topic}, which does not exist"
    try:
        admin.create_topics([new], operation_timeout=ANSWER_S, request_timeout=ANSWER_S)[topic].result()
    except KafkaException as cause:
        if cause.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise unavailable(brokers, doing, cause, needs=Needs("Create", topic), client=admin) from cause
    # The broker answers before its metadata includes the new topic.
    give_up_at = time.monotonic() + ANSWER_S
    while True:
        try:
            if _is_known(admin, topic):
                return True
        except KafkaException:
            pass  # not settled yet
        if time.monotonic() > give_up_at:
            raise StoreUnavailable(f"Kafka at {brokers}: {doing}: created, but did not appear within {ANSWER_S:g} s")
        time.sleep(0.02)


def _is_known(admin: AdminClient, topic: str) -> bool:
    try:
        admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_S)[topic].result()
    except KafkaException as cause:
        if cause.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return False
        raise
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
        raise UsageError(f"ride events: expected a directory or kafka://HOST:PORT/TOPIC, got {masked(where)!r}")
    return bootstrap, topic
