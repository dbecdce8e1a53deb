"""Reading rides from a broker: transactions, deleted records and outages."""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # there, but not in its __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)

from dataflows.connectors.kafka import connection as ours, rides as kafka_rides
from dataflows.connectors.kafka.rides import KafkaReader, KafkaRides, read_all
from dataflows.connectors.sources import FileRides, open_rides
from schemas.errors import AccessRefused, NotFound, StoreUnavailable, UsageError
from tests.faults.seen import Seen
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
    """A transactional producer for one test."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"rides-{topic}", "linger.ms": 1, "log_level": 0})
    producer.init_transactions(20)
    return producer


def test_markers_at_the_end_are_passed(kafka: str, kafka_topic: Topics) -> None:
    """A log that ends with a transaction marker is read to its end: the position reaches the high watermark."""
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
    """Rides of an open transaction are below the end but not read; once aborted, they are skipped."""
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


def test_a_refusal_is_over_when_the_broker_answers(kafka: str, kafka_topic: Topics) -> None:
    """A right that was missing for a moment is no error any more once events come, or the end is seen; before that it is."""
    topic = kafka_topic(1)
    write(kafka, topic, [b"a"])
    source = KafkaRides(kafka, topic)
    reader = source.open(0, 0)
    assert isinstance(reader, KafkaReader)
    refusal = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    reader._note_error(refusal)
    give_up_at = time.monotonic() + 20
    found = None
    while found is None and time.monotonic() < give_up_at:
        with suppress(AccessRefused):
            found = reader.read(10, 0.1)
    assert found is not None
    for _ in range(10):
        assert reader.read(10, 0.1) is None
    reader._note_error(refusal)
    with pytest.raises(AccessRefused, match=f"grant this client Read on topic {topic}"):
        reader.read(10, 0.1)
    reader.close()
    source.close()


def test_a_tombstone_is_an_event_that_does_not_decode(kafka: str, kafka_topic: Topics) -> None:
    """A message without a value is read as empty bytes, so that it counts as received."""
    topic = kafka_topic(1)
    write(kafka, topic, [b"a", None, b"c"])
    source = KafkaRides(kafka, topic)
    reader = source.open(0, 0)
    assert read_to(reader, 3) == [b"a", b"", b"c"]
    reader.close()
    source.close()


def test_the_log_says_whose_clock_a_time_is(kafka: str, kafka_topic: Topics) -> None:
    """Each message says whether its time is the producer's or the broker's, also where the topic's setting has changed."""
    topic = kafka_topic(1)
    write(kafka, topic, [b"a", b"b"])
    admin, changed = AdminClient({"bootstrap.servers": kafka}), ConfigResource(ConfigResource.Type.TOPIC, topic)
    changed.add_incremental_config(ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET))
    for done in admin.incremental_alter_configs([changed]).values():
        done.result(20)
    write(kafka, topic, [b"c"])
    source = KafkaRides(kafka, topic)
    reader = source.open(0, 0)
    found: list[tuple[bytes, bool]] = []
    give_up_at = time.monotonic() + 30
    while len(found) < 3 and time.monotonic() < give_up_at:
        if (batch := reader.read(2, 0.5)) is not None:
            flags = [False] * len(batch) if batch.by_broker is None else batch.by_broker.tolist()
            found += zip(batch.values, flags, strict=True)
            assert batch.part(slice(0, 1)).values == batch.values[:1]
    assert [(b"a", False), (b"b", False), (b"c", True)] == found
    reader.close()
    source.close()


def test_deleted_rides_are_a_reported_gap(kafka: str, kafka_topic: Topics) -> None:
    """When the broker deletes rides the start moves, and reading below it raises instead of skipping."""
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
    """A reader whose position is deleted raises; it never silently resumes at the new start."""
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


