"""A drift of the served forecasts trains a challenger, once, with the evidence on record."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.jobs.learn import train_region
from schemas.records.records import CONTROL_LOG, ModelTrained
from state.decide.retraining import RetrainingRules
from tests.dataflows.jobs.shifting_town import DAY, START, TOWN, Town, quick_training

ONLY_DRIFT = RetrainingRules(every_days=0, least_rise=1e9)


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Few trees."""
    with quick_training(20):
        yield


def test_a_drift_trains_once(tmp_path: Path) -> None:
    """Eight usual days train nothing; after the town's day shifts one training follows within two days, and no other."""
    town = Town(tmp_path / "home")
    train_region(town.stores, TOWN, promote=True, most_rows=10_000)
    learner = town.learner(retraining=ONLY_DRIFT)
    town.close_days(8, shifted=False, after=learner.take_turn)
    assert 1 == len(list(town.stores.ledger.records(CONTROL_LOG, ModelTrained)))
    town.close_days(4, shifted=True, after=learner.take_turn)
    [_, trained] = town.stores.ledger.records(CONTROL_LOG, ModelTrained)
    assert START + 8 * DAY < trained.until_slot <= START + 10 * DAY + TOWN.horizons[-1]
    assert trained.parameters["trigger"].startswith("drift: pickups: rides against their forecast ")
    assert "the sum of its deviations from the same hours of 7 days before" in trained.parameters["trigger"]
    town.stores.close()
