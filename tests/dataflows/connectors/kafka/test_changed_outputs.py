"""Topics of forecasts and cursors on a real broker that are deleted, created again or grow, during publishing and between."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from dataflows.connectors.kafka import confirmed, topic_watch
from dataflows.connectors.kafka.forecasts import KafkaForecasts
from schemas.forecasts.messages import Cursor, decode_cursor, encode_cursor
from tests.dataflows.connectors.kafka.test_forecasts import LOG, issues_seen
from tests.dataflows.stream.test_publish import City
from tests.forecast_samples import sample_messages
from tests.services.committed import committed


class Outputs:
    """The topics of one installation, and who changes them."""

    def __init__(self, bootstrap: str, instance: str) -> None:
        self.bootstrap, self.instance = bootstrap, instance
        self.forecasts, self.cursors = f"{instance}.demand.forecasts", f"{instance}.ridecast.cursors"
        self._admin = AdminClient({"bootstrap.servers": bootstrap})

    def sink(self) -> KafkaForecasts:
        return KafkaForecasts(self.bootstrap, self.instance, "nyc", patience_s=30.0)

    def delete(self, topic: str) -> None:
        self._admin.delete_topics([topic], operation_timeout=30)[topic].result(30)

    def create_again(self, topic: str, partitions: int = 1) -> None:
        """Delete a topic and create it; the broker may still be deleting the old one."""
        self.delete(topic)
        give_up_at = time.monotonic() + 30
        while True:
            try:
                self._admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)
                return
            except KafkaException:
                assert time.monotonic() < give_up_at
                time.sleep(0.1)

    def grow(self, topic: str, partitions: int) -> None:
        self._admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(30)

    def seen(self) -> dict[object, int]:
        """How many messages of each issue a reader of the topic sees."""
        return issues_seen(self.bootstrap, self.instance)

    def cursors_seen(self) -> list[tuple[str, Cursor]]:
        return [decode_cursor(value or b"") for _, value in committed(self.bootstrap, self.cursors)]


@pytest.fixture
def outputs(kafka: str, kafka_topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Outputs:
    """The topics of an installation of its own, which are asked often."""
    monkeypatch.setattr(topic_watch, "ASK_EVERY_S", 0.1)
    return Outputs(kafka, kafka_topic(0))


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    """A ledger with two issues."""
    made = City(tmp_path / "home")
    made.close_slot(cells=3)
    made.close_slot(cells=3)
    yield made
    made.ledger.close()
    made.blobs.close()


def test_a_topic_created_again_between_two_runs_gets_the_newest(outputs: Outputs, city: City, caplog: pytest.LogCaptureFixture) -> None:
    """The cursor of the old topic does not hold for the new one: the next publisher says so, and publishes the newest issue, once."""
    first = outputs.sink()
    assert 1 == city.publisher(first).step()
    [index] = outputs.seen()
    first.close()
    outputs.create_again(outputs.forecasts)
    second = outputs.sink()
    publisher = city.publisher(second)
    assert [1, 0] == [publisher.step(), publisher.step()]
    assert {index: 3} == outputs.seen()
    assert (
        f"the topic {outputs.forecasts} was created again after forecasts of the first {int(str(index)) + 1} entries of region/nyc"
        in caplog.text
    )
    second.close()
    third = outputs.sink()
    assert 0 == city.publisher(third).step(), "the new topic has its cursor"
    third.close()


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("backlog", ["latest", "all"])
def test_a_topic_created_again_under_a_publisher_is_filled(
    outputs: Outputs, city: City, caplog: pytest.LogCaptureFixture, backlog: str, gone: bool
) -> None:
    """It is noticed without a new issue, and gets the newest issue, or all with backlog=all, each once; a missing one is created."""
    sink = outputs.sink()
    publisher = city.publisher(sink, backlog)  # type: ignore[arg-type]
    published = publisher.step()
    before = outputs.seen()
    assert 0 == publisher.step()
    (outputs.delete if gone else outputs.create_again)(outputs.forecasts)
    found = 0
    give_up_at = time.monotonic() + 20
    while not found and time.monotonic() < give_up_at:
        time.sleep(0.15)
        found = publisher.step()
    assert published == found
    assert 0 == publisher.step()
    assert before == outputs.seen()
    assert f"the topic {outputs.forecasts} was deleted" in caplog.text
    index = city.close_slot(cells=3)
    assert 1 == publisher.step()
    assert before | {index: 3} == outputs.seen()
    sink.close()


def test_a_topic_replaced_before_the_commit_gets_nothing_of_a_transaction(outputs: Outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that was begun for the old topic is aborted, whatever the new one has received of it, and the cursor is back at 0."""
    sink = outputs.sink()
    assert sink.publish(sample_messages(0), LOG, 1)
    flush, once = confirmed.flush, [True]

    def replacing(producer: object, give_up_at: float) -> None:
        flush(producer, give_up_at)  # type: ignore[arg-type]
        if once:
            once.clear()
            outputs.create_again(outputs.forecasts)

    monkeypatch.setattr(confirmed, "flush", replacing)
    assert not sink.publish(sample_messages(1), LOG, 2)
    assert (0, {}) == (sink.cursor(LOG), outputs.seen())
    assert sink.publish(sample_messages(1), LOG, 2)
    assert {1: 40} == outputs.seen()
    sink.close()


