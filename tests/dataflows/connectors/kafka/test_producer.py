"""Rides that a broker did not take are never taken for delivered; the client is a fake that fails on request."""

from collections.abc import Callable

import numpy as np
import pytest
from confluent_kafka import KafkaError

from dataflows.connectors.kafka import producer
from dataflows.connectors.kafka.producer import KafkaRideSink
from schemas.errors import StoreUnavailable

Report = Callable[[KafkaError | None, object], None]


class FakeClient:
    """Takes messages; answers those that it is told to answer, some with an error."""

    def __init__(self, fail: frozenset[int] = frozenset(), silent: frozenset[int] = frozenset()) -> None:
        self._fail, self._silent = fail, silent
        self._waiting: list[tuple[int, Report]] = []
        self.taken: list[tuple[bytes, bytes, int, int]] = []

    def produce(self, topic: str, value: bytes, key: bytes, partition: int, *, on_delivery: Report, timestamp: int) -> None:
        """Queue one message."""
        self._waiting.append((len(self.taken), on_delivery))
        self.taken.append((key, value, partition, timestamp))

    def poll(self, wait_s: float) -> int:
        """Nothing is answered before the flush."""
        return 0

    def flush(self, wait_s: float) -> int:
        """Answer what is waiting."""
        for number, report in self._waiting:
            if number not in self._silent:
                report(KafkaError(KafkaError._MSG_TIMED_OUT) if number in self._fail else None, None)
        self._waiting = []
        return 0


def sink_of(monkeypatch: pytest.MonkeyPatch, client: FakeClient) -> KafkaRideSink:
    """A sink on a new topic of a broker that is not there."""
    monkeypatch.setattr(producer, "Producer", lambda settings: client)
    monkeypatch.setattr(producer, "ensure_topic", lambda *given: True)
    return KafkaRideSink("127.0.0.1:9", "rides.raw", 4, append_to=False)


def fill(sink: KafkaRideSink) -> None:
    """Three events in partition 2."""
    sink.append(2, np.array([5_000_999, 6_000_000, 7_000_000]), [b"a", b"b", b"c"], [b"1", b"2", b"3"])


def test_confirmed_events_are_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, values, partition and times in milliseconds reach the client, and a flush that confirms all returns."""
    client = FakeClient()
    sink = sink_of(monkeypatch, client)
    fill(sink)
    sink.flush()
    assert [(b"a", b"1", 2, 5_000), (b"b", b"2", 2, 6_000), (b"c", b"3", 2, 7_000)] == client.taken


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_failed_delivery_is_an_error(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Whichever event the broker refuses, the flush raises with the broker's words, and so does the next append."""
    sink = sink_of(monkeypatch, FakeClient(fail=frozenset({number})))
    fill(sink)
    with pytest.raises(StoreUnavailable, match=r"writing to rides\.raw"):
        sink.flush()
    with pytest.raises(StoreUnavailable, match=r"writing to rides\.raw"):
        fill(sink)


def test_an_event_without_an_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush that ends with an event unconfirmed says how many of how many were."""
    sink = sink_of(monkeypatch, FakeClient(silent=frozenset({1})))
    fill(sink)
    with pytest.raises(StoreUnavailable, match="expected 3 events to be confirmed, got 2"):
        sink.flush()
