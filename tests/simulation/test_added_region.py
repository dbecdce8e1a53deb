"""`ridecast region add` during a live run: the new region is taken up within seconds, and the others lose nothing."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from dataflows.connectors.rejects_at import open_rejects
from schemas.records.record_codec import decode
from schemas.records.records import RUNS_LOG, RegionBootstrapped, RunStarted, SlotClosed, region_log
from tests.differences import assert_same_payloads
from tests.ridecast.calls import environment, ridecast
from tests.services.process import free_port
from tests.simulation.live import LiveFiles, LiveLog, LiveTopic, Producer
from tests.simulation.moved import assert_audited
from tests.simulation.runs import Place, kill, last_words, run_here, start_run, wait_until
from tests.simulation.two import (
    BUSY_MIN,
    FIRST_MIN,
    PARTITIONS,
    WEST,
    Both,
    end,
    is_bootstrapped,
    last_slot,
    payloads_of,
    settle_both,
    two_worlds,
)
from tests.simulation.world import write_kafka

TAKEN_UP_WITHIN_S = 40.0
ALL = tuple(range(PARTITIONS))


@pytest.fixture(params=["files", "kafka and postgresql"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Both, Producer, int]]:
    """A home of the small region, its log, which has no live rides yet, and the number of forecaster processes."""
    log: LiveLog
    database = ""
    if request.param == "files":
        log = LiveFiles(tmp_path / "rides", PARTITIONS)
    else:
        log = LiveTopic(request.getfixturevalue("kafka"), request.getfixturevalue("kafka_topic")(PARTITIONS), PARTITIONS)
        database = request.getfixturevalue("postgres_url")
    both = settle_both(tmp_path / "place", rides=log.rides, idle_after_s=600.0, database=database)
    both.place.home.chmod(0o700)
    yield both, Producer(both.place.world, log), 2 if database else 1
    log.close()


def started(both: Both, *words: str, processes: int = 1) -> subprocess.Popen[bytes]:
    """A live run that names the small region only."""
    return start_run(both.place, processes, *words)


@contextlib.contextmanager
def live_run(tmp_path: Path) -> Iterator[tuple[Both, Producer, list[subprocess.Popen[bytes]]]]:
    """A live run on files that has closed a slot; another process may take the place of the one in the list."""
    log = LiveFiles(tmp_path / "rides", PARTITIONS)
    both = settle_both(tmp_path / "place", rides=log.rides, idle_after_s=600.0)
    producer = Producer(both.place.world, log)
    producer.feed(FIRST_MIN, ALL)
    running = [started(both, "--no-api")]
    try:
        wait_until(lambda: last_slot(both.place, "small") > 0, what="a slot of small")
        yield both, producer, running
    finally:
        kill(running)
        log.close()


def says(place: Place, text: str) -> Callable[[], bool]:
    """Whether the run has said this."""
    return lambda: text in (place.home / "run.log").read_text("utf-8")


def assert_nothing_lost(both: Both, tmp_path: Path) -> None:
    """The small region has recorded the start of what it records alone; the other one's log can be folded and replayed."""
    stores = both.place.open()
    found = [stored.payload for stored in stores.ledger.scan(region_log("small"))]
    stores.close()
    own = settle_both(tmp_path / "alone", rides=both.place.rides).place
    assert_same_payloads(run_here(own)[: len(found)], found)
    assert_audited(both.place)


