"""Refused access: PostgreSQL and Redis say it, and it is told apart from a server that is away."""

import pytest
import redis

from ledger.store.tables import database_engine
from ledger.views.online.redis import RedisStore
from schemas.errors import AccessRefused, StoreUnavailable
from tests.services.postgres import PostgresServer
from tests.services.process import free_port
from tests.services.redis import RedisServer


def test_a_user_that_postgresql_does_not_know_is_refused(postgres_url: str) -> None:
    """A login that PostgreSQL does not accept is permanent, unlike a server that does not answer."""
    with pytest.raises(AccessRefused, match="stranger"):
        database_engine(postgres_url.replace("ridecast@", "stranger@"))
    with pytest.raises(StoreUnavailable) as away:
        database_engine(f"postgresql://ridecast@127.0.0.1:{free_port()}/none")
    assert not isinstance(away.value, AccessRefused)


def test_a_right_that_postgresql_does_not_grant_is_named(postgres_server: PostgresServer, postgres_url: str) -> None:
    """A user who may log in and not create tables is refused with the server's own words."""
    postgres_server.execute("DROP ROLE IF EXISTS reader")
    postgres_server.execute("CREATE ROLE reader LOGIN")
    with pytest.raises(AccessRefused, match="permission denied"):
        database_engine(postgres_url.replace("ridecast@", "reader@"))


def test_a_redis_that_wants_a_password_refuses(redis_server: RedisServer, redis_url: str) -> None:
    """Without the password every command is refused; a server that is away is not a refusal."""
    client = redis.Redis.from_url(redis_url)
    client.acl_setuser("limited", enabled=True, nopass=True, commands=["+ping"])
    limited = redis.Redis.from_url(redis_url, username="limited", password="x")
    with pytest.raises(AccessRefused, match="permissions"):
        RedisStore(limited).newest("nyc", "requests")
    wrong = redis.Redis.from_url(redis_url, username="nobody", password="x")
    with pytest.raises(AccessRefused):
        RedisStore(wrong).ping()
    client.acl_deluser("limited")
    with pytest.raises(StoreUnavailable) as away:
        RedisStore(redis.Redis(port=free_port())).ping()
    assert not isinstance(away.value, AccessRefused)
    for opened in (client, limited, wrong):
        opened.close()
