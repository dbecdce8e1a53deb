"""Learning without a person: from a rise of the loss to a promotion, from a bad promotion to a rollback, and over restarts."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dataflows.jobs.learn import train_region
from ledger.store.blobs import Retention
from ledger.views.append import append_shared
from ledger.views.model_story import MeasureStory, stories_of
from schemas.records.records import CONTROL_LOG, Cause, ForecastIssued, ModelPromoted, ModelTrained
from state.decide.retraining import RetrainingRules
from state.models import boosted
from tests.dataflows.jobs.shifting_town import DAY, LOG, START, TOWN, Town

RULES = RetrainingRules(every_days=0, reference_days=4)
NEVER = RetrainingRules(every_days=0, trainings_per_week=0)


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """Few trees on one thread, and no MLflow, which has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataflows.jobs.learn.track_training", lambda *_, **__: "")
        patch.setattr("dataflows.jobs.promoting.track_aliases", lambda *_, **__: None)
        patch.setattr("dataflows.jobs.learn.os.cpu_count", lambda: 1)
        patch.setattr("state.models.boosted.fit", partial(boosted.fit, rounds=40))
        yield


def town_with_a_model(home: Path) -> tuple[Town, bytes]:
    """A town whose champion was trained on its history, and the champion."""
    town = Town(home)
    [trained] = train_region(town.stores, TOWN, promote=True, most_rows=10_000)
    return town, trained.record.model


def story(town: Town) -> MeasureStory:
    """What the control log says of the town's models."""
    return stories_of(town.stores.ledger)[TOWN.id, "pickups"]


def test_a_rise_of_the_loss_ends_in_a_promotion_without_a_person(tmp_path: Path) -> None:
    """After the town's day shifts, two bad days train a challenger; it is shadowed for four days, promoted, and serves."""
    town, first = town_with_a_model(tmp_path / "home")
    why: list[str] = []
    learner = town.learner(retraining=RULES, on_training=why.append)
    town.close_days(5, shifted=False, after=learner.take_turn)
    assert [] == why
    town.close_days(2, shifted=True, after=learner.take_turn)
    town.close_days(6, shifted=True, after=learner.take_turn)
    assert 1 == len(why)
    assert "the absolute error per ride is at least" in why[0]
    trained = list(town.stores.ledger.records(CONTROL_LOG, ModelTrained))[-1]
    assert f"loss: {why[0]}" == trained.parameters["trigger"]
    assert START + 7 * DAY + TOWN.horizons[-1] == trained.until_slot
    now = story(town)
    [_, (_, promoted)] = now.promotions
    assert (trained.model, first, Cause.GATES, "ridecast") == (promoted.model, promoted.replaced, promoted.cause, promoted.author)
    assert {"paired loss", "size", "worst slice", "bias", "calibration"} == {gate.gate for gate in promoted.evidence}
    assert all(gate.passed for gate in promoted.evidence)
    assert "over 4 blocks" in promoted.reason
    issued = town.stores.ledger.find(LOG, ForecastIssued)
    assert issued is not None
    assert (trained.model,) == issued.models
    assert first == now.previous
    town.stores.close()


def worse_of(town: Town, good: bytes) -> bytes:
    """A model that forecasts a third too much, promoted as if the gates had let it."""
    about, trees = boosted.unpack(town.stores.blobs.get(good))
    worse = town.stores.blobs.put(
        boosted.pack(dataclasses.replace(about, dispersion_milli=about.dispersion_milli), trees[::-1]), Retention.MODEL
    )
    record = ModelPromoted(
        region=TOWN.id,
        measure="pickups",
        model=worse,
        alias="champion",
        reason="a test",
        author="ridecast",
        cause=Cause.GATES,
        replaced=good,
    )
    append_shared(town.stores.ledger, CONTROL_LOG, record)
    return worse
