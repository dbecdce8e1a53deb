"""The publisher process with real servers: the online store may be away at any time, and publishing goes on."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from dataflows.stream.publish_process import open_online_store, run_publisher
from ledger.store.waiting import Patience
from ledger.views.online import follow_store
from schemas.configuration.settings import Settings
from schemas.forecasts.messages import decode_demand_forecast
from tests.dataflows.stream.test_publish import LOG, City
from tests.faults.seen import Seen
from tests.services.committed import committed
from tests.services.redis import RedisServer

LIMIT_S = 30.0


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    """A home that grows slot by slot, with a bootstrapped region."""
    made = City(tmp_path / "home")
    made.bootstrap()
    yield made
    made.ledger.close()
    made.blobs.close()


def eventually(true: Callable[[], bool]) -> bool:
    """Whether something becomes true in time."""
    give_up_at = time.monotonic() + LIMIT_S
    while not true():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.05)
    return True


def test_publishing_does_not_wait_for_the_online_store(
    city: City,
    tmp_path: Path,
    kafka: str,
    kafka_topic: Callable[[int], str],
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seen: Seen,
) -> None:
    """While Redis is killed or suspended every issue reaches Kafka; it is said once, and Redis catches up when it is back."""
    redis_server.flush()
    instance = kafka_topic(0)
    given = {"home": tmp_path / "home", "instance": instance, "kafka": kafka, "redis": redis_server.url, "publish_backlog": "all"}
    settings = Settings.from_env({"RIDECAST_READ_TIMEOUT_S": "0.5"}, given)
    monkeypatch.setattr(follow_store, "PATIENCE", Patience(first_s=0.5, longest_s=0.5, spread=0.5))

    def published() -> set[object]:
        return {decode_demand_forecast(value or b"")["log_index"] for _, value in committed(kafka, f"{instance}.demand.forecasts")}

    store = open_online_store(settings)
    assert store is not None
    newest = partial(store.newest, "nyc", "pickups")
    stop = threading.Event()
    thread = threading.Thread(target=run_publisher, args=(settings, ["nyc"], stop), kwargs={"drain": False})
    indexes = [city.close_slot()]
    with caplog.at_level(logging.INFO, logger="ledger.views.online"):
        thread.start()
        try:
            assert eventually(lambda: newest() == (1, indexes[-1]))
            for away, back in ((redis_server.kill, redis_server.start), (redis_server.pause, redis_server.resume)):
                caplog.clear()
                away()
                for _ in range(3):
                    indexes.append(city.close_slot())
                    assert eventually(lambda: indexes[-1] in published())
                assert eventually(lambda: len(caplog.records) == 1)
                back()
                assert eventually(lambda: newest() == (1, indexes[-1]))
                assert eventually(lambda: len(caplog.records) == 2)
                first, last = (record.getMessage() for record in caplog.records)
                seen.told(first, "; tried again until it answers, nothing else waits for it")
                assert first.startswith(f"online store: Redis at {redis_server.address}: ")
                assert first.endswith("; tried again until it answers, nothing else waits for it")
                assert last.startswith("online store: up to date again after ")
        finally:
            stop.set()
            thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert published() == set(indexes)
    messages = [(key, decode_demand_forecast(value or b"")["log_index"]) for key, value in committed(kafka, f"{instance}.demand.forecasts")]
    cells = {key for key, _ in messages}
    seen.same({(key, index): 1 for index in indexes for key in cells}, messages, "messages")


def test_a_bounded_run_ends_without_the_online_store(city: City, tmp_path: Path, redis_server: RedisServer) -> None:
    """With `drain` everything is published and the process ends although Redis is down; when it is there it is filled."""
    settings = Settings.from_env({}, {"home": tmp_path / "home", "instance": "test", "redis": redis_server.url})
    index = city.close_slot()
    redis_server.kill()
    run_publisher(settings, ["nyc"], threading.Event(), drain=True)
    assert [f"{index:020d}.avro"] == [path.name for path in (tmp_path / "home" / "forecasts" / LOG.replace("/", "__")).iterdir()]
    redis_server.start()
    run_publisher(settings, ["nyc"], threading.Event(), drain=True)
    store = open_online_store(settings)
    assert store is not None
    assert store.newest("nyc", "pickups") == (1, index)
