"""Checks once, before anything starts, that the servers in the settings answer.

A server that fails later is waited for; one that never answered is most likely a wrong address.
"""

import re

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from dataflows.connectors.kafka import connection
from schemas.errors import AccessRefused, StoreUnavailable
from schemas.settings import Settings, masked, setting_named

ANSWER_S = 10.0


def check_servers(settings: Settings) -> None:
    """Check that Redis and the output brokers answer, if they are set; opening the database checks the database.

    Raises:
        StoreUnavailable: one of them does not answer; the message names its setting and address.
    """
    if settings.redis:
        _check_redis(settings.redis)
    if settings.kafka:
        _check_kafka(settings.kafka)


def _check_redis(address: str) -> None:
    import redis

    try:
        client = redis.Redis.from_url(address, socket_connect_timeout=ANSWER_S / 2, socket_timeout=ANSWER_S / 2)
        client.ping()
        client.close()
    except (redis.RedisError, OSError, ValueError) as cause:
        refused = isinstance(cause, (redis.AuthenticationError, redis.exceptions.NoPermissionError))
        raise _unreachable("redis", address, str(cause), refused=refused) from cause


def _check_kafka(bootstrap: str) -> None:
    try:
        AdminClient(connection.client_config(bootstrap)).list_topics(timeout=ANSWER_S)
    except KafkaException as cause:
        error = cause.args[0]
        refused = error.code() in connection.REFUSED
        raise _unreachable("kafka", bootstrap, f"{error.name()}: {error.str()}", refused=refused) from cause


def _unreachable(name: str, address: str, why: str, *, refused: bool) -> StoreUnavailable:
    reason = re.sub(r"\s+", " ", masked(why))
    kind = AccessRefused if refused else StoreUnavailable
    return kind(f"{setting_named(name).variable}: expected a server at {masked(address)}: {reason}")