@pytest.mark.timeout(300)
def test_a_region_that_is_added_gets_forecasts(live: tuple[Both, Producer, int], tmp_path: Path) -> None:
    """B is bootstrapped, catches up beside A, is served by the API, and is in the run again after a restart that does not name it."""
    both, producer, processes = live
    place, port = both.place, free_port()
    producer.feed(FIRST_MIN, ALL)
    running = started(both, "--port", str(port), processes=processes)
    try:
        wait_until(lambda: last_slot(place, "small") > 0, what="a slot of small")
        done = ridecast("region", "add", *both.add_words(), cwd=tmp_path, env=place.environment)
        assert (0, [], True) == (done.status, done.lines, "has taken it up" in done.out), (done.err, done.out, last_words(place))
        wait_until(lambda: last_slot(place, WEST) > 0, TAKEN_UP_WITHIN_S, what="a slot of west")
        wait_until(lambda: listed(port) == ["small", WEST], what="both regions in the API")
        wait_until(says(place, f"region {WEST}: has caught up"), TAKEN_UP_WITHIN_S, what="west has caught up")
        before = last_slot(place, "small")
        producer.feed(BUSY_MIN, ALL)
        wait_until(lambda: before < last_slot(place, "small") == last_slot(place, WEST), what="slots of both")
        wait_until(lambda: forecasts(port, WEST) > 0, what="forecasts of west")
        again = ridecast("region", "add", *both.add_words(), cwd=tmp_path, env=place.environment)
        assert (0, True, True) == (again.status, f"{WEST} was bootstrapped already" in again.out, f"{WEST} was added already" in again.out)
        assert 0 == end(running), last_words(place)
        running = started(both, "--no-api")
        wait_until(says(place, f"regions: small, {WEST} ({WEST} added with `ridecast region add`)"), what="both regions")
    finally:
        kill([running])
    assert any(cut.counted for record in closed(place, WEST) for cut in record.partitions)
    assert_nothing_lost(both, tmp_path)


def listed(port: int) -> list[str]:
    """The regions of the API; none while it starts."""
    try:
        return [region["region"] for region in httpx.get(f"http://127.0.0.1:{port}/v1/regions").json()["regions"]]
    except (httpx.TransportError, KeyError):
        return []


def forecasts(port: int, region: str) -> int:
    """How many cells of a region the API has forecasts of."""
    try:
        return len(httpx.get(f"http://127.0.0.1:{port}/v1/regions/{region}/forecasts?horizon_min=15").json().get("forecasts", []))
    except httpx.TransportError:
        return 0


def closed(place: Place, region: str) -> list[SlotClosed]:
    """The closed slots of a region."""
    stores = place.open()
    try:
        return list(stores.ledger.records(region_log(region), SlotClosed))
    finally:
        stores.close()


@pytest.mark.timeout(300)
def test_a_run_that_is_killed_while_a_region_catches_up_goes_on_with_both(tmp_path: Path) -> None:
    """Killed right after the addition and started again without naming the new region, the run forecasts both; nothing is lost."""
    with live_run(tmp_path) as (both, producer, running):
        place = both.place
        assert 0 == ridecast("region", "add", *both.add_words(), cwd=tmp_path, env=place.environment).status
        kill(running)
        running[0] = started(both, "--no-api")
        before = last_slot(place, "small")
        producer.feed(BUSY_MIN, ALL)
        wait_until(lambda: before < last_slot(place, "small") == last_slot(place, WEST), what="slots of both")
        assert 0 == end(running[0]), last_words(place)
    assert_nothing_lost(both, tmp_path)


