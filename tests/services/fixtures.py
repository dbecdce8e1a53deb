"""Fixtures of the real servers: the session starts each when first asked for and stops it at the end; none is ever skipped.

| fixture | is |
|---|---|
| `kafka` | "127.0.0.1:port" of the session's broker |
| `kafka_topic` | `kafka_topic(partitions=4, config=None) -> str`: makes a topic that no other test uses; 0 partitions: the name only |
| `kafka_secured` | a broker with TLS, logins and rights, of which none is granted at first |
| `postgres_url` | `postgresql+pg8000://...` of an empty database of this test |
| `postgres_secured`, `redis_secured` | a PostgreSQL and a Redis with TLS, logins and rights |
| `redis_url` | `redis://...` of an empty Redis |
| `alertmanager_server` | an Alertmanager without alerts, of this test |
| `kafka_server`, `postgres_server`, `redis_server` | to kill, stop, start, restart, pause, resume; runs again after the test |
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from tests.services.alertmanager import AlertmanagerServer
from tests.services.kafka import KafkaServer
from tests.services.postgres import PostgresServer
from tests.services.process import Server, ServiceError
from tests.services.redis import RedisServer
from tests.services.secure_kafka import SecureKafkaServer
from tests.services.secure_postgres import SecurePostgresServer
from tests.services.secure_redis import SecureRedisServer

TopicFactory = Callable[..., str]
S = TypeVar("S", bound=Server)


@pytest.fixture(scope="session")
def session_kafka() -> Iterator[KafkaServer]:
    """The session's broker."""
    yield from _for_the_session(KafkaServer())


@pytest.fixture(scope="session")
def session_postgres() -> Iterator[PostgresServer]:
    """The session's PostgreSQL."""
    yield from _for_the_session(PostgresServer())


@pytest.fixture(scope="session")
def session_redis() -> Iterator[RedisServer]:
    """The session's Redis."""
    yield from _for_the_session(RedisServer())


@pytest.fixture(scope="session")
def kafka(session_kafka: KafkaServer) -> str:
    """Bootstrap address of a running broker."""
    return session_kafka.address


@pytest.fixture
def kafka_topic(session_kafka: KafkaServer) -> TopicFactory:
    """Makes topics that no other test uses."""
    return session_kafka.fresh_topic


@pytest.fixture
def postgres_url(session_postgres: PostgresServer) -> Iterator[str]:
    """URL of an empty database, dropped after the test, which closes open connections."""
    url = session_postgres.fresh_database()
    yield url
    _running_again(session_postgres)
    session_postgres.drop_database(url)


@pytest.fixture
def redis_url(session_redis: RedisServer) -> str:
    """URL of a Redis without keys."""
    session_redis.flush()
    return session_redis.url


@pytest.fixture
def kafka_server(session_kafka: KafkaServer) -> Iterator[KafkaServer]:
    """The broker, to kill and restart; it runs again when the test ends."""
    yield session_kafka
    _running_again(session_kafka)


@pytest.fixture(scope="session")
def session_kafka_secured() -> Iterator[SecureKafkaServer]:
    """The session's secured broker."""
    yield from _for_the_session(SecureKafkaServer())


@pytest.fixture
def kafka_secured(session_kafka_secured: SecureKafkaServer) -> SecureKafkaServer:
    """The secured broker; no user has any right."""
    session_kafka_secured.deny_all()
    return session_kafka_secured


@pytest.fixture(scope="session")
def postgres_secured() -> Iterator[SecurePostgresServer]:
    """The session's PostgreSQL with TLS, and its users."""
    server = SecurePostgresServer()
    for running in _for_the_session(server):
        running.create_users()
        yield running


@pytest.fixture(scope="session")
def redis_secured() -> Iterator[SecureRedisServer]:
    """The session's Redis with TLS, which keeps its keys between tests."""
    yield from _for_the_session(SecureRedisServer())


@pytest.fixture
def postgres_server(session_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """PostgreSQL, to kill and restart; it runs again when the test ends."""
    yield session_postgres
    _running_again(session_postgres)


@pytest.fixture
def redis_server(session_redis: RedisServer) -> Iterator[RedisServer]:
    """Redis, to kill and restart; it runs again, empty, when the test ends."""
    yield session_redis
    _running_again(session_redis)


@pytest.fixture
def alertmanager_server() -> Iterator[AlertmanagerServer]:
    """An Alertmanager, to kill and start; it keeps nothing for another test."""
    yield from _for_the_session(AlertmanagerServer())


def _for_the_session(server: S) -> Iterator[S]:
    try:
        try:
            server.start()
        except ServiceError as cause:
            pytest.fail(str(cause), pytrace=False)
        yield server
    finally:
        server.close()


def _running_again(server: Server) -> None:
    server.resume()
    server.start()
