"""Checks once, before anything starts, that the servers in the settings answer.

A server that fails later is waited for; one that never answered is most likely a wrong address.
"""

import re
from contextlib import closing

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from dataflows.connectors.kafka import connection
from dataflows.connectors.kafka.cluster import Cluster, output_cluster
from ledger.store.limits import Limits
from ledger.views.online.connect import open_redis
from schemas.configuration.addresses import masked
from schemas.configuration.settings import Settings, setting_named
from schemas.errors import AccessRefused, StoreUnavailable

ANSWER_S = 10.0


def check_servers(settings: Settings) -> None:
    """Check that Redis and the output brokers answer, if they are set; opening the database checks the database.

    Raises:
        AccessRefused: one of them refuses the login; waiting does not help.
        StoreUnavailable: one of them does not answer; the message names its setting and address.
    """
    if settings.redis:
        _check_redis(settings.redis)
    if settings.kafka:
        _check_kafka(output_cluster(settings))


def _check_redis(address: str) -> None:
    import redis

    try:
        with closing(open_redis(address, Limits(ANSWER_S / 2, ANSWER_S / 2, 1))) as client:
            client.ping()
    except (redis.RedisError, OSError, ValueError) as cause:
        refused = isinstance(cause, (redis.AuthenticationError, redis.exceptions.NoPermissionError))
        raise _unreachable("redis", masked(address), str(cause), refused=refused) from cause


def _check_kafka(cluster: Cluster) -> None:
    admin = connection.open_client(AdminClient, cluster, connection.client_config(cluster))
    try:
        admin.list_topics(timeout=ANSWER_S)
    except KafkaException as cause:
        error = connection.unavailable(cluster, "listing its topics", cause, client=admin)
        raise _unreachable("kafka", cluster.bootstrap, str(error), refused=isinstance(error, AccessRefused)) from cause


def _unreachable(name: str, address: str, why: str, *, refused: bool) -> StoreUnavailable:
    kind = AccessRefused if refused else StoreUnavailable
    reason = re.sub(r"\s+", " ", why)
    return kind(f"{setting_named(name).variable}: expected a server at {address}: {reason}")
