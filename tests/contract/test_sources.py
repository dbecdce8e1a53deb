"""The contract of every source of ride events, run against files and a real broker."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from confluent_kafka import Producer
from hypothesis import HealthCheck, given, settings, strategies as st

from dataflows.connectors.files.ridelog import RideLogWriter
from dataflows.connectors.source_identity import SourceIdentity
from dataflows.connectors.sources import FileRides, KafkaRides, PartitionReader, RideSource
from schemas.errors import NotFound

PARTITIONS = 3
T0_MS = 1_400_000_000_000


class Log(Protocol):
    """A ride log under test, with a writer's view of it."""

    def append(self, partition: int, values: Sequence[bytes]) -> None: ...
    def source(self) -> RideSource: ...


class FileLog:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counts = [0] * PARTITIONS
        self._writer = RideLogWriter(folder, PARTITIONS)

    def append(self, partition: int, values: Sequence[bytes]) -> None:
        first = self._counts[partition]
        self._counts[partition] += len(values)
        times = (T0_MS + np.arange(first, self._counts[partition])) * 1000
        self._writer.append(partition, times, [b"key"] * len(values), list(values))
        self._writer.flush()

    def source(self) -> RideSource:
        return FileRides(self._folder)

    def close(self) -> None:
        self._writer.close()


class KafkaLog:
    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap, self._topic = bootstrap, topic
        self._counts = [0] * PARTITIONS
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1})

    def append(self, partition: int, values: Sequence[bytes]) -> None:
        for value in values:
            stamp_ms = T0_MS + self._counts[partition]
            self._producer.produce(self._topic, value, b"key", partition=partition, timestamp=stamp_ms)
            self._counts[partition] += 1
        assert self._producer.flush(20) == 0

    def source(self) -> RideSource:
        return KafkaRides(self._bootstrap, self._topic)

    def close(self) -> None:
        pass


