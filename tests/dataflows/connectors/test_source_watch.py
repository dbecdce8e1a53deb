"""What is noticed of a ride log that changes: partitions, deletion, a topic created again; and what is not taken for a change."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataflows.connectors.source_identity import SourceIdentity
from dataflows.connectors.source_watch import PinnedRides, SourceWatch, difference, wait_for_source
from dataflows.connectors.sources import FileRides, KafkaRides
from dataflows.stream.stopping import StopEvent
from schemas.errors import NotFound, SourceMoved, StoreUnavailable
from tests.simulation.live import LiveTopic
from tests.simulation.moved import world_without_duplicates


class Changing(FileRides):
    """A source of two partitions that answers as it is told."""

    def __init__(self) -> None:
        super().__init__(Path("rides"))
        self.asked = 0
        self.answers: Callable[[int], tuple[int, ...]] = lambda asked: (0, 1)

    def partitions(self) -> tuple[int, ...]:
        self.asked += 1
        return self.answers(self.asked)

    def identity(self) -> SourceIdentity:
        return SourceIdentity(files="rides")


@pytest.fixture
def topic(kafka: str, kafka_topic: Callable[..., str]) -> Iterator[tuple[LiveTopic, KafkaRides]]:
    """A topic of two partitions, and a source that reads it."""
    name = kafka_topic(2)
    source = KafkaRides(kafka, name)
    yield LiveTopic(kafka, name, 2), source
    source.close()


def soon(found: Callable[[], str | None]) -> str | None:
    """What is found within some seconds: the broker's metadata lag behind its answers."""
    give_up_at = time.monotonic() + 20
    while (said := found()) is None and time.monotonic() < give_up_at:
        time.sleep(0.1)
    return said


def test_a_topic_that_changes_is_described(topic: tuple[LiveTopic, KafkaRides]) -> None:
    """Added partitions, deletion and a new topic of the same name are told apart; a bounded run keeps its partitions."""
    log, source = topic
    pinned = PinnedRides(source)
    named = pinned.identity().line()
    assert difference(pinned, source) is None
    log.grow(3)
    assert soon(lambda: difference(pinned, source)) == f"the ride log {named} has new partitions [2]"
    assert (0, 1) == pinned.partitions()
    assert difference(pinned, source, partitions=False) is None
    pinned.confirm()
    log.delete()
    assert str(soon(lambda: difference(pinned, source))).startswith(f"the ride log {named} is gone (Kafka at ")
    log.create(2)
    again = source.identity()
    assert difference(pinned, source) == f"the ride log {named} was replaced by {again.line()}"
    with pytest.raises(SourceMoved, match="was replaced by"):
        pinned.confirm()


def test_a_reader_cannot_tell_a_topic_that_was_created_again(topic: tuple[LiveTopic, KafkaRides]) -> None:
    """The client goes on at its offset in a topic created again, so that only `confirm` keeps its events from being counted."""
    log, source = topic
    entries = world_without_duplicates(5).logs[0]
    log.write(0, entries[:20])
    pinned, reader = PinnedRides(source), source.open(0, 0)
    while reader.position() < 20:
        reader.read(100, 0.1)
    log.delete()
    log.create(2)
    log.write(0, entries[20:80])

    def read_and_confirm() -> None:
        give_up_at = time.monotonic() + 30
        while reader.read(100, 0.1) is None:
            assert time.monotonic() < give_up_at
        pinned.confirm()

    with pytest.raises(SourceMoved):
        read_and_confirm()
    reader.close()


def test_a_topic_that_is_gone_is_waited_for(topic: tuple[LiveTopic, KafkaRides]) -> None:
    """A missing topic is told once and waited for until it is there; a stop ends the waiting."""
    log, source = topic
    log.delete()
    told, stop = list[str](), StopEvent()
    assert soon(lambda: None if _there(source) else "gone")
    timer = threading.Timer(1.0, log.create, [2])
    timer.start()
    assert wait_for_source(source, stop, told.append)
    timer.join()
    assert 1 == len(told)
    assert told[0].endswith("; waiting for it")
    log.delete()
    assert soon(lambda: None if _there(source) else "gone")
    threading.Timer(0.5, stop.set).start()
    assert not wait_for_source(source, stop, told.append)


def _there(source: KafkaRides) -> bool:
    try:
        return bool(source.partitions() and source.identity())
    except NotFound:
        return False


def watched(source: Changing, *, bounded: bool = False) -> list[SourceMoved]:
    """What a watch reports of a source that it has asked at least eight times, or that it has reported."""
    reported: list[SourceMoved] = []
    pinned = PinnedRides(source)
    source.asked = 0
    with SourceWatch(pinned, lambda: source, reported.append, bounded=bounded, every_s=0.01, again_s=0.01):
        give_up_at = time.monotonic() + 20
        while source.asked < 8 and not reported:
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
    return reported


def test_a_change_is_reported_once_when_it_was_found_twice() -> None:
    """A single deviating answer is none; a change that stays is reported once, in one line that says what happens."""
    source = Changing()
    source.answers = lambda asked: (0, 1, 2) if asked == 3 else (0, 1)
    assert [] == watched(source)
    grown = Changing()
    grown.answers = lambda asked: (0, 1, 2) if asked > 2 else (0, 1)
    [moved] = watched(grown)
    assert str(moved) == "the ride log files=rides has new partitions [2]; starting again to go on with it"
    assert 4 == moved.exit_code
    assert [] == watched(grown, bounded=True)


def test_a_source_that_does_not_answer_has_not_changed() -> None:
    """Outages are left to the readers: a watch reports none, and goes on."""

    def answers(asked: int) -> tuple[int, ...]:
        if 1 < asked < 6:
            raise StoreUnavailable("the broker is away")
        return (0, 1)

    source = Changing()
    source.answers = answers
    assert [] == watched(source)
