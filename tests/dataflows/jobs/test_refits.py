"""Refits in a region's log: a weekly training is promoted, one that learned broken data is not, and a row of them is watched."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.jobs.backtest_decisions import Decided, champions_at, decisions_of
from dataflows.jobs.learn import train_region
from dataflows.jobs.refits import on_probation, promotions_since, refit_of, watched_by
from dataflows.stream.stores import Stores
from ledger.store.blobs import Retention
from ledger.views.append import append_shared
from ledger.views.model_story import MeasureStory, stories_of
from schemas.records.records import CONTROL_LOG, Category, Cause, ModelPromoted, ModelTrained
from state.decide.paired import CHAMPION
from state.decide.promotion import PromotionRules
from state.decide.refits import Chain, Refit, RefitRules
from state.decide.retraining import RetrainingRules
from state.models import boosted
from tests.dataflows.jobs.shifting_town import DAY, START, TOWN, Town, quick_training

WEEKLY = RetrainingRules(least_rise=9.0)
SURE = PromotionRules(bias=0.1, least_gain=0.9)  # no challenger is better by so much: what is promoted, the guards let pass
WIDE = RefitRules(margin=0.05, decline=0.05, worse_slice=0.2, blocks=3)  # a small town's days differ


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """Few trees."""
    with quick_training(20):
        yield


def story(stores: Stores) -> MeasureStory:
    """What the control log says of the town's models."""
    return stories_of(stores.ledger)[TOWN.id, "pickups"]


def town_with_a_model(home: Path) -> tuple[Town, ModelTrained]:
    """A town whose champion was trained on its history, and its training."""
    town = Town(home)
    [trained] = train_region(town.stores, TOWN, promote=True, most_rows=10_000)
    return town, trained.record


def check_what_is_a_refit(town: Town) -> None:
    """The challenger is one; a training whose recorded root is not that of the log, or of another seed, is none."""
    judged = story(town.stores)
    trained = judged.models[judged.challenger].trained
    assert trained is not None
    assert refit_of(town.stores, judged, DAY, RefitRules()) == Refit(7, Chain(judged.champion, 0, 0.0))
    for changes in (
        {"trained_on": (b"r" * 32,)},
        {"trained_on": ()},
        {"parameters": trained.parameters | {"log_size": "1000000"}},
        {"parameters": trained.parameters | {"log_size": "-1"}},
        {"parameters": trained.parameters | {"sample_seed": "7"}},
    ):
        judged.models[judged.challenger].trained = dataclasses.replace(trained, **changes)
        assert refit_of(town.stores, judged, DAY, RefitRules()) is None
    judged.champion = b""
    assert refit_of(town.stores, judged, DAY, RefitRules()) is None


def check_when_it_was_decided(town: Town, first: ModelTrained, refit: bytes) -> None:
    """Each decision has the first slot that was closed after it; what was recorded after the last close, the end."""
    found = decisions_of(town.stores, TOWN, 0, town.slot)
    names = [(one.what, one.model) for one in found]
    old, new = (model.hex()[:12] for model in (first.model, refit))
    assert [
        (Decided.TRAINED, old),
        (Decided.PROMOTED, old),
        (Decided.TRAINED, new),
        (Decided.ON_PROBATION, new),
        (Decided.CONFIRMED, new),
    ] == names
    days = [(one.slot - START) / DAY for one in found]
    assert [0.0, 0.0, 7 + 2 / DAY, 9 + 2 / DAY, 12 + 2 / DAY] == pytest.approx(days)
    assert town.slot == found[-1].slot
    assert found[2].data_until
    assert "as a refit: a refit of the champion that passes every guard" in found[3].sentence()
    assert champions_at(town.stores, TOWN, town.stores.ledger.head(CONTROL_LOG).size) == {"pickups": new}
    assert champions_at(town.stores, TOWN, 0) == {}


def test_a_weekly_training_serves_on_probation_and_stays(tmp_path: Path) -> None:
    """Nothing changed in the town: the scheduled training serves after a day, with the guards as evidence, and stays after three."""
    town, first = town_with_a_model(tmp_path / "home")
    town.close_slots(7 * DAY + 2, shifted=False)
    learner = town.learner(retraining=WEEKLY, promotion=SURE, refits=WIDE)
    learner.take_turn()
    check_what_is_a_refit(town)
    town.close_slots(2 * DAY, shifted=False, after=learner.take_turn)  # the day of the training is not whole
    now = story(town.stores)
    [_, (_, promoted)] = now.promotions
    assert (first.model, Cause.GATES, Category.REFIT) == (promoted.replaced, promoted.cause, promoted.category)
    assert promoted.reason.startswith("a refit of the champion that passes every guard: the loss is ")
    names = ["refit", "refit loss", "refit decline", "size", "bias", "calibration", "worst slice", "refit probation"]
    assert names == [gate.gate for gate in promoted.evidence]
    assert "data of 7 days more" in promoted.evidence[0].sentence
    assert (first.model, b"") == watched_by(now)
    assert Chain(first.model, 0, 0.0) == on_probation(now)
    town.close_slots(3 * DAY, shifted=False, after=learner.take_turn)  # nor is the day on which it began to serve
    now = story(town.stores)
    [*_, (_, confirmed)] = now.promotions
    assert (3, promoted.model, first.model) == (len(now.promotions), confirmed.model, confirmed.replaced)
    assert confirmed.reason.startswith("the refit passed its probation: the loss is ")
    assert ("refit confirmed", "3") == (confirmed.evidence[0].gate, confirmed.evidence[0].value)  # one of the trial, and two
    assert (promoted.model, None, 2) == (now.champion, on_probation(now), promotions_since(now, 0) + 1)
    assert (first.model, b"") == watched_by(now)  # the usual watch goes on
    check_when_it_was_decided(town, first, promoted.model)
    town.stores.close()


