"""What only a broker can do to a reader of rides: transactions, deleted records, and going away."""

import time
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from dataflows.connectors.kafka import connection as ours, rides as kafka_rides
from dataflows.connectors.kafka.rides import KafkaReader, KafkaRides, read_all
from dataflows.connectors.sources import FileRides, open_rides
from schemas.errors import NotFound, StoreUnavailable, UsageError
from tests.services.kafka import KafkaServer
from tests.services.process import free_port

Topics = Callable[..., str]


def write(bootstrap: str, topic: str, values: list[bytes | None]) -> None:
    """Append to partition 0, outside any transaction."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1})
    for value in values:
        producer.produce(topic, value, b"key", partition=0)
    assert producer.flush(20) == 0


def read_to(reader: KafkaReader, end: int, limit_s: float = 30.0) -> list[bytes]:
    """All values up to an end offset."""
    values, give_up_at = list[bytes](), time.monotonic() + limit_s
    while reader.position() < end:
        assert time.monotonic() < give_up_at, f"position {reader.position()} of {end}"
        batch = reader.read(1_000, 0.05)
        values += batch.values if batch is not None else []
    return values


def transactional(bootstrap: str, topic: str) -> Producer:
    """A producer whose transactions are its test's own."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"rides-{topic}", "linger.ms": 1, "log_level": 0})
    producer.init_transactions(20)
    return producer


def test_markers_at_the_end_are_passed(kafka: str, kafka_topic: Topics) -> None:
    """A log that ends in a marker, not a message, is read to its end: position reaches the high watermark."""
    topic = kafka_topic(1)
    producer = transactional(kafka, topic)
    for value in (b"a", b"b"):
        producer.begin_transaction()
        producer.produce(topic, value, partition=0)
        producer.commit_transaction(20)
    source = KafkaRides(kafka, topic)
    reader = source.open(0, 0)
    assert reader.end() == 4
    assert read_to(reader, 4) == [b"a", b"b"]
    assert reader.position() == 4
    reader.close()
    source.close()


def test_an_open_transaction_is_not_the_end(kafka: str, kafka_topic: Topics) -> None:
    """Rides of an open transaction lie below the end but are not read; once aborted, they are passed."""
    topic = kafka_topic(1)
    write(kafka, topic, [b"before"])
    producer = transactional(kafka, topic)
    producer.begin_transaction()
    producer.produce(topic, b"never", partition=0)
    producer.flush(20)
    source = KafkaRides(kafka, topic)
    reader = source.open(0, 0)
    assert read_to(reader, 1) == [b"before"]
    for _ in range(5):
        assert reader.read(10, 0.1) is None
    assert (reader.position(), reader.end()) == (1, 2)
    producer.abort_transaction(20)
    assert read_to(reader, 3) == []
    write(kafka, topic, [b"after"])
    assert read_to(reader, 4) == [b"after"]
    reader.close()
    source.close()


def test_a_tombstone_is_an_event_that_does_not_decode(kafka: str, kafka_topic: Topics) -> None:
    """A message without a value comes as empty bytes, so that it is counted as received."""
    topic = kafka_topic(1)
    write(kafka, topic, [b"a", None, b"c"])
    source = KafkaRides(kafka, topic)
    reader = source.open(0, 0)
    assert read_to(reader, 3) == [b"a", b"", b"c"]
    reader.close()
    source.close()


def test_deleted_rides_are_a_gap_that_is_seen(kafka: str, kafka_topic: Topics) -> None:
    """Where the broker has deleted rides the start says so, and reading below it raises instead of skipping."""
    topic = kafka_topic(1)
    write(kafka, topic, [b"%d" % i for i in range(10)])
    admin = AdminClient({"bootstrap.servers": kafka})
    for deleted in admin.delete_records([TopicPartition(topic, 0, 6)]).values():
        deleted.result(20)
    source = KafkaRides(kafka, topic)
    reader = source.open(0, 2)
    assert (reader.start(), reader.end()) == (6, 10)
    with pytest.raises(NotFound, match=r"from 6 to 10, the position to read from is 2"):
        reader.read(10, 1.0)
    reader.close()
    reader = source.open(0, 6)
    assert read_to(reader, 10) == [b"6", b"7", b"8", b"9"]
    reader.close()
    source.close()


