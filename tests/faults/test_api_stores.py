"""Stores that freeze or go away under a running API: what memory has is served, the rest is 503 in time, and all heals."""

import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import redis

from ledger.views.online.redis import RedisStore
from schemas.events.cells import cell_texts
from tests.api.town import Town
from tests.faults.api_process import FORECASTS, HISTORY, Answer, Served, copy_town, fill, served
from tests.faults.seen import Seen
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

ENTRY = "/v1/ledger/region/nyc/entries/3"  # read from the ledger at each request
HANGING = 60  # requests; more than the API has threads
AT_ONCE_S = 1.0  # from memory, on a loaded machine; who waits for the store gets 503 after 1.5 s


def texts(body: dict[str, object]) -> list[str]:
    """The forecasts of an answer, one text each."""
    found = body["forecasts"]
    assert isinstance(found, list)
    return [str(forecast) for forecast in found]


def ask_many(api: Served, path: str, count: int) -> tuple[list[threading.Thread], list[tuple[Answer, float]]]:
    """Threads that ask the same at once, and where they put answers and times."""
    found: list[tuple[Answer, float]] = []

    def ask() -> None:
        started_s = time.monotonic()
        answer = api.get(path)
        found.append((answer, time.monotonic() - started_s))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, found


@pytest.mark.alone
def test_postgres_that_is_suspended(town: Town, tmp_path: Path, postgres_url: str, postgres_server: PostgresServer, seen: Seen) -> None:
    """Sixty requests to a frozen database are 503 with Retry-After within 2 s; live, health and newest forecasts answer meanwhile."""
    copy_town(town, tmp_path, postgres_url)
    with served(tmp_path, database=postgres_url) as api:
        assert 200 == api.get(ENTRY).status_code
        before = api.get(FORECASTS).json()
        postgres_server.pause()
        threads, found = ask_many(api, ENTRY, HANGING)
        time.sleep(0.6)
        for path, status in (("/v1/live", 200), (FORECASTS, 200), (f"{FORECASTS}?top=3", 200), ("/v1/regions", 200), ("/metrics", 200)):
            started_s = time.monotonic()
            answer = api.get(path)
            assert (status, True) == (answer.status_code, time.monotonic() - started_s < AT_ONCE_S), (path, answer.text[:300])
        for thread in threads:
            thread.join()
        assert {503: HANGING} == Counter(answer.status_code for answer, _ in found)
        assert max(spent_s for _, spent_s in found) < 2.5  # 2 s, and the start of sixty clients
        assert all(answer.headers["retry-after"].isdigit() for answer, _ in found)
        time.sleep(1.0)
        health = api.get("/v1/health")
        assert (503, "no answer from: ledger, blobs") == (health.status_code, health.json()["detail"])
        assert before["index"] == api.get(FORECASTS).json()["index"]
        started_s = time.monotonic()
        assert 503 == api.get(ENTRY).status_code  # also with all threads taken
        assert time.monotonic() - started_s < 2.0
        threads, found = ask_many(api, ENTRY, HANGING)
        for thread in threads:
            thread.join()
        assert {503: HANGING} == Counter(answer.status_code for answer, _ in found)
        quick = [answer for answer, spent_s in found if spent_s < AT_ONCE_S]
        assert len(quick) >= HANGING - 1, "one tries the database, the others do not wait for it"
        assert all(1 <= int(answer.headers["retry-after"]) <= 5 for answer in quick)
        postgres_server.resume()
        api.wait_for("/v1/health", "status", "ok")
        assert 200 == api.get(ENTRY).status_code
        time.sleep(1.0)  # changes are logged twice a second
        lines = api.log.read_text().splitlines()
        assert len(lines) < 120, lines[-20:]
        seen.told(api.log.read_text(), "ledger answers again")
        seen.same(texts(before), texts(api.get(FORECASTS).json()), "forecasts")


def test_postgres_that_is_suspended_while_the_api_ends(
    town: Town, tmp_path: Path, postgres_url: str, postgres_server: PostgresServer
) -> None:
    """SIGTERM ends the API in time although its threads hang in the database; `served` demands status 0 within 8 s."""
    copy_town(town, tmp_path, postgres_url)
    with served(tmp_path, database=postgres_url) as api:
        postgres_server.pause()
        threads, found = ask_many(api, ENTRY, 5)
        for thread in threads:
            thread.join()
        assert {503: 5} == Counter(answer.status_code for answer, _ in found)


def test_redis_that_is_away(growing_town: Town, tmp_path: Path, redis_url: str, redis_server: RedisServer, seen: Seen) -> None:
    """Without Redis forecasts come from the ledger and say so; when it is back and filled again they come from it."""
    town = growing_town
    with redis.Redis.from_url(redis_url) as connection:
        fill(RedisStore(connection, "local"), town)
        with served(tmp_path, redis=redis_url) as api:  # the town's home
            before = api.wait_for(FORECASTS, "source", "online_store")
            for away, back in ((redis_server.kill, redis_server.start), (redis_server.pause, redis_server.resume)):
                away()
                during = api.wait_for(FORECASTS, "source", "ledger")
                assert "ledger" == api.get(FORECASTS).headers["ridecast-source"]
                assert before["index"] == during["index"]
                seen.same(texts(before), texts(during), "forecasts")
                api.wait_for("/v1/health", "status", "degraded")
                assert 200 == api.get(HISTORY.format(cell_texts(town.cells, 6)[1])).status_code
                back()
                fill(RedisStore(connection, "local"), town)
                api.wait_for(FORECASTS, "source", "online_store")
                api.wait_for("/v1/health", "status", "ok")
            seen.told(api.log.read_text(), "does not answer; forecasts come from the ledger")


def test_redis_that_another_home_filled(town: Town, growing_town: Town, tmp_path: Path, redis_url: str, seen: Seen) -> None:
    """A new home on a Redis with the older home's 40 slots serves its own 3, never an index that its log does not have."""
    with redis.Redis.from_url(redis_url) as connection:
        store = RedisStore(connection, "local")
        fill(store, town)
        size = growing_town.ledger.head("region/nyc").size
        assert store.newest("nyc", "pickups")[1] >= size
        with served(tmp_path, redis=redis_url) as api:  # the growing town's home
            for _ in range(5):
                body = api.get(FORECASTS).json()
                assert ("ledger", True) == (body["source"], body["index"] < size)
                time.sleep(0.3)
            assert 1 == api.log.read_text().count("filled from another ledger")
            seen.told(api.log.read_text(), "filled from another ledger")
            seen.same(texts(growing_town.client().get(FORECASTS).json()), texts(body), "forecasts")
