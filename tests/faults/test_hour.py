"""An hour of demand at speed in which a partition is added and every server restarts, against the same hour without that."""

import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from dataflows.stream.stores import Stores
from schemas.records.record_codec import decode
from schemas.records.records import ForecastIssued
from tests.faults.hour import END_MIN, RIDES_PER_MIN, Asker, LiveHour, away, fed_on, make_hour, shuffled_faults
from tests.faults.kills import due, published
from tests.faults.seen import Seen
from tests.services.kafka import KafkaServer
from tests.services.postgres import PostgresServer
from tests.services.process import free_port
from tests.services.redis import RedisServer
from tests.simulation.live import PIECE_EVENTS
from tests.simulation.moved import assert_audited, rides_of, rides_recorded
from tests.simulation.runs import Place, run_here, settle
from tests.simulation.world import World

SEED = 41
BETWEEN_S = 8.0  # that the demand between two faults takes at least, so that it goes on while a server is away
FIRST_MIN = 12.5  # the first fault, half a slot after the end of one
FAULTS = ("partition", "broker", "database", "store")
TOLD = {
    "partition": "has new partitions [2]; starting again to go on with it",
    "broker": "brokers are down",
    "database": "ledger does not answer",
    "store": "tried again until it answers, nothing else waits for it",
    "forecast": "forecaster was killed by SIGKILL; restarting in ",
    "publish": "publisher was killed by SIGKILL; restarting in ",
}
MORE_FAULTS = (*FAULTS, "forecast", "publish")  # the last two: a child of that role is killed
SEEDS = (1, 2, 3)


class Servers:
    """The real servers of a run, each to be restarted."""

    def __init__(self, kafka: KafkaServer, postgres: PostgresServer, redis: RedisServer) -> None:
        self.kafka, self.postgres, self.redis = kafka, postgres, redis

    def disturb(self, fault: str, run: psutil.Process) -> None:
        """Make one of them go away for some seconds, or kill a process of the run."""
        match fault:
            case "broker":
                away(self.kafka, killed=True)
            case "database":
                away(self.postgres, killed=False)
            case "store":
                away(self.redis, killed=True)
            case role:
                time.sleep(1.0)
                victims = [child for child in run.children() if role in child.cmdline()]
                assert victims, f"no {role} runs"
                victims[0].kill()


@pytest.fixture
def servers(kafka_server: KafkaServer, postgres_server: PostgresServer, redis_server: RedisServer) -> Servers:
    """All three, running."""
    redis_server.flush()
    return Servers(kafka_server, postgres_server, redis_server)


def step_of(order: Sequence[str]) -> float:
    """Minutes of demand between two faults, so that all of them fall into the hour."""
    return 10.0 if len(order) <= len(FAULTS) else 5.0


def interrupted(world: World, order: list[str], servers: Servers, database: str, folder: Path, seen: Seen) -> Place:
    """The hour under faults, with two forecasters, publisher and API; checks what clients and readers of the topic saw."""
    step_min = step_of(order)
    pause_s = BETWEEN_S * 3 * PIECE_EVENTS / (step_min * RIDES_PER_MIN)  # all partitions get a piece in each turn
    moments = [FIRST_MIN + step_min * number for number in range(len(order))]
    bootstrap, port = servers.kafka.address, free_port()
    topic = servers.kafka.fresh_topic(2)
    settings = {"kafka": bootstrap, "instance": f"hour-{topic}", "database": database, "redis": servers.redis.url, "api_port": port}
    grown_min = moments[order.index("partition")]
    hour = LiveHour(world, bootstrap, topic, grown_min, folder, 2, publish_backlog="all", **settings)
    try:
        with Asker(port) as asker:
            hour.feed(FIRST_MIN)
            hour.wait(lambda: asker.served, "forecasts from the API")
            for fault, at_min in zip(order, moments, strict=True):
                before = dict(asker.answers)
                if fault == "partition":
                    hour.grow(pause_s)
                    hour.feed(at_min + step_min)
                else:
                    with fed_on(hour, at_min + step_min, pause_s):
                        servers.disturb(fault, psutil.Process(hour.process.pid))
                path = "/v1/regions/small/forecasts", 200
                assert asker.answers[path] > before.get(path, 0) + 10, f"{fault}: no forecasts were answered"
            hour.feed(END_MIN)
            stores = hour.place.open()
            hour.wait(lambda: all_published(stores), "publication of every forecast")
            stores.close()
        assert [] == asker.bad
        assert {"ok", "degraded"} <= set(asker.states), asker.states
        unavailable = sum(number for (_, status), number in asker.answers.items() if status == 503)
        seen.noted(
            f"{asker.answers.total():,} answers of the API, {unavailable} of them 503 with Retry-After, all of forecasts 200 with age"
        )
        hour.stop()
    finally:
        hour.kill()
    for fault in order:
        seen.told(hour.said, TOLD[fault])
    assert "Exception terminating connection" not in hour.said
    return hour.place


