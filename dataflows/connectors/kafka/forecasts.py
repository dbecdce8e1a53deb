"""Publishes forecasts to Kafka exactly once: messages and the cursor of their log are in one transaction.

A consumer that reads committed sees each issue complete and once, wherever the publisher was killed. A
transactional id belongs to one region of one instance, so that a new publisher fences the previous one. A cursor holds
for the topic of forecasts whose id it names: one that was created again has nothing, and gets the newest forecasts.
"""

import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, KafkaException, Producer

from dataflows.connectors.kafka import confirmed, connection
from dataflows.connectors.kafka.cluster import Brokers, cluster_of, is_refusal, last_cause
from dataflows.connectors.kafka.rides import KafkaRides, read_all
from dataflows.connectors.kafka.topic_watch import TopicChanged, TopicWatch
from schemas.errors import Fenced, StoreUnavailable
from schemas.forecasts.messages import Cursor, decode_cursor, encode_cursor
from schemas.records.records import region_log
from schemas.topics import CURSORS, FORECASTS

PATIENCE_S = 60.0  # a broker's restart takes a few seconds; after this time the publisher reports an error
TRANSACTION_S = 30.0  # how long a killed publisher blocks readers if no other takes over
RETRY_S = 0.1
NOTHING = Cursor(0)

FENCES = frozenset(
    (
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
    )
)


