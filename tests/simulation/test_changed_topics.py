"""A topic that changes under a live run on a real broker: partitions added, deleted and created again, retention that overtakes."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.records.records import PartitionsChanged, SlotClosed, SlotStatus, SourceChanged, SourceGap
from tests.faults.seen import Seen
from tests.services.fixtures import TopicFactory
from tests.simulation.live import LiveTopic, Producer, caught_up, last_closed
from tests.simulation.moved import assert_audited, records_at, rides_of, rides_recorded, world_without_duplicates
from tests.simulation.runs import Place, last_words, run_here, settle, start_run, wait_until

WORLD = world_without_duplicates(31)
NOTICED_S = 45.0  # asked every two seconds; the rest is the restart, on a machine that is busy


class Live:
    """A run with its supervisor on a topic that a producer feeds."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, folder: Path, processes: int = 1) -> None:
        self.log = LiveTopic(bootstrap, topic, partitions)
        self.producer = Producer(WORLD, self.log)
        self.place: Place = settle(WORLD, folder, rides=self.log.rides, idle_after_s=0.7)
        self.process = start_run(self.place, processes, "--no-api")

    def feed(self, until_min: float, *partitions: int) -> None:
        """Feed these partitions, and wait until every slot that can close is closed."""
        self.producer.feed(until_min, partitions)
        self.await_that(lambda: caught_up(self.place, self.producer), f"slots through minute {until_min}")

    def await_that(self, happened: object, what: str) -> float:
        """Wait for a condition; returns how many seconds it took."""
        began_s = time.monotonic()
        try:
            wait_until(lambda: self.process.poll() is not None or bool(happened()), what=what)  # type: ignore[operator]
            assert self.process.poll() is None, f"{what}: the run has ended"
        except AssertionError as cause:
            raise AssertionError(f"{cause}; closed: {last_closed(self.place)}; output:\n{last_words(self.place)}") from cause
        return time.monotonic() - began_s

    def await_record(self, kind: type) -> float:
        """Wait for a record of a kind."""
        return self.await_that(lambda: any(isinstance(record, kind) for record in records_at(self.place)), kind.__name__)

    def forecaster(self) -> int:
        """Process id of the forecaster."""
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            if b"forecast" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                return int(child)
        raise AssertionError("no forecaster runs")

    def end(self) -> None:
        """Stop the run cleanly, then count what is left in a bounded run."""
        self.process.terminate()
        assert self.process.wait(60) == 0, last_words(self.place)
        run_here(self.place)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()

    @property
    def said(self) -> str:
        """What the run has printed."""
        return (self.place.home / "run.log").read_text("utf-8", "replace")

    def only(self, kind: type) -> object:
        """The only record of a kind."""
        [found] = [record for record in records_at(self.place) if isinstance(record, kind)]
        return found

    def first_after(self, kind: type) -> SlotClosed:
        """The first closed slot after the record of a kind."""
        records = records_at(self.place)
        at = records.index(self.only(kind))  # type: ignore[arg-type]
        return next(record for record in records[at:] if isinstance(record, SlotClosed))


@pytest.fixture
def runs() -> Iterator[list[Live]]:
    """Runs that end with the test."""
    started: list[Live] = []
    yield started
    for live in started:
        live.kill()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("processes", [1, 2])
def test_added_partitions_are_noticed_and_read(
    kafka: str, kafka_topic: TopicFactory, tmp_path: Path, runs: list[Live], processes: int, seen: Seen
) -> None:
    """A partition added during a run is noticed, recorded with its slot and told; none of its rides is lost or counted twice."""
    live = Live(kafka, kafka_topic(2), 2, tmp_path, processes)
    runs.append(live)
    live.feed(70, 0, 1)
    live.log.grow(3)
    took_s = live.await_record(PartitionsChanged)
    print(f"recorded after {took_s:.1f} s")
    assert took_s < NOTICED_S
    live.feed(160, 0, 1, 2)
    live.end()
    changed, first = live.only(PartitionsChanged), live.first_after(PartitionsChanged)
    assert PartitionsChanged(region="small", slot=first.slot, added=(2,), removed=()) == changed
    assert ([0, 1, 2], SlotStatus.PARTIAL) == ([cut.partition for cut in first.partitions], first.status)
    seen.same(rides_of(event for log in live.producer.truth.values() for event in log), rides_recorded(live.place), "rides")
    assert all(slot.from_rides for slot in assert_audited(live.place).slots)
    seen.told(live.said, "has new partitions [2]; starting again to go on with it")
    assert f"region small: partitions of the ride log: added [2], from slot {first.slot} on" in live.said


