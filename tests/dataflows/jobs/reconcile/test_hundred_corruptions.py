"""One hundred corruptions, by seed, of the real Redis, topic and MLflow: all named, all repaired, nothing else touched."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from dataflows.jobs.reconcile.registry import RegistryPlace
from ledger.views.reconcile.differences import ComparedPlace, Reason, reconciled
from ledger.views.regions import region_of
from tests.dataflows.jobs.reconcile import corrupted_registry
from tests.dataflows.jobs.reconcile.corrupted_topic import CORRUPTIONS as OF_TOPIC, FilledTopic, corrupted
from tests.ledger.views.reconcile.corrupted_redis import CORRUPTIONS as OF_REDIS, FilledRedis
from tests.simulation.homes import Learned
from tests.simulation.runs import copied

SEED = 53
OF_EACH = {"redis": 40, "topic": 40, "registry": 20}
PER_BATCH = 10  # of the topic, of which each has a cell of its own

Named = list[tuple[str, Reason]]


def repaired(place: ComparedPlace, expected: Named) -> int:
    """Compare, repair, and return how many were named and repaired; all must be, and nothing else."""
    done = reconciled(place, lambda: None, repair=True)
    assert sorted(expected) == sorted((one.key, one.reason) for one in done.found)
    assert () == done.left
    return len(done.found)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_hundred_corruptions_are_named_and_repaired(
    learned: Learned, tmp_path: Path, redis_url: str, kafka: str, kafka_topic: Callable[[int], str]
) -> None:
    """40 of Redis, 40 of the topic and 20 of MLflow, at random: each place holds byte for byte what it held before."""
    random = Random(SEED)
    redis, topic = FilledRedis(tmp_path / "redis", redis_url), FilledTopic(tmp_path / "topic", kafka, kafka_topic(0))
    stores = copied(learned.place, tmp_path / "home").open()
    registry = RegistryPlace(stores, [region_of(stores.ledger, "small")])
    assert () == registry.compare().differences
    before = redis.dump(), topic.newest(), corrupted_registry.state_of(stores.settings.home)
    found = dict.fromkeys(OF_EACH, 0)
    while found["redis"] < OF_EACH["redis"]:
        found["redis"] += repaired(redis.place, [random.choice(OF_REDIS)(redis, random)])
    while found["topic"] < OF_EACH["topic"]:
        kinds = random.sample(OF_TOPIC, PER_BATCH)
        found["topic"] += repaired(topic.place, list(corrupted(topic, random, kinds)))
    while found["registry"] < OF_EACH["registry"]:
        found["registry"] += repaired(registry, [random.choice(corrupted_registry.CORRUPTIONS)(stores, random)])
    after = redis.dump(), topic.newest(), corrupted_registry.state_of(stores.settings.home)
    assert before == after
    print(f"seed {SEED}: named and repaired {found}, {sum(found.values())} in all; everything else as it was")
    assert OF_EACH == found
    stores.close()
    topic.close()
    redis.close()
