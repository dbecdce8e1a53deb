"""How Redis is opened from its address: the login, TLS, and how long a call may wait."""

from typing import Any

from schemas.addresses import parse_address
from schemas.errors import ConfigError


def open_redis(address: str, *, connect_s: float | None = None, answer_s: float | None = None) -> Any:
    """A client of the Redis at an address; it connects with its first command.

    Args:
        address: redis://USER:PASSWORD@HOST:PORT/N, rediss:// for TLS, or unix:// for a socket. With TLS the certificate is
            checked against the system's authorities, or those of the query parameter `ssl_ca_certs`.
        connect_s: Time for a new connection, None for no limit.
        answer_s: Time for the answer to one command, None for no limit.
    Returns:
        `redis.Redis`. Untyped, see `ledger.views.online.redis.RedisStore`.
    Raises:
        ConfigError: the address has a parameter that the client does not know, or an invalid value.
    """
    import redis

    parsed = parse_address(address, where="RIDECAST_REDIS")
    try:
        client = redis.Redis.from_url(parsed.url(), socket_connect_timeout=connect_s, socket_timeout=answer_s)
        client.connection_pool.make_connection()  # does not connect: checks the parameters
    except (TypeError, ValueError, redis.RedisError) as cause:
        raise ConfigError(f"RIDECAST_REDIS: the client refuses {parsed.masked()}: {cause}") from cause
    return client
