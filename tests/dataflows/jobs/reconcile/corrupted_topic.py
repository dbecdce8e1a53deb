"""A topic that a publisher has filled from a small ledger, and every way in which a test corrupts it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from confluent_kafka import Producer

from dataflows.connectors.kafka.forecasts import KafkaForecasts
from dataflows.jobs.reconcile.topic import TopicPlace
from dataflows.stream.publish import Publisher, publishing_turn
from ledger.views.reconcile.differences import Reason
from schemas.events.cells import cell_text
from schemas.events.partitioner import partition_of
from schemas.forecasts.messages import encode_demand_forecasts, forecast_key
from tests.dataflows.stream.test_publish import LOG, NYC, City
from tests.forecast_samples import FIRST_CELL, sample_columns, sample_issued
from tests.services.committed import committed

CELLS = 120
RETIRED = FIRST_CELL + 3 * CELLS
PARTITIONS = 4


@dataclass
class FilledTopic:
    """A ledger that grows slot by slot, and a topic where all of it is published."""

    home: Path
    kafka: str
    instance: str
    city: City = field(init=False)
    publisher: Publisher = field(init=False)
    sink: KafkaForecasts = field(init=False)
    place: TopicPlace = field(init=False)

    def __post_init__(self) -> None:
        self.city = City(self.home)
        self.city.bootstrap()
        self.sink = KafkaForecasts(self.kafka, self.instance, "nyc")
        turn = partial(publishing_turn, self.city.ledger, LOG)
        self.publisher = Publisher(self.city.ledger, self.city.blobs, self.sink, NYC, turn=turn)
        self.place = TopicPlace(self.city.ledger, self.city.blobs, self.kafka, self.instance, [NYC], ["nyc"])
        self.city.close_slot(CELLS + 1)
        self.publisher.step()
        self.city.close_slot(CELLS, self.city.retire(RETIRED))
        self.publisher.step()

    @property
    def topic(self) -> str:
        """Full name."""
        return f"{self.instance}.demand.forecasts"

    def newest(self) -> dict[bytes, bytes]:
        """What a consumer knows after it has read everything; keys without a forecast are left out."""
        return {key: value for key, value in dict(committed(self.kafka, self.topic)).items() if value is not None}

    def write(self, key: bytes, value: bytes | None, partition: int | None = None) -> None:
        """Write as a foreign producer does, outside of all transactions."""
        producer = Producer({"bootstrap.servers": self.kafka, "linger.ms": 0})
        chosen = int(partition_of([key], PARTITIONS)[0]) if partition is None else partition
        producer.produce(self.topic, value, key, chosen)
        assert producer.flush(10) == 0

    def message(self, key: bytes, index: int, seed: int) -> bytes:
        """What another forecast of a key's cell would be."""
        columns = sample_columns(CELLS + 20, seed=seed)
        issued = sample_issued(columns, self.city.slot, b"")
        found = dict(encode_demand_forecasts(columns, issued, index, NYC.precision))
        return found[key]

    def close(self) -> None:
        """Close everything."""
        self.place.close()
        self.sink.close()
        self.city.ledger.close()
        self.city.blobs.close()


def key_of(place: int) -> bytes:
    """The key of one of the cells."""
    return forecast_key("nyc", cell_text(FIRST_CELL + 3 * place, NYC.precision))


def _index(topic: FilledTopic) -> int:
    return topic.city.ledger.head(LOG).size - 1


Named = tuple[str, Reason]
Corruption = Callable[[FilledTopic, Random, bytes], Named]


def _number(topic: FilledTopic, random: Random, key: bytes) -> Named:
    topic.write(key, topic.message(key, _index(topic), random.randrange(1_000)))
    return key.decode(), Reason.CHANGED


def _ahead(topic: FilledTopic, random: Random, key: bytes) -> Named:
    topic.write(key, topic.message(key, _index(topic) + 1 + random.randrange(1_000), random.randrange(1_000)))
    return key.decode(), Reason.AHEAD


def _other_ledger(topic: FilledTopic, random: Random, key: bytes) -> Named:
    topic.write(key, topic.message(key, 0, random.randrange(1_000)))  # entry 0 is no issue
    return key.decode(), Reason.OTHER_LEDGER


def _older(topic: FilledTopic, random: Random, key: bytes) -> Named:
    topic.write(key, topic.message(key, 2, random.randrange(1_000)))  # that of the first issue
    return key.decode(), Reason.STALE


def _tombstone(topic: FilledTopic, random: Random, key: bytes) -> Named:
    topic.write(key, None)
    return key.decode(), Reason.MISSING


def _truncated(topic: FilledTopic, random: Random, key: bytes) -> Named:
    value = topic.message(key, _index(topic), 1)
    topic.write(key, value[: random.randrange(len(value))])
    return key.decode(), Reason.DAMAGED


def _stranger(topic: FilledTopic, random: Random, key: bytes) -> Named:
    topic.write(key, random.randbytes(random.randrange(1, 5_000)))
    return key.decode(), Reason.DAMAGED


def _retired(topic: FilledTopic, random: Random, key: bytes) -> Named:
    gone = key_of(CELLS)
    topic.write(gone, topic.message(gone, 2, random.randrange(1_000)))
    return gone.decode(), Reason.ADDED


def _added(topic: FilledTopic, random: Random, key: bytes) -> Named:
    more = key_of(CELLS + 1 + random.randrange(15))
    topic.write(more, topic.message(more, _index(topic), random.randrange(1_000)))
    return more.decode(), Reason.ADDED


def _no_cell(topic: FilledTopic, random: Random, key: bytes) -> Named:
    more = f"nyc/no cell {random.randrange(1_000)}".encode()
    topic.write(more, b"text")
    return more.decode(), Reason.ADDED


def _partition(topic: FilledTopic, random: Random, key: bytes) -> Named:
    other = (int(partition_of([key], PARTITIONS)[0]) + random.randrange(1, PARTITIONS)) % PARTITIONS
    topic.write(key, topic.message(key, 0, random.randrange(1_000)), other)
    return f"{key.decode()} in partition {other}", Reason.ADDED


CORRUPTIONS: tuple[Corruption, ...] = (
    _number,
    _ahead,
    _other_ledger,
    _older,
    _tombstone,
    _truncated,
    _stranger,
    _retired,
    _added,
    _no_cell,
    _partition,
)


def corrupted(topic: FilledTopic, random: Random, kinds: Sequence[Corruption]) -> list[Named]:
    """Apply each kind to a cell of its own; returns what must be named, in order."""
    places = random.sample(range(CELLS), len(kinds))
    return sorted({corrupt(topic, random, key_of(place)) for corrupt, place in zip(kinds, places, strict=True)})
