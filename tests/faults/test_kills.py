"""Any process of a run killed at any moment: nothing is lost or duplicated, and the ledger is the same."""

import random
import uuid
from pathlib import Path

import psutil
import pytest

from tests.faults.kills import Outcome, run_with_kills
from tests.faults.seen import Seen
from tests.services.fixtures import TopicFactory
from tests.simulation.fixtures import SEED, Settled
from tests.simulation.runs import Place, copied, last_words, run_here, settle, start_run, wait_until
from tests.simulation.world import World, make_world, write_kafka


def on_servers(world: World, folder: Path, kafka: str, topic: str, postgres_url: str) -> Place:
    """The world with its rides, rejects and forecasts on Kafka and its ledger in PostgreSQL."""
    write_kafka(world, kafka, topic)
    instance = f"kills-{uuid.UUID(int=random.Random(topic).getrandbits(128)).hex[:8]}"
    return settle(world, folder, rides=f"kafka://{kafka}/{topic}", kafka=kafka, database=postgres_url, instance=instance)


def report(place: Place, seen: Seen, entries: int) -> None:
    """Say what was compared, and which line told of the kills."""
    seen.checked(entries, "entries of the uninterrupted run, and their forecasts")
    seen.told((place.home / "run.log").read_text("utf-8", "replace"), "was killed by SIGKILL")


@pytest.mark.timeout(900)
def test_kills_of_an_embedded_run_change_nothing(settled: Settled, tmp_path: Path, capsys: pytest.CaptureFixture[str], seen: Seen) -> None:
    """Ten kills of an embedded run, restarted with one to three processes, give the ledger of an uninterrupted run."""
    place = copied(settled.place, tmp_path / "home")
    outcome = run_with_kills(place, 1, 10, settled.expected)
    with capsys.disabled():
        print(f"\nembedded, world {SEED}, seed 1: {outcome}")
    assert outcome == Outcome(10, 0, 0, True)
    report(place, seen, len(settled.expected))


@pytest.mark.timeout(900)
def test_kills_of_a_run_on_servers_change_nothing(
    settled: Settled,
    tmp_path: Path,
    kafka: str,
    kafka_topic: TopicFactory,
    postgres_url: str,
    capsys: pytest.CaptureFixture[str],
    seen: Seen,
) -> None:
    """Ten kills on Kafka and PostgreSQL give the embedded run's ledger, and a consumer that reads committed sees each forecast once."""
    place = on_servers(settled.place.world, tmp_path, kafka, kafka_topic(0), postgres_url)
    outcome = run_with_kills(place, 3, 10, settled.expected)
    with capsys.disabled():
        print(f"\non servers, world {SEED}, seed 3: {outcome}")
    assert outcome == Outcome(10, 0, 0, True)
    report(place, seen, len(settled.expected))


def test_children_end_when_their_supervisor_is_killed(settled: Settled, tmp_path: Path) -> None:
    """When a supervisor dies its forecasters and publisher end too, so that the next one runs alone."""
    place = copied(settled.place, tmp_path / "home")
    run = start_run(place, 2, "--no-api")
    family = psutil.Process(run.pid)
    wait_until(lambda: len(family.children()) == 3, what="two forecasters and a publisher")
    children = family.children()
    run.kill()
    run.wait()
    _, left = psutil.wait_procs(children, timeout=60)
    for child in left:
        child.kill()
    assert left == [], last_words(place)


# Two hundred kills in total: one world per seed, twenty kills each.


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", [SEED, 21, 22, 23, 24])
def test_twenty_kills_on_servers(tmp_path: Path, seed: int, kafka: str, kafka_topic: TopicFactory, postgres_url: str, seen: Seen) -> None:
    """Twenty kills of one run on Kafka and PostgreSQL lose nothing, repeat nothing and leave the same ledger, for each world."""
    world = make_world(seed, hours=12)
    expected = run_here(settle(world, tmp_path / "oracle"))
    place = on_servers(world, tmp_path / "killed", kafka, kafka_topic(0), postgres_url)
    outcome = run_with_kills(place, seed, 20, expected)
    print(f"on servers, seed {seed}: {outcome}")
    assert outcome == Outcome(20, 0, 0, True)
    report(place, seen, len(expected))


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", [11, 12, 13, 14, 15])
def test_twenty_kills_of_an_embedded_run(tmp_path: Path, seed: int, seen: Seen) -> None:
    """Twenty kills of one embedded run lose nothing, repeat nothing and leave the same ledger, for each world."""
    settled_place = settle(make_world(seed, hours=12), tmp_path)
    expected = run_here(copied(settled_place, tmp_path / "oracle"))
    outcome = run_with_kills(settled_place, seed, 20, expected)
    print(f"embedded, seed {seed}: {outcome}")
    assert outcome == Outcome(20, 0, 0, True)
    report(settled_place, seen, len(expected))