def test_a_topic_of_cursors_that_is_lost_gets_them_again(outputs: Outputs, caplog: pytest.LogCaptureFixture) -> None:
    """A publisher that goes on writes its cursor into the new topic, so that the next one publishes nothing twice."""
    sink = outputs.sink()
    assert sink.publish(sample_messages(0), LOG, 1, b"r" * 32)
    outputs.create_again(outputs.cursors)
    time.sleep(0.2)
    assert 1 == sink.cursor(LOG)
    assert f"the topic {outputs.cursors} lost the cursor of region/nyc: writing it again" in caplog.text
    [(log, cursor)] = outputs.cursors_seen()
    assert (LOG, 1, b"r" * 32) == (log, cursor.next_index, cursor.root)
    sink.close()
    again = outputs.sink()
    assert 1 == again.cursor(LOG)
    assert {0: 40} == outputs.seen()
    again.close()


@pytest.mark.parametrize("restarted", [False, True])
def test_partitions_added_to_either_topic_lose_and_double_nothing(
    outputs: Outputs, caplog: pytest.LogCaptureFixture, restarted: bool
) -> None:
    """Added partitions are noticed and used by the next issue; the cursor stays, although its key moves to another partition."""
    sink = outputs.sink()
    assert sink.publish(sample_messages(0), LOG, 1)
    outputs.grow(outputs.forecasts, 9)
    outputs.grow(outputs.cursors, 5)
    if restarted:
        sink.close()
        sink = outputs.sink()
    else:
        time.sleep(0.2)
    for index in (1, 2):
        assert index == sink.cursor(LOG)
        assert sink.publish(sample_messages(index), LOG, index + 1)
    assert {0: 40, 1: 40, 2: 40} == outputs.seen()
    assert restarted or f"the topic {outputs.forecasts} has 9 partitions instead of 4" in caplog.text
    sink.close()
    again = outputs.sink()
    assert 3 == again.cursor(LOG)
    again.close()


def test_a_cursor_of_an_earlier_release_does_not_hold_for_an_empty_topic(outputs: Outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cursor without a topic's id is taken as it is where forecasts are, and not where none was ever written."""
    with monkeypatch.context() as older:
        older.setattr(
            "dataflows.connectors.kafka.forecasts.encode_cursor",
            lambda log, cursor: encode_cursor(log, Cursor(cursor.next_index, cursor.root)),
        )
        sink = outputs.sink()
        sink.publish(sample_messages(0), LOG, 1, b"r" * 32)
        sink.close()
    assert [(LOG, Cursor(1, b"r" * 32))] == outputs.cursors_seen()
    sink = outputs.sink()
    assert (1, b"r" * 32) == (sink.cursor(LOG), sink.root(LOG))
    sink.close()
    outputs.create_again(outputs.forecasts)
    sink = outputs.sink()
    assert 0 == sink.cursor(LOG)
    assert sink.publish(sample_messages(0), LOG, 1)
    assert {0: 40} == outputs.seen()
    sink.close()


def test_a_broker_that_is_away_is_no_change(outputs: Outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check without an answer changes nothing and is not repeated at once; the next one finds what changed."""
    now_s = 0.0
    watch = topic_watch.TopicWatch(outputs.bootstrap, (outputs.forecasts, outputs.cursors), clock=lambda: now_s)
    sink = outputs.sink()
    sink.cursor(LOG)
    sink.close()
    watch.pin()
    outputs.grow(outputs.forecasts, 5)
    asked = Counter[str]()

    def away(*_: object) -> dict[str, object]:
        asked["times"] += 1
        raise KafkaException

    with monkeypatch.context() as broken:
        broken.setattr(watch, "_ask", away)
        now_s = 1.0
        assert [[], []] == [watch.look(), watch.look()]
        assert 1 == asked["times"]
    now_s += topic_watch.AWAY_S
    [said] = watch.look()
    assert "has 5 partitions instead of 4" in said
