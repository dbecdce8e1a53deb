"""Events days ahead on a real broker, with the stamps of their producers: no slot closes early, killed or not."""

import contextlib
import random
from dataclasses import replace
from pathlib import Path

import pytest

from dataflows.audit.replay import replay_region
from dataflows.audit.replay_report import Verdict
from dataflows.connectors.sources import open_rides
from schemas.events.codec import decode_slow, encode_event
from tests.dataflows.stream.test_local import Killed, killed_after
from tests.faults.seen import Seen
from tests.services.fixtures import TopicFactory
from tests.simulation.reference import assert_bounded
from tests.simulation.runs import closed_slots, copied, run_here, settle
from tests.simulation.world import Entry, World, make_world, write_kafka

AHEAD_US = (2 * 3_600_000_000, 2 * 86_400_000_000, 60 * 365 * 86_400_000_000)  # two hours, two days, sixty years


def with_strays(world: World) -> World:
    """A world in which one of a hundred accepted events is ahead of time, by its own clock and so by the log's."""
    rng = random.Random(world.seed)

    def changed(entry: Entry) -> Entry:
        fields = decode_slow(entry.value)
        if isinstance(fields, str) or entry.event.reason is not None or rng.random() > 0.01:
            return entry
        ahead_us, at_us = rng.choice(AHEAD_US), entry.event.at_us
        value = encode_event({**fields, "occurred_at": at_us + ahead_us})
        return Entry(entry.logged_at_us + ahead_us, value, replace(entry.event, at_us=at_us + ahead_us))

    return replace(world, logs=tuple(tuple(map(changed, log)) for log in world.logs))


@pytest.mark.timeout(600)
def test_strays_on_a_broker_close_nothing(kafka: str, kafka_topic: TopicFactory, tmp_path: Path, seen: Seen) -> None:
    """With strays hours, days and decades ahead every slot equals the reference, also after kills, and a replay counts it again."""
    plain, world = make_world(7, hours=4), with_strays(make_world(7, hours=4))
    # Without this a recent broker refuses times more than an hour after its own; older ones, and files, do not.
    topic = kafka_topic(len(world.logs), {"message.timestamp.after.max.ms": str(2**62)})
    write_kafka(world, kafka, topic)
    place = settle(world, tmp_path / "place", rides=f"kafka://{kafka}/{topic}")
    killed = copied(place, tmp_path / "killed")
    found = run_here(place)
    stores, source = place.open(), open_rides(place.rides)
    assert_bounded(world, closed_slots(found), stores)
    replay = replay_region(stores.ledger, stores.blobs, stores.environment, "small", source)
    assert {Verdict.IDENTICAL: len(closed_slots(found))} == replay.verdicts
    assert [] == list(replay.notes)
    source.close()
    stores.close()
    # As many slots as without strays, and only what is ahead by decades is not held.
    without = run_here(settle(plain, tmp_path / "without"))
    assert [record.slot for record in closed_slots(without)] == [record.slot for record in closed_slots(found)]
    assert sum(cut.uncounted.get("too_far_ahead", 0) for record in closed_slots(found) for cut in record.partitions) > 0
    for slots in (9, 20):
        with contextlib.suppress(Killed):
            run_here(killed, killed_after(slots), batch_events=50, snapshot_every_s=0.0)
    seen.same(found, run_here(killed), "entries")