def all_published(stores: Stores) -> bool:
    """Whether a consumer that reads committed sees every forecast, and none twice."""
    time.sleep(0.5)
    return published(stores) == due(stores)


def uninterrupted(world: World, grown_min: float, kafka: KafkaServer, folder: Path) -> list[bytes]:
    """The same hour with one forecaster on files of its own, whose topic gets its partition at the same event; its entries."""
    hour = LiveHour(world, kafka.address, kafka.fresh_topic(2), grown_min, folder, 1, "--no-api")
    try:
        hour.feed(FIRST_MIN)
        hour.grow()
        hour.feed(END_MIN)
        hour.stop()
    finally:
        hour.kill()
    assert "restarting in" not in hour.said
    return run_here(hour.place)


def assert_same_hour(world: World, order: list[str], servers: Servers, database: str, folder: Path, seen: Seen) -> None:
    """The hour under faults records what the hour without records, and counts each ride once.

    No partition is excused, so a slot closes by what the partitions hold, and the partition is recorded at the same slot in
    both. So nothing may differ: neither counts and corrections, nor the forecasts before, between and after the changes.
    """
    grown_min = FIRST_MIN + step_of(order) * order.index("partition")
    place = interrupted(world, order, servers, database, folder / "under faults", seen)
    found = run_here(place)
    expected = uninterrupted(world, grown_min, servers.kafka, folder / "undisturbed")
    served = [bool(record.models) for record in map(decode, found) if isinstance(record, ForecastIssued)]
    assert served
    assert all(served), "a forecast was made without the model"
    seen.same(expected, found, "entries of the uninterrupted run, forecasts included")
    truth = rides_of(event for log in world.truth.values() for event in log)
    seen.same(truth, rides_recorded(place), "rides in their slots and cells")
    # A run that finds all three partitions from the start, in the topic as the faults have left it, counts the same rides.
    whole = settle(world, folder / "whole", rides=place.rides)
    run_here(whole)
    assert rides_recorded(whole) == rides_recorded(place)
    assert_audited(place)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_an_hour_with_a_new_partition_and_every_server_restarted(servers: Servers, postgres_url: str, tmp_path: Path, seen: Seen) -> None:
    """A partition is added, then broker, database and store restart in one live hour: same counts, same forecasts to the last bit."""
    assert_same_hour(make_hour(SEED, FIRST_MIN), list(FAULTS), servers, postgres_url, tmp_path, seen)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The seeds of `--seed`, which `make faults` takes, or three."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", metafunc.config.getoption("seeds", None) or SEEDS)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_faults_in_random_order(servers: Servers, postgres_url: str, tmp_path: Path, seed: int, seen: Seen) -> None:
    """The same with kills of a forecaster and the publisher too, in an order that a seed decides: nothing differs."""
    order = shuffled_faults(seed, MORE_FAULTS)
    print(f"seed {seed}: {', '.join(order)}")
    world = make_hour(seed, FIRST_MIN + step_of(order) * order.index("partition"))
    assert_same_hour(world, order, servers, postgres_url, tmp_path, seen)
