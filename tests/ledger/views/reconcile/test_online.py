"""The online store against the ledger: every corruption is named and repaired, and nothing that is right is touched."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from ledger.views.reconcile.differences import Difference, reconciled
from tests.ledger.views.reconcile.corrupted_redis import CELLS, CORRUPTIONS, INSTANCE, KEY, Corruption, FilledRedis

SEEDS = 2


@pytest.fixture
def redis(tmp_path: Path, redis_url: str) -> Iterator[FilledRedis]:
    """A filled Redis."""
    found = FilledRedis(tmp_path / "home", redis_url)
    yield found
    found.close()


def found_in(redis: FilledRedis, *, repair: bool) -> tuple[list[Difference], list[Difference]]:
    """What was found, and what was left."""
    done = reconciled(redis.place, lambda: None, repair=repair)
    return list(done.found), list(done.left)


def test_a_store_that_is_equal_is_compared_by_digests_alone(redis: FilledRedis) -> None:
    """Nothing differs, no range is listed, and nothing is written."""
    before = redis.dump()
    found = redis.place.compare()
    assert ((), CELLS, 0, ()) == (found.differences, found.checked, found.listed, found.notes)
    assert before == redis.dump()


@pytest.mark.parametrize("corrupt", CORRUPTIONS, ids=lambda one: one.__name__)
def test_a_corruption_is_named_and_repaired(redis: FilledRedis, corrupt: Corruption) -> None:
    """Each kind of corruption is one difference with its key and reason; a dry run changes nothing, a repair restores every byte."""
    before = redis.dump()
    for seed in range(SEEDS):
        named = corrupt(redis, Random(seed))
        corrupted = redis.dump()
        found, left = found_in(redis, repair=False)
        assert [named] == [(one.key, one.reason) for one in found] == [(one.key, one.reason) for one in left]
        assert corrupted == redis.dump()
        found, left = found_in(redis, repair=True)
        assert [named] == [(one.key, one.reason) for one in found]
        assert [] == left
        assert before == redis.dump()


def test_keys_of_other_homes_are_left_alone(redis: FilledRedis) -> None:
    """Keys of another instance, and of regions that this ledger does not have, are neither differences nor changed."""
    redis.client.set("ridecast:other:nyc:pickups", b"theirs")
    redis.client.set(f"ridecast:{INSTANCE}:tehran:requests", b"theirs")
    redis.client.set("something else", b"theirs")
    before = redis.dump()
    done = reconciled(redis.place, lambda: None, repair=True)
    assert () == done.found
    assert ("1 keys of regions that this ledger does not have, tehran:requests first: left alone",) == done.compared.notes
    assert before == redis.dump()


def test_what_changes_between_two_looks_is_no_difference(redis: FilledRedis) -> None:
    """A store that lags behind a ledger which grows is not reported, because it holds another issue at the second look."""
    redis.issue()

    def publish() -> None:
        redis.fill()
        redis.issue()

    assert () == reconciled(redis.place, publish, repair=False).found
    assert [KEY] == [one.key for one in reconciled(redis.place, lambda: None, repair=False).found]


def test_a_repair_never_overwrites_what_came_since(redis: FilledRedis) -> None:
    """If a publisher wrote a newer issue after the comparison, the repair of the older one writes nothing."""
    redis.client.hdel(f"ridecast:{INSTANCE}:{KEY}", "3")
    found = redis.place.compare().differences
    redis.issue()
    redis.fill()
    redis.client.hdel(f"ridecast:{INSTANCE}:{KEY}", "3")  # of the newer issue too: the older chunk is not its chunk
    before = redis.dump()
    redis.place.repair(found)
    assert before == redis.dump()
