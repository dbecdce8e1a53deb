"""Budgets of a learner that runs: a parameter of the region comes before its rules from the next end of a day on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.jobs.parameters import set_parameter, unset_parameter
from schemas.records.records import CONTROL_LOG, ModelTrained
from state.decide.parameter_table import retraining_rules
from state.decide.retraining import RetrainingRules
from tests.dataflows.jobs.shifting_town import TOWN, Town, quick_training
from tests.dataflows.jobs.test_learner import DAILY, town_with_a_model


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """Few trees."""
    with quick_training(10):
        yield


def put(town: Town, name: str, value: str) -> None:
    """Set a parameter of the town, or take its value back."""
    if value:
        set_parameter(town.stores.ledger, name, value, lambda: 1, region=TOWN.id, author="test", reason="a test")
    else:
        unset_parameter(town.stores.ledger, name, lambda: 1, region=TOWN.id, author="test", reason="a test")


def test_a_budget_of_trainings_takes_effect_at_the_next_end_of_a_day(tmp_path: Path) -> None:
    """With none allowed nothing is trained, also by a schedule; taken back, the next day trains again."""
    town, _ = town_with_a_model(tmp_path / "home")
    learner = town.learner(retraining=DAILY)

    def trained(days: int) -> int:
        before = len(list(town.stores.ledger.records(CONTROL_LOG, ModelTrained)))
        town.close_days(days, shifted=False, after=learner.take_turn)
        return len(list(town.stores.ledger.records(CONTROL_LOG, ModelTrained))) - before

    assert 1 <= trained(2)
    put(town, "trainings_per_week", "0")
    assert 0 == trained(2)
    put(town, "trainings_per_week", "")
    assert 1 == trained(1)
    put(town, "retrain_every_days", "0")
    assert 0 == trained(2)
    town.stores.close()


def test_only_what_is_set_changes_the_rules() -> None:
    """Without parameters the rules are those that were given, to the last of them."""
    rules = RetrainingRules(every_days=3, cooldown_days=5, trainings_per_week=9, promotions_per_week=1)
    assert rules == retraining_rules({}, "nyc", rules)
