"""What is published, for reading and for repairs: the cursors of a region without a producer, and corrections beside its publisher.

A correction has a transactional id of its own, so that it never fences the publisher; that the two do not write at the same time
is for the caller to see to.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

from confluent_kafka import KafkaException, Producer

from dataflows.connectors.kafka import confirmed, connection
from dataflows.connectors.kafka.cluster import Brokers
from dataflows.connectors.kafka.forecasts import NOTHING, TRANSACTION_S
from dataflows.connectors.kafka.rides import read_all
from dataflows.connectors.kafka.topic_watch import TopicWatch
from schemas.forecasts.messages import Cursor, decode_cursor
from schemas.topics import CURSORS, FORECASTS

PATIENCE_S = 45.0


class Correction(NamedTuple):
    """A message to write into a partition; without a value a tombstone."""

    partition: int
    key: bytes
    value: bytes | None


class PublishedCursors:
    """The cursors that hold for the topic of forecasts as it was at the last `read`."""

    def __init__(self, brokers: Brokers, instance: str) -> None:
        self._brokers = brokers
        self.topic, self._cursors_topic = FORECASTS.name_of(instance), CURSORS.name_of(instance)
        self._watch = TopicWatch(brokers, (self.topic,))
        self._found: dict[str, Cursor] = {}

    @property
    def place(self) -> str:
        """See `dataflows.connectors.sinks.ForecastSink`."""
        return f"the topics {self.topic} and {self._cursors_topic}"

    def read(self) -> None:
        """Read them again.

        Raises:
            NotFound: there is no topic of cursors.
            StoreUnavailable: the broker does not answer.
        """
        try:
            self._watch.pin()
        except KafkaException as cause:
            raise connection.unavailable(self._brokers, f"reading {self.topic}", cause) from cause
        topic_id = self._watch.pinned[self.topic].id
        found: dict[str, Cursor] = {}
        for log, cursor in map(decode_cursor, read_all(self._brokers, self._cursors_topic, PATIENCE_S)):
            if cursor.topic in ("", topic_id):
                found[log] = max(found.get(log, NOTHING), cursor, key=lambda one: (one.next_index, one.topic))
        self._found = found

    def cursor(self, log: str) -> int:
        """Index of the first entry of a log that is not published yet."""
        return self._found.get(log, NOTHING).next_index

    def root(self, log: str) -> bytes:
        """Root of the log's tree at the cursor."""
        return self._found.get(log, NOTHING).root


def correct(brokers: Brokers, instance: str, region: str, corrections: Sequence[Correction]) -> None:
    """Write corrections in one transaction.

    Raises:
        StoreUnavailable: the broker did not confirm them; none or all are visible.
    """
    topic, name = FORECASTS.name_of(instance), f"ridecast-{instance}-{region}-repair"
    settings = {
        "transactional.id": name,
        "transaction.timeout.ms": int(TRANSACTION_S * 1000),
        "linger.ms": 2,
        "compression.type": "lz4",
    }
    give_up_at, reports = time.monotonic() + PATIENCE_S, confirmed.Reports()
    producer = connection.open_client(Producer, brokers, connection.client_config(brokers, settings))
    try:
        producer.init_transactions(PATIENCE_S)
        producer.begin_transaction()
        for one in corrections:
            confirmed.produce(producer, topic, one.key, one.value, reports, give_up_at, one.partition)
        confirmed.flush(producer, give_up_at)
        reports.check(len(corrections))
        producer.commit_transaction(PATIENCE_S)
    except KafkaException as cause:
        needs = connection.Needs("Write", topic, name)
        raise connection.unavailable(brokers, f"correcting {topic} as {name}", cause, needs=needs, client=producer) from cause
    finally:
        producer.purge()