class KafkaForecasts:
    """A topic of forecasts and its topic of cursors; both are created if missing.

    Args:
        brokers: The cluster.
        instance: Name of this installation.
        region: The region; this is its only publisher.
        patience_s: How long to retry before raising an error.
    """

    def __init__(self, brokers: Brokers, instance: str, region: str, patience_s: float = PATIENCE_S) -> None:
        self._brokers = brokers
        self._transactional_id = f"ridecast-{instance}-{region}"
        self._topic = FORECASTS.name_of(instance)
        self._cursors_topic = CURSORS.name_of(instance)
        self._patience_s = patience_s
        self._producer: Producer | None = None
        self._region = region
        self._topics = TopicWatch(brokers, (self._topic, self._cursors_topic))
        self._cursors: dict[str, Cursor] = {}
        self._own: dict[str, Cursor] = {}  # written by this publisher

    @property
    def place(self) -> str:
        return f"the topics {self._topic} and {self._cursors_topic}"

    def cursor(self, log: str) -> int:
        if changes := self._topics.look():
            self._start_again(changes)
        # Start the producer first: this fences older publishers and ends their open transactions.
        self._ready()
        return self._cursors.get(log, NOTHING).next_index

    def root(self, log: str) -> bytes:
        self._ready()
        return self._cursors.get(log, NOTHING).root

    def publish(self, messages: Sequence[tuple[bytes, bytes | None]], log: str, next_index: int, root: bytes = b"") -> bool:
        give_up_at = time.monotonic() + self._patience_s
        planned = self._topics.pinned.get(self._topic)
        if self.cursor(log) >= next_index:
            return False
        producer = self._ready()
        if planned is not None and planned.id != self._topic_id:
            return False
        cursor = Cursor(next_index, root, self._topic_id)
        while True:
            try:
                self._transact(producer, messages, log, cursor, give_up_at)
            except TopicChanged as changed:
                self._settle(give_up_at)
                self._start_again(changed.args)
                return False
            except KafkaException as cause:
                refused = is_refusal(cause.args[0])
                if not refused:
                    connection.LOG.warning("%s: up to %s %d: %s; retrying", self._transactional_id, log, next_index, cause)
                self._settle(give_up_at)
                if refused or time.monotonic() > give_up_at:
                    raise self._failed(f"publishing up to {log} {next_index}", cause) from cause
                if self.cursor(log) >= next_index:
                    return True  # the commit had reached the broker
                producer = self._ready()
                if self._topic_id != cursor.topic:
                    return False
            else:
                self._cursors[log] = self._own[log] = cursor
                return True

    def close(self) -> None:
        if self._producer is not None:
            self._producer.purge()
            self._producer = None

    @property
    def _topic_id(self) -> str:
        return self._topics.pinned[self._topic].id

    def _start_again(self, changes: Sequence[str]) -> None:
        """Close the producer, so that the next step starts with the topics as they are."""
        for change in changes:
            connection.LOG.warning("%s: %s; starting again with it", self._transactional_id, change)
        self.close()

    def _ready(self) -> Producer:
        """The producer; starts it if needed, which fences older ones, and then reads the cursors."""
        if self._producer is not None:
            return self._producer
        for topic, name in ((FORECASTS, self._topic), (CURSORS, self._cursors_topic)):
            connection.ensure_topic(self._brokers, name, topic.partitions, dict(topic.config))
        settings = {
            "transactional.id": self._transactional_id,
            "transaction.timeout.ms": int(TRANSACTION_S * 1000),
            "linger.ms": 2,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",  # same as Kafka's Java clients, so that all writers put a key in the same partition
        }
        producer = connection.open_client(Producer, self._brokers, connection.client_config(self._brokers, settings))
        try:
            self._persist(producer.init_transactions, time.monotonic() + self._patience_s)
            self._topics.pin()
        except KafkaException as cause:
            raise self._failed(f"starting as {self._transactional_id}", cause, producer) from cause
        self._cursors = self._read_cursors()
        self._producer = producer
        self._restore(producer)
        return producer

    def _read_cursors(self) -> dict[str, Cursor]:
        """The cursors that hold for the topic of forecasts as it is; others are named if they are of this region."""
        found: dict[str, Cursor] = {}
        others: dict[str, Cursor] = {}
        for log, cursor in map(decode_cursor, read_all(self._brokers, self._cursors_topic, self._patience_s)):
            kept = found if cursor.topic in ("", self._topic_id) else others
            # The newest is not always the last: with more partitions a key moves to another one.
            kept[log] = max(kept.get(log, NOTHING), cursor, key=lambda one: (one.next_index, one.topic))
        mine = {log for log in found.keys() | others.keys() if log.partition("@")[0] == region_log(self._region)}
        if any(not found[log].topic for log in mine & found.keys()) and self._is_empty():
            # Cursors of earlier releases name no topic.
            others.update({log: found.pop(log) for log in mine & found.keys() if not found[log].topic})
        for log in sorted(mine & others.keys() - found.keys()):
            connection.LOG.warning(
                "%s: the topic %s was created again after forecasts of the first %d entries of %s were published: publishing again",
                *(self._transactional_id, self._topic, others[log].next_index, log),
            )
        return found

    def _is_empty(self) -> bool:
        """Whether nothing was ever written to the topic of forecasts."""
        source = KafkaRides(self._brokers, self._topic)
        try:
            return not any(source.bounds(partition)[1] for partition in source.partitions())
        finally:
            source.close()

    def _restore(self, producer: Producer) -> None:
        """Write the own cursors again if the topic of cursors lost them."""
        for log, cursor in self._own.items():
            if cursor.topic == self._topic_id and cursor.next_index > self._cursors.get(log, NOTHING).next_index:
                connection.LOG.warning(
                    "%s: the topic %s lost the cursor of %s: writing it again", self._transactional_id, self._cursors_topic, log
                )
                try:
                    self._transact(producer, (), log, cursor, time.monotonic() + self._patience_s)
                except (KafkaException, TopicChanged) as cause:
                    self.close()
                    raise StoreUnavailable(f"{self._transactional_id}: writing the cursor of {log} again: {cause}") from cause
                self._cursors[log] = cursor

    def _failed(self, doing: str, cause: KafkaException, producer: Producer | None = None) -> StoreUnavailable:
        """The error of a step; closes the producer."""
        told = cause.topic if isinstance(cause, confirmed.Undelivered) else last_cause(cluster_of(self._brokers)).refused_topic
        topic = told or f"{self._topic} or {self._cursors_topic}"
        needs = connection.Needs("Write", topic, self._transactional_id)
        error = connection.unavailable(self._brokers, doing, cause, needs=needs, client=producer or self._producer)
        self.close()
        return error

    def _transact(
        self, producer: Producer, messages: Sequence[tuple[bytes, bytes | None]], log: str, cursor: Cursor, give_up_at: float
    ) -> None:
        """Run one transaction; after a KafkaException nothing is visible, or the commit's answer was lost.

        Raises:
            TopicChanged: nothing is visible, because a topic is no longer the one that this producer started with.
        """
        reports = confirmed.Reports()
        producer.begin_transaction()
        for key, value in messages:
            confirmed.produce(producer, self._topic, key, value, reports, give_up_at)
        confirmed.produce(producer, self._cursors_topic, log.encode(), encode_cursor(log, cursor), reports, give_up_at)
        confirmed.flush(producer, give_up_at)
        try:
            reports.check(len(messages) + 1)
        except confirmed.Undelivered as cause:
            if cause.args[0].code() in confirmed.PURGED:
                self._persist(producer.commit_transaction, give_up_at)  # raises the error with which the transaction failed
            raise
        if changes := self._topics.changes():
            raise TopicChanged(*changes)
        self._persist(producer.commit_transaction, give_up_at)

    def _settle(self, give_up_at: float) -> None:
        """After a failure, abort the open transaction; if that fails too, close the producer and start a new one."""
        if self._producer is not None:
            try:
                self._persist(self._producer.abort_transaction, give_up_at)
            except KafkaException as cause:
                connection.LOG.warning("%s: aborting: %s; starting a new producer", self._transactional_id, cause)
                self.close()

    def _persist(self, step: Callable[[float], None], give_up_at: float) -> None:
        """Run one step of the transaction protocol; retry while the client reports the error as retriable.

        Raises:
            Fenced: another publisher has the transactional id; never retried, or two would fence each other in turn.
            KafkaException: the step failed permanently.
        """
        while True:
            try:
                with confirmed.fatal_errors():
                    step(max(0.1, give_up_at - time.monotonic()))
                return
            except KafkaException as cause:
                error = cause.args[0]
                if error.code() in FENCES:
                    self.close()
                    raise Fenced(f"publisher {self._transactional_id}: another publisher has taken over: {error.str()}") from cause
                if not error.retriable() or time.monotonic() > give_up_at:
                    raise
                time.sleep(RETRY_S)
