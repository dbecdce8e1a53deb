"""Learning without a person: from a rise of the loss to a promotion, from a bad promotion to a rollback, and over restarts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.jobs.learn import train_region
from dataflows.jobs.learner import Learner
from dataflows.jobs.promoting import hold_models, release_models
from dataflows.jobs.shadowing import KeptShadows
from ledger.store.blobs import Retention
from ledger.views.append import append_shared
from ledger.views.model_story import MeasureStory, stories_of
from schemas.records.records import CONTROL_LOG, Cause, ForecastIssued, ModelPromoted, ModelTrained
from state.decide.promotion import PromotionRules
from state.decide.retraining import RetrainingRules
from state.models import boosted
from tests.dataflows.jobs.shifting_town import DAY, LOG, START, TOWN, Town, quick_training

RULES = RetrainingRules(every_days=0, reference_days=4, least_rise=0.5, recent_days=1)
WIDE = PromotionRules(bias=0.1)  # a small town's days differ
DAILY = RetrainingRules(every_days=1, trainings_per_week=9)
NEVER = RetrainingRules(every_days=0, trainings_per_week=0)


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """Few trees."""
    with quick_training(40):
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
    """After the town's day shifts, a bad day trains a challenger; it is shadowed for six days, promoted, and serves."""
    town, first = town_with_a_model(tmp_path / "home")
    why: list[str] = []
    learner = town.learner(retraining=RULES, promotion=WIDE, on_training=why.append)
    town.close_days(5, shifted=False, after=learner.take_turn)
    assert [] == why
    town.close_days(9, shifted=True, after=learner.take_turn)
    assert 1 == len(why)
    assert "the absolute error per ride is at least" in why[0]
    trained = list(town.stores.ledger.records(CONTROL_LOG, ModelTrained))[-1]
    assert f"loss: {why[0]}" == trained.parameters["trigger"]
    assert START + 6 * DAY + TOWN.horizons[-1] == trained.until_slot
    now = story(town)
    [_, (_, promoted)] = now.promotions
    assert (trained.model, first, Cause.GATES, "ridecast") == (promoted.model, promoted.replaced, promoted.cause, promoted.author)
    assert {"paired loss", "size", "worst slice", "bias", "calibration"} == {gate.gate for gate in promoted.evidence}
    assert all(gate.passed for gate in promoted.evidence)
    assert "over 6 blocks" in promoted.reason
    issued = town.stores.ledger.find(LOG, ForecastIssued)
    assert issued is not None
    assert (trained.model,) == issued.models
    assert first == now.previous
    town.stores.close()


def promote_worse(town: Town, good: bytes) -> bytes:
    """A model with the boosters of the two horizons exchanged, promoted as if the gates had let it."""
    about, trees = boosted.unpack(town.stores.blobs.get(good))
    worse = town.stores.blobs.put(boosted.pack(about, trees[::-1]), Retention.MODEL)
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


def test_a_champion_that_loses_is_rolled_back(tmp_path: Path) -> None:
    """The champion before is shadowed over restarts and through a hold; when it is released the better one serves again."""
    town, good = town_with_a_model(tmp_path / "home")
    town.close_days(1, shifted=False)
    bad = promote_worse(town, good)
    hold_models(town.stores, TOWN.id, "pickups", reason="marathon")
    kept = KeptShadows(tmp_path / "kept")
    for _ in range(4):
        learner = town.learner(retraining=DAILY, promotion=WIDE, kept=kept)
        town.close_slots(18, shifted=False, after=learner.take_turn)
        learner.save()
    # Held, nothing was rolled back, nor trained on the schedule; the shadow went on.
    assert (bad, 2, 2) == (story(town).champion, len(story(town).promotions), len(story(town).models))
    release_models(town.stores, TOWN.id, "pickups")
    learner = town.learner(retraining=NEVER, promotion=WIDE, kept=kept)
    town.close_slots(18, shifted=False, after=learner.take_turn)
    now = story(town)
    assert (good, [Cause.COMMAND, Cause.GATES, Cause.ROLLBACK]) == (now.champion, [record.cause for _, record in now.promotions])
    [(_, rejected)] = now.rejections
    assert (bad, "ridecast") == (rejected.model, rejected.author)
    assert rejected.reason.startswith("rolled back: the champion before is better: it passes every gate: the loss is -")
    assert "over 6 blocks" in rejected.reason
    assert b"" == now.previous
    issued = town.stores.ledger.find(LOG, ForecastIssued)
    assert issued is not None
    assert (good,) == issued.models
    town.stores.close()


def test_a_learner_killed_at_every_midnight_leaves_the_same_records(tmp_path: Path) -> None:
    """It dies after the last close of each day, before its turn, and the next one goes on from what the first had kept."""
    control: list[list[bytes]] = []
    for killed in (False, True):
        town, good = town_with_a_model(tmp_path / str(killed))
        town.close_days(1, shifted=False)
        bad = promote_worse(town, good)
        kept, living = KeptShadows(tmp_path / f"kept {killed}"), list[Learner]()

        def turn(town: Town = town, kept: KeptShadows = kept, living: list[Learner] = living, killed: bool = killed) -> None:
            if killed and (town.slot - TOWN.horizons[-1]) % DAY == 0:
                living.clear()
                return
            if not living:
                living.append(town.learner(retraining=NEVER, promotion=WIDE, kept=kept))
            living[0].take_turn()
            if living[0].unsaved:  # as its process does
                living[0].save()

        town.close_slots(6 * DAY + 4, shifted=False, after=turn)
        now = story(town)
        assert (good, bad) == (now.champion, now.rejections[0][1].model)
        ledger = town.stores.ledger
        control.append([stored.payload for stored in ledger.read(CONTROL_LOG, 0, ledger.head(CONTROL_LOG).size)])
        town.stores.close()
    assert control[0] == control[1]


def test_a_trial_starts_again_where_a_served_forecast_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without the forecasts of one slot a shadow has no pair for it: it says so, and begins anew after that slot."""
    town, good = town_with_a_model(tmp_path / "home")
    town.close_slots(3, shifted=False)
    promote_worse(town, good)
    kept = KeptShadows(tmp_path / "kept")
    learner = town.learner(retraining=NEVER, kept=kept)
    town.close_slots(2, shifted=False, after=learner.take_turn)
    town.close_slots(1, shifted=False)
    gone = town.stores.ledger.find(LOG, ForecastIssued)
    assert gone is not None
    town.stores.blobs.remove(gone.blob)
    learner.take_turn()
    assert f"the watch starts again: a forecast of slot {gone.slot} is missing" in caplog.text
    town.close_slots(4, shifted=False, after=learner.take_turn)
    learner.save()
    found = kept.load(f"{TOWN.id}.pickups.watch")
    assert found is not None
    assert [3, 2] == found["losses.issues"].sum(axis=0).tolist()
    town.stores.close()
