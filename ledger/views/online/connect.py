"""How Redis is opened: the one place that makes a client, with limits for every wait and a bounded number of connections."""

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ledger.store.limits import Limits, keepalive_options


def open_redis(address: str, limits: Limits) -> Any:
    """A client for `RedisStore`; each of its calls ends within the limits, and it opens a bounded number of connections.

    Args:
        address: redis://, rediss:// or unix://
        limits: Of its connections.
    """
    keepalive = {} if address.startswith("unix:") else {"socket_keepalive": True, "socket_keepalive_options": keepalive_options()}
    pool = redis.BlockingConnectionPool.from_url(
        address,
        max_connections=limits.connections,
        timeout=limits.answer_s,
        socket_connect_timeout=limits.connect_s,
        socket_timeout=limits.answer_s,
        retry=Retry(NoBackoff(), 0),  # The client's own retries would multiply the limits; who needs an answer tries again.
        **keepalive,
    )
    return redis.Redis(connection_pool=pool)