def test_rides_that_are_deleted_under_a_reader_are_not_skipped(kafka: str, kafka_topic: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that is overtaken by deletion raises; it never goes on at the new start as if nothing were missing."""
    monkeypatch.setattr(kafka_rides, "QUEUED_KB", 1)
    topic = kafka_topic(1)
    source = KafkaRides(kafka, topic)
    for batch in range(30):
        write(kafka, topic, [b"%04d" % (batch * 100 + i) + b"x" * 5_000 for i in range(100)])
    reader = source.open(0, 0)
    first = reader.read(10, 10.0)
    assert first is not None
    admin = AdminClient({"bootstrap.servers": kafka})
    for deleted in admin.delete_records([TopicPartition(topic, 0, 3_000)]).values():
        deleted.result(20)
    with pytest.raises(NotFound, match="from 3000 to 3000"):
        read_to(reader, 3_000)
    reader.close()
    source.close()


def test_a_broker_that_is_away_is_a_stall_and_never_the_end(kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the broker is dead reads give nothing and the end can not be had; when it is back, reading goes on."""
    monkeypatch.setattr(ours, "ANSWER_S", 1.0)
    topic = kafka_server.fresh_topic(1)
    write(kafka_server.address, topic, [b"a"])
    source = KafkaRides(kafka_server.address, topic)
    reader = source.open(0, 0)
    assert read_to(reader, 1) == [b"a"]
    kafka_server.kill()
    for _ in range(3):
        assert reader.read(10, 0.2) is None
    with pytest.raises(StoreUnavailable, match=f"Kafka at {kafka_server.address}: asked for the ends of {topic}/0"):
        reader.end()
    kafka_server.start()
    monkeypatch.setattr(ours, "ANSWER_S", 20.0)
    write(kafka_server.address, topic, [b"b"])
    assert read_to(reader, 2) == [b"b"]
    assert reader.end() == 2
    reader.close()
    source.close()


def test_patience_ends(kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that stays away longer than the reader's patience is reported by the reader itself."""
    monkeypatch.setattr(ours, "ANSWER_S", 0.5)
    monkeypatch.setattr(kafka_rides, "PATIENCE_S", 1.0)
    topic = kafka_server.fresh_topic(1)
    write(kafka_server.address, topic, [b"a"])
    source = KafkaRides(kafka_server.address, topic)
    reader = source.open(0, 0)
    assert read_to(reader, 1) == [b"a"]
    kafka_server.kill()

    def read_for(limit_s: float) -> None:
        give_up_at = time.monotonic() + limit_s
        while time.monotonic() < give_up_at:
            reader.read(10, 0.1)

    with pytest.raises(StoreUnavailable, match="asked for the ends"):
        read_for(20)
    reader.close()
    source.close()


def test_no_broker_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody listens is named in the error."""
    monkeypatch.setattr(ours, "ANSWER_S", 1.0)
    address = f"127.0.0.1:{free_port()}"
    source = KafkaRides(address, "rides.raw")
    with pytest.raises(StoreUnavailable, match=f"Kafka at {address}: asked for the partitions of rides.raw"):
        source.partitions()
    with pytest.raises(StoreUnavailable, match=f"Kafka at {address}: asked for the identity of rides.raw"):
        source.identity()
    with pytest.raises(StoreUnavailable, match=f"Kafka at {address}: making the topic x"):
        ours.ensure_topic(address, "x", 1, {})
    source.close()


def test_a_missing_topic_is_said_in_one_line(kafka: str, kafka_topic: Topics) -> None:
    """A topic that the broker does not have is named in the error, and is not made by asking."""
    topic = kafka_topic(0)
    source = KafkaRides(kafka, topic)
    for _ in range(2):
        with pytest.raises(NotFound, match=f"expected a topic {topic}, and there is none"):
            source.partitions()
    with pytest.raises(NotFound, match=f"expected a topic {topic}, and there is none"):
        source.identity()
    source.close()


def test_identity_tells_a_topic_from_its_successor(kafka: str, kafka_topic: Topics) -> None:
    """A topic that is deleted and made again has another identity in the same cluster."""
    topic = kafka_topic(1)
    source = KafkaRides(kafka, topic)
    before = source.identity()
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_topics([topic])[topic].result(20)
    give_up_at = time.monotonic() + 20
    while not ours.ensure_topic(kafka, topic, 1, {}):
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
    after = source.identity()
    assert before.cluster == after.cluster
    assert before.topic_id != after.topic_id
    source.close()


def test_a_topic_is_made_once(kafka: str, kafka_topic: Topics) -> None:
    """Making a topic that exists changes nothing and says so."""
    topic = kafka_topic(0)
    assert ours.ensure_topic(kafka, topic, 3, {"cleanup.policy": "compact"})
    assert not ours.ensure_topic(kafka, topic, 5, {})
    source = KafkaRides(kafka, topic)
    assert source.partitions() == (0, 1, 2)
    source.close()


def test_all_of_a_topic_is_read_with_patience(kafka: str, kafka_topic: Topics) -> None:
    """Reading a topic to its end waits for an open transaction, and names it when patience ends."""
    topic = kafka_topic(2)
    write(kafka, topic, [b"a", b"b"])
    assert list(read_all(kafka, topic, 10.0)) == [b"a", b"b"]
    producer = transactional(kafka, topic)
    producer.begin_transaction()
    producer.produce(topic, b"c", partition=0)
    producer.flush(20)
    with pytest.raises(StoreUnavailable, match="is a transaction open"):
        list(read_all(kafka, topic, 0.5))
    producer.commit_transaction(20)
    assert list(read_all(kafka, topic, 10.0)) == [b"a", b"b", b"c"]


def test_an_address_names_the_source(kafka: str, tmp_path: object) -> None:
    """A directory and a Kafka address open their sources; anything else is the person's mistake."""
    source = open_rides(f"kafka://{kafka}/rides.raw")
    assert isinstance(source, KafkaRides)
    source.close()
    assert isinstance(open_rides(str(tmp_path)), FileRides)
    for wrong in ("kafka://localhost/rides", "kafka://localhost:9092", "http://x:1/y"):
        with pytest.raises(UsageError, match="expected a directory or kafka://HOST:PORT/TOPIC"):
            open_rides(wrong)


@pytest.mark.bench
def test_the_reader_keeps_up_with_a_bare_loop(kafka: str, kafka_topic: Topics) -> None:
    """Building batches keeps at least 0.7 of the rate of a tuned consume loop that drops what it gets."""
    topic, n = kafka_topic(1), 600_000
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 20, "queue.buffering.max.messages": n + 1, "compression.type": "lz4"})
    for i in range(n):
        producer.produce(topic, b"%08d" % i * 18, b"%d" % i, partition=0)
    assert producer.flush(60) == 0

    def bare() -> float:
        consumer = Consumer(
            {"bootstrap.servers": kafka, "group.id": "bare", "fetch.queue.backoff.ms": 5, "enable.auto.commit": False}
            | {"enable.auto.offset.store": False}
        )
        consumer.assign([TopicPartition(topic, 0, 0)])
        began, got = time.perf_counter(), 0
        while got < n:
            got += len(consumer.consume(5_000, 0.05))
        took_s = time.perf_counter() - began
        consumer.close()
        return took_s

    def batched() -> float:
        source = KafkaRides(kafka, topic)
        reader = source.open(0, 0)
        began = time.perf_counter()
        while reader.position() < n:
            reader.read(5_000, 0.05)
        took_s = time.perf_counter() - began
        reader.close()
        source.close()
        return took_s

    bare()
    pairs = [(bare(), batched()) for _ in range(3)]
    bare_s, batched_s = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    print(f"bare {n / bare_s / 1e6:.2f} M/s, batched {n / batched_s / 1e6:.2f} M/s, ratio {bare_s / batched_s:.2f}")
    assert bare_s / batched_s >= 0.7
