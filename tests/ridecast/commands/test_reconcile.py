"""`ridecast reconcile`: what it prints, its exit codes, and what goes on record."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from dataflows.watch.hub import HubLog
from ledger.views.online.follow_store import StoreFollower
from ledger.views.online.redis import RedisStore
from ridecast.main import cli
from schemas.errors import RidecastError
from tests.services.redis import RedisServer
from tests.simulation.homes import Learned
from tests.simulation.runs import Place, copied


@dataclass
class Home:
    """A home whose newest issue is in Redis."""

    place: Place
    client: "Redis"

    def call(self, *words: str) -> Result:
        """Run the command with the home's settings."""
        return CliRunner().invoke(cli, ["reconcile", *words], env=dict(self.place.environment))


@pytest.fixture
def home(learned: Learned, tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A copy of a home with two trainings, and a filled Redis."""
    monkeypatch.setattr("dataflows.jobs.reconcile.reconciling.SETTLE_S", 0.0)
    redis_server.flush()
    place = copied(learned.place, tmp_path / "home", redis=redis_server.url, write_timeout_s=1)
    client = Redis.from_url(redis_server.url)
    stores = place.open()
    StoreFollower(stores.ledger, stores.blobs, RedisStore(client), ["small"]).step()
    stores.close()
    yield Home(place, client)
    client.close()


def test_a_contradiction_is_found_repaired_and_on_record(home: Home) -> None:
    """A dry run exits with 1 and writes nothing; --alert opens an alert, a repair restores the value and ends the signal."""
    key = "ridecast:local:small:requests"
    done = home.call("--place", "online")
    assert (0, "online: equal; ") == (done.exit_code, done.output[:15])
    right = home.client.hgetall(key)
    home.client.hset(key, "index", 7)
    wrong = home.client.hgetall(key)
    dry = home.call("--place", "online")
    assert 1 == dry.exit_code
    expected = int(right[b"index"])
    assert f"online: small:requests index: changed: expected {expected}, got 7" in dry.output
    assert "nothing was written; `ridecast reconcile --repair` writes what differs" in dry.output
    assert wrong == home.client.hgetall(key)
    assert 1 == home.call("--place", "online", "--alert").exit_code
    stores = home.place.open()
    [alert] = HubLog(stores.ledger).read().open
    assert ("contradiction", "online", "critical") == (alert.shown.kind, alert.shown.subject, str(alert.shown.severity))
    assert [True] == [one.firing for one in HubLog(stores.ledger).read().signals.values()]
    stores.close()
    repaired = home.call("--place", "online", "--repair", "--json")
    assert 0 == repaired.exit_code
    [document] = json.loads(repaired.output)
    assert [("small:requests index", True)] == [(one["key"], one["contradicts"]) for one in document["found"]]
    assert [] == document["left"]
    assert right == home.client.hgetall(key)
    stores = home.place.open()
    assert [False] == [one.firing for one in HubLog(stores.ledger).read().signals.values()]
    stores.close()


def test_a_place_that_is_away_does_not_keep_the_others_from_it(home: Home, redis_server: RedisServer) -> None:
    """While Redis hangs or is down the exit code is 3, one line names it, and MLflow and snapshots are compared."""
    for away, back in ((redis_server.pause, redis_server.resume), (redis_server.kill, redis_server.start)):
        away()
        done = home.call()
        back()
        assert 3 == done.exit_code
        lines = done.output.splitlines()
        assert lines[0].startswith("online: could not be compared: Redis at 127.0.0.1:")
        assert [
            "topic: no Kafka is configured: forecasts are published as files",
            "registry: equal; 2 compared, 0 of 1 ranges listed",
        ] == lines[1:3]
        assert lines[3].startswith("snapshots: equal; ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--place", "cellar"), "--place: expected one of online, topic, registry, snapshots, got 'cellar'"),
        (("--region", "atlantis"), "region atlantis: not bootstrapped in this home"),
        (("--home", "nowhere"), "--home: expected a directory that `ridecast bootstrap` has filled"),
    ],
)
def test_what_is_unknown_is_one_line(home: Home, words: tuple[str, ...], said: str) -> None:
    """An unknown place, region or home is refused with what is known."""
    done = home.call(*words)
    assert isinstance(done.exception, RidecastError)
    assert str(done.exception).startswith(said)
