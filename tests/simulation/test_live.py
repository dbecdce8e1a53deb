"""Unbounded runs: a live producer, idle partitions, late rides, restarts, and a log that lost its start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.records.record_codec import decode
from schemas.records.records import HorizonShort, SlotClosed, SlotStatus, SourceGap
from tests.simulation.live import LiveFiles, LiveLog, LiveTopic, Producer, caught_up, last_closed, lowest
from tests.simulation.reference import assert_live
from tests.simulation.runs import Place, closed_slots, finish, kill, last_words, payloads_at, settle, start_cluster, wait_until
from tests.simulation.world import make_world
from tests.state.counting.plain_slots import Gap

SEED = 5
SPARSE = 2  # the partition that becomes idle
ALL = (0, 1, 2)


@pytest.fixture(params=["files", "kafka"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveLog]:
    """An empty live log of three partitions."""
    made: LiveLog
    if request.param == "files":
        made = LiveFiles(tmp_path / "rides", 3)
    else:
        made = LiveTopic(request.getfixturevalue("kafka"), request.getfixturevalue("kafka_topic")(3), 3)
    yield made
    made.close()


@pytest.mark.timeout(600)
def test_a_live_run_closes_what_the_reference_closes(log: LiveLog, tmp_path: Path) -> None:
    """With idle partitions, kills, duplicates across a restart and a gap, every slot equals the reference's with the recorded excuses."""
    print(f"seed {SEED}")
    world = make_world(SEED, hours=4)
    place = settle(world, tmp_path / "place", rides=log.rides, idle_after_s=0.7)
    producer = Producer(world, log)
    running = start_cluster(place, 2, 64, bounded=False)
    try:
        # The producer writes.
        producer.feed(60, ALL, pause_s=0.01)
        await_all(place, producer)
        # One partition becomes idle while the others continue, and comes back with rides of closed slots.
        producer.feed(100, (0, 1))
        await_all(place, producer)
        assert any(cut.excused for cut in closed(place)[-1].partitions if cut.partition == SPARSE)
        before = len(closed(place))
        producer.feed(155, ALL)
        await_all(place, producer)
        assert any(record.corrections for record in closed(place)[before:])
        # Killed, and fed while no process reads; another number of processes resumes.
        kill(running)
        producer.feed(190, ALL)
        running = start_cluster(place, 1, 7, bounded=False)
        await_all(place, producer)
        # Stopped, and the log loses offsets that were not read yet.
        for process in running:
            process.terminate()
        finish(place, *running)
        producer.feed(210, ALL)
        log.forget(0, producer.fed[0] - 5)
        gap = gap_of(place, lowest(place, 0))
        producer.feed(10_000, ALL)
        running = start_cluster(place, 3, 5_000, bounded=False)
        await_all(place, producer)
        for process in running:
            process.terminate()
        finish(place, *running)
    finally:
        kill(running)
    stores = place.open()
    assert_live(world, closed(place), stores, {0: gap})
    stores.close()
    found = [decode(payload) for payload in payloads_at(place)]
    assert [SourceGap(region="small", partition=0, from_offset=gap.open_from, to_offset=gap.until)] == [
        record for record in found if isinstance(record, SourceGap)
    ]
    assert [HorizonShort(region="small", partition=0, wanted_offset=max(0, gap.open_from - world.horizon), found_offset=gap.until)] == [
        record for record in found if isinstance(record, HorizonShort)
    ]
    [after] = [record for record in closed(place) if record.slot == gap.closed_through + 1]
    assert after.status == SlotStatus.PARTIAL


def await_all(place: Place, producer: Producer) -> None:
    """Wait until every closable slot is closed."""
    try:
        wait_until(lambda: caught_up(place, producer), what=f"slot {producer.last_slot()}")
    except AssertionError as cause:
        raise AssertionError(f"{cause}; closed: {last_closed(place)}; output:\n{last_words(place)}") from cause


def closed(place: Place) -> list[SlotClosed]:
    """The closed slots so far."""
    return closed_slots(payloads_at(place))


def gap_of(place: Place, low: int) -> Gap:
    """The gap that the next start must find in partition 0."""
    last = closed(place)[-1]
    [cut] = [cut for cut in last.partitions if cut.partition == 0]
    assert low > cut.cut
    return Gap(last.slot, cut.open_from, cut.cut, low)