def test_a_broker_that_is_down_is_a_delay_and_never_the_end(kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch, seen: Seen) -> None:
    """While the broker is down reads return None and the end raises; when it is back, reading continues."""
    monkeypatch.setattr(ours, "ANSWER_S", 1.0)
    topic = kafka_server.fresh_topic(1)
    write(kafka_server.address, topic, [b"a"])
    source = KafkaRides(kafka_server.address, topic)
    reader = source.open(0, 0)
    before = read_to(reader, 1)
    assert before == [b"a"]
    kafka_server.kill()
    for _ in range(3):
        assert reader.read(10, 0.2) is None
    with pytest.raises(StoreUnavailable, match=f"Kafka at {kafka_server.address}: reading the ends of {topic}/0") as caught:
        reader.end()
    seen.told(caught.value, ": reading the ends of ")
    kafka_server.start()
    monkeypatch.setattr(ours, "ANSWER_S", 20.0)
    write(kafka_server.address, topic, [b"b"])
    seen.same([b"a", b"b"], before + read_to(reader, 2), "events")
    assert reader.end() == 2
    reader.close()
    source.close()


def test_a_long_outage_is_reported(kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is down longer than the reader's timeout is reported by the reader itself."""
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

    with pytest.raises(StoreUnavailable, match="reading the ends"):
        read_for(20)
    reader.close()
    source.close()


def test_no_broker_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names an address that does not answer."""
    monkeypatch.setattr(ours, "ANSWER_S", 1.0)
    address = f"127.0.0.1:{free_port()}"
    source = KafkaRides(address, "rides.raw")
    with pytest.raises(StoreUnavailable, match=f"Kafka at {address}: reading the partitions of rides.raw"):
        source.partitions()
    with pytest.raises(StoreUnavailable, match=f"Kafka at {address}: reading the identity of rides.raw"):
        source.identity()
    with pytest.raises(StoreUnavailable, match=f"Kafka at {address}: creating topic x"):
        ours.ensure_topic(address, "x", 1, {})
    source.close()


def test_a_missing_topic_is_reported_in_one_line(kafka: str, kafka_topic: Topics) -> None:
    """The error names a topic that the broker does not have, and the request does not create it."""
    topic = kafka_topic(0)
    source = KafkaRides(kafka, topic)
    for _ in range(2):
        with pytest.raises(NotFound, match=f"expected a topic {topic}, found none"):
            source.partitions()
    with pytest.raises(NotFound, match=f"expected a topic {topic}, found none"):
        source.identity()
    source.close()


def test_identity_tells_a_topic_from_its_successor(kafka: str, kafka_topic: Topics) -> None:
    """A topic that is deleted and created again has another identity in the same cluster."""
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


def test_a_topic_is_created_once(kafka: str, kafka_topic: Topics) -> None:
    """Creating an existing topic changes nothing and returns False."""
    topic = kafka_topic(0)
    assert ours.ensure_topic(kafka, topic, 3, {"cleanup.policy": "compact"})
    assert not ours.ensure_topic(kafka, topic, 5, {})
    source = KafkaRides(kafka, topic)
    assert source.partitions() == (0, 1, 2)
    source.close()


def test_all_of_a_topic_is_read_within_the_timeout(kafka: str, kafka_topic: Topics) -> None:
    """Reading a topic to its end waits for an open transaction, and the error after the timeout mentions it."""
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
    """A directory and a Kafka address open their sources; anything else is a usage error."""
    source = open_rides(f"kafka://{kafka}/rides.raw")
    assert isinstance(source, KafkaRides)
    source.close()
    assert isinstance(open_rides(str(tmp_path)), FileRides)
    for wrong in ("kafka://localhost/rides", "kafka://localhost:9092", "http://x:1/y"):
        with pytest.raises(UsageError, match="expected a directory or kafka://HOST:PORT/TOPIC"):
            open_rides(wrong)


@pytest.mark.bench
def test_the_reader_keeps_up_with_a_plain_loop(kafka: str, kafka_topic: Topics) -> None:
    """Building batches reaches at least 0.7 of the rate of a tuned consume loop that discards its messages."""
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
