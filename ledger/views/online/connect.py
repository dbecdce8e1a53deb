"""How Redis is opened: the one place that makes a client, with its login and TLS, limits for every wait and bounded connections."""

from typing import Any

from ledger.store.limits import Limits, keepalive_options
from schemas.configuration.addresses import parse_address
from schemas.errors import ConfigError


def open_redis(address: str, limits: Limits) -> Any:
    """A client of the Redis at an address; it connects with its first command, and each call ends within the limits.

    Args:
        address: redis://USER:PASSWORD@HOST:PORT/N, rediss:// for TLS, or unix:// for a socket. With TLS the certificate is
            checked against the system's authorities, or those of the query parameter `ssl_ca_certs`.
        limits: Of its connections.
    Returns:
        `redis.Redis`. Untyped, see `ledger.views.online.redis.RedisStore`.
    Raises:
        ConfigError: the address has a parameter that the client does not know, or an invalid value.
    """
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    parsed = parse_address(address, where="RIDECAST_REDIS")
    keepalive = {} if address.startswith("unix:") else {"socket_keepalive": True, "socket_keepalive_options": keepalive_options()}
    try:
        pool = redis.BlockingConnectionPool.from_url(
            parsed.url(),
            max_connections=limits.connections,
            timeout=limits.answer_s,
            socket_connect_timeout=limits.connect_s,
            socket_timeout=limits.answer_s,
            retry=Retry(NoBackoff(), 0),  # The client's own retries would multiply the limits; who needs an answer tries again.
            **keepalive,
        )
        pool.make_connection()  # type: ignore[no-untyped-call]  # does not connect: checks the parameters
    except (TypeError, ValueError, redis.RedisError) as cause:
        raise ConfigError(f"RIDECAST_REDIS: the client refuses {parsed.masked()}: {cause}") from cause
    return redis.Redis(connection_pool=pool)