@pytest.fixture(params=["files", "kafka"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    """An empty log with three partitions."""
    if request.param == "files":
        made: FileLog | KafkaLog = FileLog(tmp_path / "rides")
    else:
        made = KafkaLog(request.getfixturevalue("kafka"), request.getfixturevalue("kafka_topic")(PARTITIONS))
    yield made
    made.close()


@pytest.fixture
def source(log: Log) -> Iterator[RideSource]:
    """The source that reads it."""
    opened = log.source()
    yield opened
    opened.close()


@pytest.fixture
def reading(source: RideSource) -> Iterator[Callable[[int, int], PartitionReader]]:
    """Opens readers that are closed at the end."""
    readers: list[PartitionReader] = []

    def open_at(partition: int, offset: int) -> PartitionReader:
        readers.append(source.open(partition, offset))
        return readers[-1]

    yield open_at
    for reader in readers:
        reader.close()


def read_until(reader: PartitionReader, end: int, limit: int = 5_000) -> tuple[list[int], list[int], list[bytes]]:
    """Everything up to an end offset: offsets, times in microseconds, values."""
    offsets, times, values = list[int](), list[int](), list[bytes]()
    give_up_at = time.monotonic() + 30
    while reader.position() < end:
        assert time.monotonic() < give_up_at, f"position {reader.position()} of {end}"
        batch = reader.read(limit, 0.05)
        if batch is not None:
            assert 1 <= len(batch) <= limit
            assert batch.offsets.dtype == batch.logged_at_us.dtype == np.int64
            assert int(batch.offsets[-1]) < reader.position()
            offsets += batch.offsets.tolist()
            times += batch.logged_at_us.tolist()
            values += batch.values
    return offsets, times, values


def test_partitions_are_known(source: RideSource) -> None:
    """A source lists its partitions, including those without events."""
    assert source.partitions() == (0, 1, 2)


def test_written_events_are_read_in_order(log: Log, reading: Callable[[int, int], PartitionReader]) -> None:
    """Values, offsets and times are read as they were written, per partition."""
    log.append(1, [b"a", b"", b"\xff\x00c"])
    log.append(2, [b"other"])
    reader = reading(1, 0)
    assert ([0, 1, 2], [(T0_MS + i) * 1000 for i in range(3)], [b"a", b"", b"\xff\x00c"]) == read_until(reader, 3)
    assert reader.position() == 3


def test_reading_starts_at_the_given_offset(log: Log, reading: Callable[[int, int], PartitionReader]) -> None:
    """A reader opened at an offset reads from it on, and has that position before its first read."""
    log.append(0, [b"%d" % i for i in range(10)])
    reader = reading(0, 7)
    assert reader.position() == 7
    assert read_until(reader, 10)[2] == [b"7", b"8", b"9"]


def test_an_empty_partition_is_read_to_its_end(reading: Callable[[int, int], PartitionReader]) -> None:
    """A partition without events starts and ends at 0, and reading it gives None."""
    reader = reading(0, 0)
    assert (reader.start(), reader.end()) == (0, 0)
    assert reader.read(100, 0.2) is None
    assert reader.position() == 0


def test_the_end_is_read_again(log: Log, source: RideSource, reading: Callable[[int, int], PartitionReader]) -> None:
    """Events appended after a reader has reached the end move the end, and are read."""
    log.append(0, [b"first"])
    reader = reading(0, 0)
    read_until(reader, 1)
    assert reader.read(10, 0.1) is None
    log.append(0, [b"second", b"third"])
    assert reader.end() == 3
    assert source.bounds(0) == (0, 3)
    assert read_until(reader, 3)[::2] == ([1, 2], [b"second", b"third"])


@pytest.mark.parametrize("offset", [-1, 4])
def test_a_position_outside_the_log_is_an_error(log: Log, reading: Callable[[int, int], PartitionReader], offset: int) -> None:
    """A position outside the log raises at the first read, and the error has the log's range."""
    log.append(0, [b"x"] * 3)
    reader = reading(0, offset)
    assert reader.end() == 3
    with pytest.raises(NotFound, match=f"from 0 to 3, the position to read from is {offset}"):
        reader.read(10, 5.0)


@pytest.mark.alone
def test_waiting_ends_in_time(reading: Callable[[int, int], PartitionReader]) -> None:
    """A read at the end waits no longer than its timeout."""
    reader = reading(0, 0)
    reader.read(1, 0.5)
    began = time.monotonic()
    assert reader.read(10, 0.2) is None
    assert time.monotonic() - began < 1.5


def test_two_readers_do_not_share_a_position(log: Log, reading: Callable[[int, int], PartitionReader]) -> None:
    """Each of two readers of one partition reads all of it."""
    log.append(0, [b"a", b"b"])
    assert read_until(reading(0, 0), 2) == read_until(reading(0, 0), 2)


def test_identity_is_stable(log: Log, source: RideSource) -> None:
    """A log keeps its identity as it grows, and all of its fields are text."""
    before = source.identity()
    log.append(0, [b"x"])
    again = log.source()
    assert before == again.identity()
    assert before.known()
    assert all(isinstance(value, str) and value for value in before.known().values())
    assert before == SourceIdentity.from_text(before.to_json())
    again.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limits=st.lists(st.integers(1, 700), min_size=1, max_size=6), start=st.integers(0, 1_500))
def test_any_batch_size_reads_the_same(log: Log, source: RideSource, limits: list[int], start: int) -> None:
    """For any batch size, the same events are read from the same offset on."""
    if source.bounds(0)[1] == 0:
        log.append(0, [b"value %d" % i for i in range(1_500)])
    reader = source.open(0, start)
    read, turn = list[bytes](), 0
    give_up_at = time.monotonic() + 30
    while reader.position() < 1_500:
        assert time.monotonic() < give_up_at
        batch = reader.read(limits[turn % len(limits)], 0.05)
        read += batch.values if batch is not None else []
        turn += 1
    reader.close()
    assert [b"value %d" % i for i in range(start, 1_500)] == read
