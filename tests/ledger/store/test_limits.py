"""A server that is suspended is an error within the limits, never a hang; what was lost is made again."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest

from ledger.store.blobs import Retention
from ledger.store.limits import Limits, reading_limits, writing_limits
from ledger.store.opening import open_ledger
from ledger.store.wakeups import STOP_CHECK_S
from ledger.views.online.connect import open_redis
from ledger.views.online.redis import RedisStore
from schemas.configuration.settings import Settings
from schemas.errors import StoreUnavailable
from tests.faults.seen import Seen
from tests.ledger.exports import SIGNER
from tests.ledger.places import LOG, scored
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

LIMITS = Limits(connect_s=0.4, answer_s=0.6)
SLACK_S = 0.4  # for a busy machine


def seconds(call: Callable[[], object], match: str) -> float:
    """How long a call takes until it raises StoreUnavailable."""
    started_s = time.monotonic()
    with pytest.raises(StoreUnavailable, match=match):
        call()
    return time.monotonic() - started_s


@pytest.mark.alone
def test_a_suspended_postgres_is_an_error_in_time(postgres_server: PostgresServer, tmp_path: Path, seen: Seen) -> None:
    """Reads, appends, blobs and new connections fail within their limit, and work again with the server."""
    url = postgres_server.fresh_database()
    ledger, blobs = open_ledger(tmp_path, url, "", instance="local", clock=monotonic, signer=SIGNER, limits=LIMITS)
    ledger.append(LOG, 0, [scored(0)])
    ledger.flush()
    digest = blobs.put(b"kept", Retention.PERMANENT)
    postgres_server.pause()
    try:
        for call in (lambda: ledger.head(LOG), lambda: blobs.get(digest), lambda: ledger.append(LOG, 1, [scored(1)])):
            assert seconds(call, "the database does not answer in time: check that it is running") < LIMITS.answer_s + SLACK_S
        again = lambda: open_ledger(tmp_path, url, "", instance="local", clock=monotonic, signer=SIGNER, limits=LIMITS)  # noqa: E731
        assert seconds(again, r"database 127\.0\.0\.1:\d+: no answer within 0\.4 s; the database does not") < LIMITS.connect_s + SLACK_S
        with pytest.raises(StoreUnavailable) as caught:
            ledger.head(LOG)
    finally:
        postgres_server.resume()
    seen.told(caught.value, "the database does not answer in time: check that it is running")
    assert (ledger.head(LOG).size, blobs.get(digest)) == (1, b"kept")
    assert ledger.append(LOG, 1, [scored(1)]).size == 2
    seen.same([scored(0), scored(1)], [stored.payload for stored in ledger.read(LOG, 0)], "entries")
    ledger.close()
    blobs.close()
    postgres_server.drop_database(url)


@pytest.mark.alone
def test_many_threads_wait_no_longer_than_one(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """More threads than connections: each ends within a wait for a connection and one for an answer."""
    url = postgres_server.fresh_database()
    limits = Limits(0.4, 0.6, connections=3)
    ledger, _ = open_ledger(tmp_path, url, "", instance="local", clock=monotonic, signer=SIGNER, limits=limits)
    ledger.append(LOG, 0, [scored(0)])
    ledger.close()
    postgres_server.pause()
    took_s: list[float] = []
    threads = [threading.Thread(target=lambda: took_s.append(seconds(lambda: ledger.head(LOG), "region nyc|database"))) for _ in range(12)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    finally:
        postgres_server.resume()
    assert len(took_s) == 12
    assert max(took_s) < limits.answer_s + limits.connect_s + 2 * SLACK_S
    ledger.close()
    postgres_server.drop_database(url)


@pytest.mark.alone
def test_a_statement_that_takes_too_long_is_ended_by_the_server(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """A slow statement is cancelled on the server as well, and the connection stays usable."""
    url = postgres_server.fresh_database()
    ledger, _ = open_ledger(tmp_path, url, "", instance="local", clock=monotonic, signer=SIGNER, limits=LIMITS)
    ledger.append(LOG, 0, [scored(0)])
    engine, _ = ledger.opened(LOG)
    from ledger.store.tables import reading, unhurried

    def slow() -> None:
        with reading(engine, LOG) as connection:
            connection.exec_driver_sql("SELECT pg_sleep(5)")

    assert seconds(slow, "57014.*the database does not answer in time") < LIMITS.answer_s + SLACK_S
    with unhurried(engine, LOG) as connection:
        connection.exec_driver_sql("SELECT pg_sleep(1)")
    assert ledger.head(LOG).size == 1
    ledger.close()
    postgres_server.drop_database(url)


@pytest.mark.alone
def test_a_wakeup_survives_a_suspended_server(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Waits keep their time while the server is suspended, and it is heard again afterwards."""
    url = postgres_server.fresh_database()
    ledger, _ = open_ledger(tmp_path, url, "", instance="local", clock=monotonic, signer=SIGNER, limits=LIMITS)
    ledger.append(LOG, 0, [scored(0)])
    with closing(ledger.wakeup(LOG)) as wakeup:
        postgres_server.pause()
        started_s = time.monotonic()
        try:
            assert not wakeup.wait(threading.Event(), 0.5)
        finally:
            postgres_server.resume()
        assert time.monotonic() - started_s < 0.5 + STOP_CHECK_S + SLACK_S
        ledger.append(LOG, 1, [scored(1)])
        assert wakeup.wait(threading.Event(), 10)
    ledger.close()
    postgres_server.drop_database(url)


@pytest.mark.alone
def test_a_suspended_redis_is_an_error_in_time(redis_server: RedisServer, seen: Seen) -> None:
    """Every request fails within the limit, with a bounded number of connections, and works again with the server."""
    client = open_redis(redis_server.url, LIMITS)
    store = RedisStore(client)
    store.ping()
    redis_server.pause()
    try:
        for _ in range(2):  # on an open connection, then on a new one
            assert seconds(store.ping, r"Redis at 127\.0\.0\.1:\d+: ") < LIMITS.answer_s + SLACK_S
        with pytest.raises(StoreUnavailable) as caught:
            store.ping()
        seen.told(caught.value, "Redis at 127.0.0.1:")
    finally:
        redis_server.resume()
    store.ping()
    redis_server.restart()
    store.ping()
    client.close()


def test_limits_come_from_the_settings() -> None:
    """The API and the online store wait less than two seconds by default; writers wait longer."""
    settings = Settings.from_env({})
    assert reading_limits(settings).connect_s == reading_limits(settings).answer_s == 1.5
    assert (writing_limits(settings).connect_s, writing_limits(settings).answer_s) == (10.0, 30.0)
    short = Settings.from_env({"RIDECAST_READ_TIMEOUT_S": "0.3", "RIDECAST_WRITE_TIMEOUT_S": "4"})
    assert (reading_limits(short).answer_s, writing_limits(short).connect_s, writing_limits(short).answer_s) == (0.3, 4.0, 4.0)
