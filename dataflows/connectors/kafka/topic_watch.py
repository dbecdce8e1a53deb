"""Whether topics that a producer writes to are still those that it started with: deleted, created again, or with more partitions.

A client writes on under the name of a topic that was created again, without an error. So the id is asked every few
seconds, and before a transaction is committed.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from dataflows.connectors.kafka import connection
from dataflows.connectors.kafka.cluster import Brokers

ASK_EVERY_S = 2.0
ANSWER_S = 2.0  # a check beside publishing: a broker that is slower is asked again
AWAY_S = 10.0  # to the next check after one without an answer


class TopicState(NamedTuple):
    """What is compared of a topic; an id that no broker gives if it does not exist."""

    id: str = ""
    partitions: int = 0


class TopicChanged(Exception):
    """A topic is no longer the one that the producer started with."""


class TopicWatch:
    """The state of some topics, as of the start and now.

    Args:
        brokers: The cluster.
        names: The topics.
        clock: Monotonic seconds.
    """

    def __init__(self, brokers: Brokers, names: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._brokers, self._names, self._clock = brokers, tuple(names), clock
        self._admin: AdminClient | None = None
        self._next_s = 0.0
        self.pinned: dict[str, TopicState] = {}

    def pin(self) -> None:
        """Take the topics as they are now.

        Raises:
            KafkaException: the broker does not answer, or refuses.
        """
        self.pinned = self._ask(connection.ANSWER_S)
        self._next_s = self._clock() + ASK_EVERY_S

    def look(self) -> list[str]:
        """What has changed, in words; nothing if the last check is recent, or the broker does not answer."""
        if not self.pinned or self._clock() < self._next_s:
            return []
        try:
            found = self.changes()
        except KafkaException:
            self._next_s = self._clock() + AWAY_S
            return []
        self._next_s = self._clock() + ASK_EVERY_S
        return found

    def changes(self) -> list[str]:
        """What has changed, asked now.

        Raises:
            KafkaException: the broker does not answer, or refuses.
        """
        found = self._ask(ANSWER_S)
        return [text for name in self._names if (text := _difference(name, self.pinned[name], found[name]))]

    def _ask(self, timeout_s: float) -> dict[str, TopicState]:
        if self._admin is None:
            self._admin = connection.open_client(AdminClient, self._brokers, connection.client_config(self._brokers))
        asked = self._admin.describe_topics(TopicCollection(list(self._names)), request_timeout=timeout_s)
        found = {}
        for name in self._names:
            try:
                described = asked[name].result()
                found[name] = TopicState(str(described.topic_id), len(described.partitions))
            except KafkaException as cause:
                if cause.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                found[name] = TopicState()
        return found


def _difference(name: str, before: TopicState, now: TopicState) -> str:
    """How a topic has changed.

    >>> _difference("demand.forecasts", TopicState("a", 4), TopicState("b", 4))
    'the topic demand.forecasts was deleted and created again'
    """
    if before == now:
        return ""
    if not now.id:
        return f"the topic {name} was deleted"
    if before.id != now.id:
        return f"the topic {name} was deleted and created again"
    return f"the topic {name} has {now.partitions} partitions instead of {before.partitions}: keys move to others with the next issue"
