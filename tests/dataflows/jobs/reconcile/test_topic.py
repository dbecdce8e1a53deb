"""The published topic against the ledger: every corruption is named and repaired, beside a publisher that is never fenced."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from dataflows.jobs.reconcile.topic import TopicPlace
from ledger.views.reconcile.differences import Reason, reconciled
from schemas.errors import NotFound
from tests.dataflows.jobs.reconcile.corrupted_topic import CELLS, CORRUPTIONS, FilledTopic, corrupted, key_of
from tests.dataflows.stream.test_publish import LOG, NYC
from tests.services.committed import committed


@pytest.fixture
def topic(tmp_path: Path, kafka: str, kafka_topic: Callable[[int], str]) -> Iterator[FilledTopic]:
    """A filled topic."""
    found = FilledTopic(tmp_path / "home", kafka, kafka_topic(0))
    yield found
    found.close()


def test_every_corruption_of_a_topic_is_named_and_repaired(topic: FilledTopic) -> None:
    """Each kind is one difference with key and reason; a dry run writes nothing, a repair writes each key that differs once."""
    before = topic.newest()
    found = topic.place.compare()
    assert ((), CELLS, 0, ()) == (found.differences, found.checked, found.listed, found.notes)
    for seed in range(1):
        expected = corrupted(topic, Random(seed), CORRUPTIONS)
        written = len(committed(topic.kafka, topic.topic))
        dry = reconciled(topic.place, lambda: None, repair=False)
        assert expected == sorted((one.key, one.reason) for one in dry.found)
        assert written == len(committed(topic.kafka, topic.topic))
        done = reconciled(topic.place, lambda: None, repair=True)
        assert expected == sorted((one.key, one.reason) for one in done.found)
        assert () == done.left
        assert written + len(expected) == len(committed(topic.kafka, topic.topic))
        assert before == topic.newest()
    assert topic.city.close_slot(CELLS) > 0
    assert 1 == topic.publisher.step()  # the publisher was not fenced


def test_keys_of_other_regions_in_a_topic_are_left_alone(topic: FilledTopic) -> None:
    """What another home publishes, or a stranger writes under a key of no region, is said and not touched."""
    topic.write(b"tehran/tnke1z", b"theirs")
    topic.write(b"\xff\n", b"a stranger's")
    before = committed(topic.kafka, topic.topic)
    done = reconciled(topic.place, lambda: None, repair=True)
    assert () == done.found
    assert ("2 keys of no region of this ledger, tehran/tnke1z first: left alone",) == done.compared.notes
    assert before == committed(topic.kafka, topic.topic)


def test_a_repair_beside_a_live_publisher_never_brings_back_an_older_issue(topic: FilledTopic) -> None:
    """While a publisher publishes as fast as it can and two processes repair, the topic ends with the newest issue of every cell."""
    stop = threading.Event()
    random = Random(5)

    def publish() -> None:
        while not stop.is_set():
            topic.city.close_slot(CELLS)
            topic.publisher.step()

    others = [TopicPlace(topic.city.ledger, topic.city.blobs, topic.kafka, topic.instance, [NYC], ["nyc"]) for _ in range(2)]

    def repair(place: TopicPlace) -> None:
        for _ in range(4):
            place.repair(place.compare().differences)

    threads = [threading.Thread(target=publish), *(threading.Thread(target=repair, args=(place,)) for place in others)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        topic.write(key_of(random.randrange(CELLS)), None)
    for thread in threads[1:]:
        thread.join()
    stop.set()
    threads[0].join()
    for place in others:
        place.close()
    topic.publisher.step()
    assert () == reconciled(topic.place, lambda: None, repair=True).left
    indexes = [stored.index for stored in topic.city.ledger.read(LOG, 0) if stored.kind == "ForecastIssued"]
    assert topic.place.compare().checked == CELLS
    assert CELLS == len(topic.newest())
    assert indexes[-1] == topic.sink.cursor(LOG) - 1


def test_a_topic_that_does_not_exist_is_one_line(tmp_path: Path, topic: FilledTopic) -> None:
    """A missing topic is named, not created."""
    place = TopicPlace(topic.city.ledger, topic.city.blobs, topic.kafka, f"{topic.instance}-none", [NYC], ["nyc"])
    with pytest.raises(NotFound, match=rf"expected a topic {topic.instance}-none\.ridecast\.cursors, found none"):
        place.compare()
    place.close()
    assert Reason.MISSING not in {one.reason for one in topic.place.compare().differences}
