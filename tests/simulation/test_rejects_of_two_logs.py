"""Rejected events of a ride log that was deleted and created again: the offsets are the same, the events are not."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from dataflows.connectors.rejects_at import open_rejects
from dataflows.connectors.source_identity import SourceIdentity
from dataflows.connectors.sources import ORIGIN_FILE
from tests.services.fixtures import TopicFactory
from tests.simulation.live import LiveFiles, LiveTopic
from tests.simulation.runs import run_here, settle
from tests.simulation.world import make_world

WORLD = make_world(13, hours=2.0)
PLACES = Counter((p, at) for p, log in enumerate(WORLD.logs) for at, entry in enumerate(log) if entry.event.reason is not None)


def test_rejects_of_a_directory_created_again_are_kept(tmp_path: Path) -> None:
    """A directory of another origin has the same offsets: what it rejects is stored beside what the first one did, each once."""
    place = settle(WORLD, tmp_path / "place", rides=str(tmp_path / "rides"))
    for origin in ("first", "second"):
        shutil.rmtree(tmp_path / "rides", ignore_errors=True)
        log = LiveFiles(tmp_path / "rides", len(WORLD.logs))
        for partition, entries in enumerate(WORLD.logs):
            log.write(partition, entries)
        log.close()
        (tmp_path / "rides" / ORIGIN_FILE).write_text(origin, "utf-8")
        run_here(place)
        run_here(place)
    sink = open_rejects(place.settings())
    found = sink.read()
    assert len(PLACES) > 3
    assert dict.fromkeys(PLACES, 2) == Counter((one.partition, one.offset) for one in found)
    assert [len(PLACES)] * 2 == sorted(Counter(one.source for one in found).values())
    assert 2 * len(PLACES) == sum(sink.counts().values())
    sink.close()


@pytest.mark.parametrize("topic", [False, True])
def test_rejects_of_a_topic_created_again_are_kept(kafka: str, kafka_topic: TopicFactory, tmp_path: Path, topic: bool) -> None:
    """A topic of another id has the same offsets: its rejects are stored beside the first one's, in a file as in a topic."""
    name = kafka_topic(len(WORLD.logs))
    log = LiveTopic(kafka, name, len(WORLD.logs))
    outputs = {"kafka": kafka, "instance": f"out-{name}"} if topic else {}
    place = settle(WORLD, tmp_path / "place", rides=log.rides, **outputs)
    for again in (False, True):
        if again:
            log.delete()
            log.create(len(WORLD.logs))
        for partition, entries in enumerate(WORLD.logs):
            log.write(partition, entries)
        run_here(place)
    sink = open_rejects(place.settings())
    found = sink.read()
    assert dict.fromkeys(PLACES, 2) == Counter((one.partition, one.offset) for one in found)
    ids = Counter(SourceIdentity.from_text(one.source).topic_id for one in found)
    assert ([len(PLACES)] * 2, False) == (sorted(ids.values()), "" in ids)
    sink.close()
