"""A world's log that grows while a run reads it, in files or on Kafka, and that can lose its start."""

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from dataflows.connectors.files.ridelog import RideLogWriter
from dataflows.connectors.kafka.producer import KafkaRideSink
from dataflows.connectors.sources import open_rides
from schemas.records.records import SlotClosed
from tests.simulation.runs import LOG, Place
from tests.simulation.world import EVIDENCE, MIN_US, START_SLOT, START_US, Entry, World, append
from tests.state.counting.plain_slots import SLOT_US, Event, accepted_of, reached_together

PIECE_EVENTS = 20  # what a live producer sends at once


class LiveLog(Protocol):
    """A growing ride log."""

    rides: str

    def write(self, partition: int, entries: Sequence[Entry]) -> None: ...
    def forget(self, partition: int, until: int) -> None:
        """Delete the offsets below `until`, or most of them."""
        ...

    def close(self) -> None: ...


class LiveFiles:
    """Files of a few events each."""

    def __init__(self, folder: Path, partitions: int) -> None:
        self.rides = str(folder)
        self._folder = folder
        self._writer = RideLogWriter(folder, partitions, segment_bytes=2_000)
        self._writer.flush()

    def write(self, partition: int, entries: Sequence[Entry]) -> None:
        append(self._writer, partition, entries)
        self._writer.flush()

    def forget(self, partition: int, until: int) -> None:
        paths = sorted((self._folder / str(partition)).glob("*.avro"))
        for path, following in pairwise(paths):
            if int(following.stem) <= until:
                path.unlink()

    def close(self) -> None:
        self._writer.close()


class LiveTopic:
    """A topic on a real broker."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self.rides = f"kafka://{bootstrap}/{topic}"
        self._topic = topic
        self._sink = KafkaRideSink(bootstrap, topic, partitions, append_to=True)
        self._admin = AdminClient({"bootstrap.servers": bootstrap})

    def write(self, partition: int, entries: Sequence[Entry]) -> None:
        append(self._sink, partition, entries)
        self._sink.flush()

    def forget(self, partition: int, until: int) -> None:
        for deletion in self._admin.delete_records([TopicPartition(self._topic, partition, until)]).values():
            deletion.result(30)

    def close(self) -> None:
        pass


class Producer:
    """Feeds a world's entries into its live log in order of log time."""

    def __init__(self, world: World, log: LiveLog) -> None:
        self.world, self.log = world, log
        self.fed = [0] * len(world.logs)

    def feed(self, until_min: float, partitions: Sequence[int], pause_s: float = 0.0) -> None:
        """Feed all entries of these partitions logged before that minute after the start, in small alternating batches."""
        until_us = START_US + int(until_min * MIN_US)
        left = list(partitions)
        while left:
            for partition in tuple(left):
                log, at = self.world.logs[partition], self.fed[partition]
                piece = [entry for entry in log[at : at + PIECE_EVENTS] if entry.logged_at_us < until_us]
                if piece:
                    self.log.write(partition, piece)
                    self.fed[partition] += len(piece)
                if len(piece) < PIECE_EVENTS:
                    left.remove(partition)
            time.sleep(pause_s)

    @property
    def truth(self) -> dict[int, list[Event]]:
        """The entries fed so far, for the reference."""
        return {p: log[: self.fed[p]] for p, log in self.world.truth.items()}

    def last_slot(self) -> int:
        """The last slot that a live run can close of what has been fed: all partitions are idle, and excused from what they evidence."""
        accepted = {p: accepted_of(log, self.world.horizon, EVIDENCE) for p, log in self.truth.items()}
        return (reached_together(accepted, EVIDENCE) - self.world.lateness_us) // SLOT_US - 1


def last_closed(place: Place) -> SlotClosed | None:
    """The newest closed slot of a region that other processes may be writing."""
    stores = place.open()
    try:
        return stores.ledger.find(LOG, SlotClosed)
    finally:
        stores.close()


def caught_up(place: Place, producer: Producer) -> bool:
    """Whether every closable slot is closed."""
    last = last_closed(place)
    return (last.slot if last else START_SLOT - 1) >= producer.last_slot()


def lowest(place: Place, partition: int) -> int:
    """Lowest offset that the log still has."""
    source = open_rides(place.rides)
    try:
        return source.bounds(partition)[0]
    finally:
        source.close()