@pytest.mark.timeout(200)
def test_what_cannot_run_disturbs_nothing(tmp_path: Path) -> None:
    """A definition that cannot work is refused by the command, an addition without a bootstrap by the run; its forecaster goes on."""
    with live_run(tmp_path) as (both, producer, running):
        place = both.place
        bad = tmp_path / "bad.json"
        bad.write_text(both.west.read_text("utf-8").replace("13.3", "-179.9", 1).replace("13.5", "179.9", 1), "utf-8")
        refused = ridecast("region", "add", bad, "--history", both.history, "--until", "2024-03-31", cwd=tmp_path, env=place.environment)
        assert (2, True, False) == (refused.status, "polygon" in refused.lines[0], (place.home / "regions").exists()), refused.err
        none = ridecast("region", "add", both.west, "--history", both.history, "--until", "2023-01-01", cwd=tmp_path, env=place.environment)
        assert (2, True, False) == (none.status, "expected rides before 2023-01-01" in none.lines[0], is_bootstrapped(place, WEST))
        (place.home / "regions").mkdir()
        (place.home / "regions" / "ghost.json").write_text("{}", "utf-8")
        told = "WARNING run: region ghost was added but cannot be taken up: region ghost: not bootstrapped in this home"
        wait_until(says(place, told), what="the ghost is refused")
        before = last_slot(place, "small")
        producer.feed(BUSY_MIN, ALL)
        wait_until(lambda: last_slot(place, "small") > before, what="more slots of small")
        assert 0 == end(running[0]), last_words(place)
    assert 1 == starts(place, "small")
    assert (place.home / "run.log").read_text("utf-8").count("ghost was added") == 1


def starts(place: Place, region: str) -> int:
    """How often forecasters of a region have started."""
    stores = place.open()
    try:
        return sum(started.command == f"run {region}" for started in stores.ledger.records(RUNS_LOG, RunStarted))
    finally:
        stores.close()


@pytest.mark.timeout(200)
def test_an_addition_that_is_killed_is_repeated(tmp_path: Path) -> None:
    """Killed at any moment, the home has the region or has it not, and never half of it; the same command completes it."""
    both = settle_both(tmp_path / "place")
    place = both.place
    words = ["region", "add", *map(str, both.add_words())]
    for after_s in (0.6, 1.2, 1.8, 2.4):
        process = subprocess.Popen([sys.executable, "-m", "ridecast", *words], cwd=tmp_path, env=environment(**place.environment))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        kill([process])
        assert is_bootstrapped(place, WEST) or not (place.home / "regions" / f"{WEST}.json").exists()
    done = ridecast(*words, cwd=tmp_path, env=place.environment)
    assert (0, True) == (done.status, "no run of this home is live here; the next `ridecast run` includes it" in done.out), done.err
    again = ridecast(*words, cwd=tmp_path, env=place.environment)
    assert (0, True) == (again.status, f"{WEST} was added already" in again.out)
    assert 1 == sum(isinstance(decode(payload), RegionBootstrapped) for payload in payloads_of(place, WEST))
    listing = ridecast("region", "list", cwd=tmp_path, env=place.environment).out
    assert [("small", ""), (WEST, "yes")] == [(row[0], row[-1]) for row in rows(listing)]


def rows(table: str) -> list[list[str]]:
    """The cells of a printed table's rows."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in table.splitlines() if line.startswith("│")]


@pytest.mark.timeout(200)
def test_two_homes_on_one_topic_reject_nothing_of_each_other(tmp_path: Path, kafka: str, kafka_topic: Callable[..., str]) -> None:
    """Each home counts its own region; what the other one counts is neither rejected nor lost."""
    topic = kafka_topic(PARTITIONS)
    write_kafka(two_worlds(), kafka, topic)
    both = settle_both(tmp_path / "place", rides=f"kafka://{kafka}/{topic}")
    other = tmp_path / "other"
    env = dict(both.place.environment) | {"RIDECAST_HOME": str(other)}
    done = ridecast(
        "bootstrap", "--region", both.west, "--rides", both.history, "--until", "2024-03-31", "--home", other, cwd=tmp_path, env=env
    )
    assert 0 == done.status, done.err
    west = replace(both.place, home=other, environment=env)
    for place, region in ((both.place, both.place.region), (west, both.west)):
        done = ridecast("run", "--region", region, "--until-end", cwd=tmp_path, env=place.environment)
        assert (0, True) == (done.status, ", 0 rejected) in " in done.err), done.err
        rejects = open_rejects(place.settings())
        assert {} == rejects.counts()
        rejects.close()
    assert min(last_slot(both.place, "small"), last_slot(west, WEST)) > 0
