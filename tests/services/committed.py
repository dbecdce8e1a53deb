"""The messages of a topic that a consumer sees that reads committed: the oracle of every exactly-once test."""

import time

from confluent_kafka import Consumer, KafkaError, TopicPartition

Messages = list[tuple[bytes, bytes | None]]


def committed(bootstrap: str, topic: str, limit_s: float = 40.0) -> Messages:
    """Keys and values of all committed messages, partition after partition; waits for open transactions to end."""
    common = {"bootstrap.servers": bootstrap, "group.id": "judge", "enable.auto.commit": False}
    asker = Consumer(common | {"isolation.level": "read_uncommitted"})
    reader = Consumer(common | {"isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "earliest"})
    found: Messages = []
    give_up_at = time.monotonic() + limit_s
    for partition in sorted(asker.list_topics(topic, timeout=10).topics[topic].partitions):
        place = TopicPartition(topic, partition, 0)
        _, end = asker.get_watermark_offsets(place, timeout=10) or (0, 0)
        reader.assign([place])
        position = 0
        while position < end:
            assert time.monotonic() < give_up_at, f"{topic}/{partition}: at {position} of {end}"
            for message in reader.consume(5_000, 0.1):
                error, offset = message.error(), message.offset() or 0
                if error is None:
                    found.append((message.key() or b"", message.value()))
                    position = offset + 1
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    position = max(position, offset)
    reader.close()
    asker.close()
    return found
