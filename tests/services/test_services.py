"""The servers themselves: they answer, restart after a kill, and a missing program is reported in one line."""

from collections.abc import Callable
from pathlib import Path

import pg8000.dbapi
import pytest
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError

from tests.services.kafka import KafkaServer, check_digests, jars
from tests.services.postgres import PostgresServer
from tests.services.process import PORTS, ServiceError, free_port, listening, program
from tests.services.redis import RedisServer


def test_a_message_survives_the_kill_of_the_broker(kafka_server: KafkaServer, kafka_topic: Callable[..., str]) -> None:
    """Messages acknowledged before kill -9 are read after the broker's restart, at the same address."""
    topic = kafka_topic(partitions=1)
    producer = Producer({"bootstrap.servers": kafka_server.address, "acks": "all", "log_level": 0})
    producer.produce(topic, b"value", b"key", partition=0, timestamp=1_398_902_400_000)
    assert producer.flush(30) == 0
    kafka_server.kill()
    assert not listening(kafka_server.port)
    kafka_server.start()
    consumer = Consumer({"bootstrap.servers": kafka_server.address, "group.id": "none", "enable.auto.commit": False, "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    (message,) = consumer.consume(1, 30)
    consumer.close()
    assert (message.value(), message.timestamp()[1]) == (b"value", 1_398_902_400_000)


def test_topics_are_fresh(kafka: str, kafka_topic: Callable[..., str], session_kafka: KafkaServer) -> None:
    """Each call returns another topic, and with 0 partitions it is not created."""
    made, named = kafka_topic(partitions=2), kafka_topic(partitions=0)
    topics = session_kafka.admin().list_topics(timeout=10).topics
    assert kafka == session_kafka.address
    assert (len(topics[made].partitions), named in topics) == (2, False)


def test_a_commit_survives_the_kill_of_postgres(postgres_server: PostgresServer, postgres_url: str) -> None:
    """Rows committed before kill -9 are there after the restart; the old connection is closed."""
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x int)"))
        connection.execute(text("INSERT INTO t VALUES (812)"))
    with engine.connect() as connection:
        postgres_server.kill()
        with pytest.raises((DBAPIError, InterfaceError, pg8000.dbapi.Error, OSError)):
            connection.execute(text("SELECT 1"))
        connection.invalidate()
    postgres_server.start()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT x FROM t")).scalar_one() == 812
    engine.dispose()


def test_each_test_has_its_own_database(session_postgres: PostgresServer, postgres_url: str) -> None:
    """Two databases of one server are independent."""
    other = session_postgres.fresh_database()
    assert other != postgres_url
    session_postgres.drop_database(other)


def test_redis_restarts_empty_and_resumes_after_a_pause(redis_server: RedisServer, redis_url: str) -> None:
    """A key is gone after a restart, and a paused server answers again after it resumes."""
    with redis.Redis.from_url(redis_url, socket_timeout=0.2) as client:
        assert client.dbsize() == 0
        client.set("a", "b")
        redis_server.pause()
        with pytest.raises(redis.exceptions.TimeoutError):
            client.get("a")
        redis_server.resume()
        assert client.get("a") == b"b"
        redis_server.kill()
        redis_server.start()
        assert client.dbsize() == 0


def test_a_missing_program_is_named() -> None:
    """The error names the missing program and what to install."""
    with pytest.raises(ServiceError, match=r"^no-such-server is missing: apt-get install it$"):
        program("no-such-server", "apt-get install it")


def test_a_changed_jar_is_found(tmp_path: Path) -> None:
    """A jar without its recorded digest is refused with its name."""
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / "a.jar").write_bytes(b"a")
    listing = tmp_path / "list"
    listing.write_text(f"{'0' * 64}  a.jar\n")
    with pytest.raises(ServiceError, match=r"a\.jar: expected 0000"):
        check_digests(tmp_path / "jars", listing)


def test_the_cached_jars_have_their_recorded_digests() -> None:
    """Every jar that the broker runs from has the digest of its release."""
    check_digests(jars(), Path(__file__).with_name("kafka_jars.sha256"))


def test_ports_are_outside_the_range_of_outgoing_connections() -> None:
    """A client that keeps connecting to a stopped server can never get that server's port."""
    assert free_port() in PORTS
    assert PORTS.stop <= 32_768