@pytest.mark.timeout(600)
@pytest.mark.parametrize("at_once", [False, True])
def test_a_topic_created_again_is_read_from_its_start(
    kafka: str, kafka_topic: TopicFactory, tmp_path: Path, runs: list[Live], at_once: bool, seen: Seen
) -> None:
    """A deleted topic is waited for; created again, it is read from its lowest offsets, even where a client would read on."""
    live = Live(kafka, kafka_topic(3), 3, tmp_path)
    runs.append(live)
    live.feed(70, 0, 1, 2)
    last = last_closed(live.place)
    old = {cut.partition: cut.cut for cut in last.partitions} if last else {}
    fed = dict(enumerate(live.producer.fed))
    live.log.delete()
    if not at_once:
        live.await_that(lambda: "waiting for it" in live.said, "the word that the topic is gone")
    live.log.create(2)
    live.producer.feed(160, (0, 1) if at_once else ())
    assert live.await_record(SourceChanged) < NOTICED_S
    live.feed(200, 0, 1)
    live.end()
    changed, first = live.only(SourceChanged), live.first_after(SourceChanged)
    assert isinstance(changed, SourceChanged)
    assert changed.before != changed.after
    assert last is not None
    assert (last.slot + 1, SlotStatus.PARTIAL) == (first.slot, first.status)
    # What the old topic held of open slots was deleted with it; every ride of the new one is counted, from offset 0.
    truth = live.producer.truth
    kept = [e for p, log in truth.items() for e in log[: old[p]] if e.at_us // 300_000_000 <= last.slot]
    seen.same(rides_of([*kept, *(e for p in (0, 1) for e in truth[p][fed[p] :])]), rides_recorded(live.place), "rides")
    found = assert_audited(live.place)
    assert [slot.slot >= first.slot for slot in found.slots] == [slot.from_rides for slot in found.slots]
    if not at_once:
        seen.told(live.said, "waiting for it")
    seen.told(live.said, f"region small: the ride log cluster={SourceWords(changed.before).cluster} ")


class SourceWords:
    """The fields of a recorded identity."""

    def __init__(self, text: str) -> None:
        import json

        self.cluster = json.loads(text)["cluster"]


@pytest.mark.timeout(600)
def test_retention_that_overtakes_a_suspended_reader_is_a_gap(
    kafka: str, kafka_topic: TopicFactory, tmp_path: Path, runs: list[Live], seen: Seen
) -> None:
    """What a broker deletes while the forecaster is suspended is a recorded gap with its exact offsets, and the run goes on."""
    live = Live(kafka, kafka_topic(3), 3, tmp_path)
    runs.append(live)
    live.feed(70, 0, 1, 2)
    suspended = live.forecaster()
    os.kill(suspended, signal.SIGSTOP)
    live.producer.feed(160, (0, 1, 2))
    low = live.producer.fed[0] - 5
    live.log.forget(0, low)
    os.kill(suspended, signal.SIGCONT)
    took_s = live.await_record(SourceGap)
    print(f"recorded after {took_s:.1f} s")
    live.feed(200, 0, 1, 2)
    live.end()
    gap = live.only(SourceGap)
    assert isinstance(gap, SourceGap)
    assert (0, low) == (gap.partition, gap.to_offset)
    assert SlotStatus.PARTIAL == live.first_after(SourceGap).status
    truth = live.producer.truth
    lost = truth[0][gap.from_offset : low]
    assert lost
    # The rides of closed slots among the lost offsets were counted before the reader was suspended.
    records = records_at(live.place)
    before = [r for r in records[: records.index(gap)] if isinstance(r, SlotClosed)][-1]
    [cut] = [cut.cut for cut in before.partitions if cut.partition == 0]
    again = [e for e in lost if e.offset < cut and e.at_us // 300_000_000 <= before.slot]
    seen.same(rides_of([e for log in truth.values() for e in log if e not in lost] + again), rides_recorded(live.place), "rides")
    assert_audited(live.place)
    seen.told(live.said, f"lost offsets [{gap.from_offset}, {low}) of partition 0: the ride log deleted them before they were read")
