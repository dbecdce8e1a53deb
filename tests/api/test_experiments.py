"""The API lists experiments, and measures the newest one in short turns until it says what the command says."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.app import application
from api.context import ApiContext
from api.measured import Measured
from dataflows.jobs.experiments import Measuring, Plan, start_experiment, stop_experiment
from dataflows.jobs.promoting import story_of
from ledger.views.regions import bootstrap_of
from tests.api.client import Client
from tests.api.json_schema import problems
from tests.dataflows.jobs.experiment_town import town_with_two_models
from tests.dataflows.jobs.shifting_town import LOG, TOWN, Town, quick_training

PATH = f"/v1/regions/{TOWN.id}/experiments"


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """A town with a champion, and a worse challenger."""
    with quick_training(40):
        made = town_with_two_models(tmp_path / "home")
        yield made
        made.stores.close()


def client_of(town: Town) -> Client:
    """An API over the town."""
    return Client(application(ApiContext(town.stores.ledger, town.stores.blobs, None, (TOWN.id,), town.stores.settings, time.time)))


def test_an_experiment_is_measured_in_turns(town: Town) -> None:
    """Each answer says until when it has measured; the last one says what the command says, and later slots are added."""
    challenger = story_of(town.stores, TOWN.id, "pickups").challenger.hex()
    client = client_of(town)
    assert [] == client.get(PATH).json()["experiments"]
    started, _ = start_experiment(town.stores, challenger, Plan(block_min=120, name="trees"), author="tests", reason="a test")
    [new] = client.get(PATH).json()["experiments"]
    assert ("trees", True, 0, None) == (new["id"], new["running"], new["result"]["blocks"], new["result"]["measured_until"])
    town.close_slots(20, shifted=False)
    kept, turns = Measured(town.stores.ledger, town.stores.blobs, bootstrap_of(town.stores.ledger, TOWN.id), started), []
    for _ in range(3):
        seconds = iter([0.0, *[0.1] * 7, 9.0])  # seven closes in a turn
        turns.append(kept.go_on(lambda seconds=seconds: next(seconds)))  # type: ignore[misc]
    assert [False, False, True] == [turn["complete"] for turn in turns]
    [one] = client.get(PATH).json()["experiments"]
    said = one["result"]
    assert {name: turns[-1][name] for name in said} == said
    found = Measuring(town.stores, started).compared(town.stores.ledger.head(LOG).size)
    assert [found.sentence(), found.at + 1, found.finding] == [said[name] for name in ("sentence", "blocks", "finding")]
    assert float(found.sequence.mean[found.at]) == said["change"]
    assert (started.champion.hex(), started.challenger.hex(), 0.5, 120) == tuple(
        one[name] for name in ("champion", "challenger", "share", "block_min")
    )
    answer = client.get(PATH)
    documented = client.get("/openapi.json").json()["paths"]["/v1/regions/{region}/experiments"]["get"]["responses"]["200"]
    assert [] == problems(documented["content"]["application/json"]["schema"], answer.json())
    town.close_slots(4, shifted=False)
    stop_experiment(town.stores, TOWN.id, "pickups", reason="seen enough")
    start_experiment(town.stores, challenger, Plan(block_min=120, name="again"))
    newer, older = client.get(PATH).json()["experiments"]
    assert (["again", "trees"], None) == ([newer["id"], older["id"]], older["result"])
    assert (False, "ended: seen enough") == (older["running"], older["state"])