def test_a_refit_on_probation_that_fails_is_rolled_back(tmp_path: Path) -> None:
    """On the days on which it serves it is much worse than its trial said: the champion before serves again after the first of them."""
    town, first = town_with_a_model(tmp_path / "home")
    town.close_slots(7 * DAY + 2, shifted=False)
    learner = town.learner(retraining=WEEKLY, promotion=SURE, refits=WIDE)
    town.close_slots(2 * DAY, shifted=False, after=learner.take_turn)
    refit = story(town.stores).champion
    assert refit != first.model
    learner.refits = RefitRules(blocks=3)
    learner._shadows["pickups", "watch"].shadow.losses.losses[:, CHAMPION] *= 1.5
    town.close_slots(DAY, shifted=False, after=learner.take_turn)
    now = story(town.stores)
    assert (first.model, Cause.ROLLBACK) == (now.champion, now.promotions[-1][1].cause)
    [(_, rejected)] = now.rejections
    assert (refit, True) == (rejected.model, rejected.reason.startswith("rolled back: the refit on probation "))
    town.stores.close()


def test_a_refit_waits_for_the_budget_without_a_word(tmp_path: Path) -> None:
    """It passes every day while no promotion is allowed: nothing is recorded, and it serves when the budget is free again."""
    town, first = town_with_a_model(tmp_path / "home")
    town.close_slots(7 * DAY + 2, shifted=False)
    spent = dataclasses.replace(WEEKLY, promotions_per_week=0)
    learner = town.learner(retraining=spent, promotion=SURE, refits=WIDE)
    learner.take_turn()
    before = town.stores.ledger.head(CONTROL_LOG).size
    town.close_slots(4 * DAY, shifted=False, after=learner.take_turn)
    assert (before, first.model) == (town.stores.ledger.head(CONTROL_LOG).size, story(town.stores).champion)
    learner.retraining, challenger = WEEKLY, story(town.stores).challenger
    town.close_slots(DAY, shifted=False, after=learner.take_turn)
    now = story(town.stores)
    assert challenger == now.champion
    [_, (_, promoted)] = now.promotions
    assert "refit probation" not in {gate.gate for gate in promoted.evidence}  # its trial was whole
    town.stores.close()


def test_a_refit_that_learned_broken_data_is_rejected(tmp_path: Path) -> None:
    """In its week the town's day was shifted by a fault; when it ends the refit is worse, and the champion stays."""
    town, first = town_with_a_model(tmp_path / "home")
    town.close_days(7, shifted=True)
    train_region(town.stores, TOWN, promote=False, most_rows=10_000)
    never = RetrainingRules(every_days=0, trainings_per_week=0)
    learner = town.learner(retraining=never, promotion=SURE, refits=WIDE)
    town.close_slots(3 * DAY + 2, shifted=False, after=learner.take_turn)
    now = story(town.stores)
    [(_, rejected)] = now.rejections
    assert (first.model, Category.REFIT) == (now.champion, rejected.category)
    assert not all(gate.passed for gate in rejected.evidence)
    town.stores.close()


def refit_by_hand(town: Town, model: bytes, replaced: bytes) -> None:
    """A promotion that says that the guards let a refit pass."""
    record = ModelPromoted(
        region=TOWN.id,
        measure="pickups",
        model=model,
        alias="champion",
        reason="a test",
        author="ridecast",
        cause=Cause.GATES,
        replaced=replaced,
        category=Category.REFIT,
    )
    append_shared(town.stores.ledger, CONTROL_LOG, record)


def test_a_row_of_refits_that_declined_is_rolled_back_to_its_beginning(tmp_path: Path) -> None:
    """Two refits in a row made the champion worse: what served before both is watched too, and serves again when it is better."""
    town, first = town_with_a_model(tmp_path / "home")
    town.close_days(1, shifted=False)
    about, trees = boosted.unpack(town.stores.blobs.get(first.model))
    worse = [town.stores.blobs.put(boosted.pack(about, trees[::-1]), Retention.MODEL)]
    spread = dataclasses.replace(about, dispersion_milli=tuple(milli + 1 for milli in about.dispersion_milli))
    worse.append(town.stores.blobs.put(boosted.pack(spread, trees[::-1]), Retention.MODEL))  # forecasts the same means
    refit_by_hand(town, worse[0], first.model)
    refit_by_hand(town, worse[1], worse[0])
    assert (worse[0], first.model) == watched_by(story(town.stores))
    never = RetrainingRules(every_days=0, trainings_per_week=0)
    learner = town.learner(retraining=never, promotion=PromotionRules(bias=0.1))
    town.close_days(7, shifted=False, after=learner.take_turn)
    now = story(town.stores)
    assert (first.model, Cause.ROLLBACK) == (now.champion, now.promotions[-1][1].cause)
    assert [worse[1]] == [record.model for _, record in now.rejections]
    assert now.rejections[0][1].reason.startswith("rolled back: the champion before its refits is better: ")
    town.stores.close()
