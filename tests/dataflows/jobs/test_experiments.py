"""Experiments from the ledger: what a start lets the fold serve, what ends one, and what is measured from the log."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataflows.jobs.experiments import Measuring, Plan, start_experiment, stop_experiment
from dataflows.jobs.promoting import hold_models, promote_model, reject_by_gates, story_of
from dataflows.jobs.shadowing import FoldAt, served_in
from dataflows.stream.record import closed_of, payloads_of
from dataflows.stream.routing import Router
from ledger.store.blobs import Retention
from ledger.views.append import append_shared
from ledger.views.closes import Close, closes
from ledger.views.control import ControlView
from ledger.views.experiments import experiments_of
from ledger.views.regions import bootstrap_of
from schemas.errors import NotFound, UsageError
from schemas.records.records import (
    CONTROL_LOG,
    EndCause,
    ExperimentStarted,
    ExperimentStopped,
    ForecastIssued,
    ModelTrained,
    RegionHeld,
)
from state.counting.slots import ClosedSlot
from state.decide.experiments import Finding
from state.decide.retraining import RetrainingRules
from state.forecast.arms import design_of
from state.forecast.forecast import Forecaster
from state.forecast.region import Champion, RegionFold
from state.models import boosted
from tests.dataflows.jobs.experiment_town import town_with_two_models, two_models
from tests.dataflows.jobs.shifting_town import LOG, START, TOWN, Town, quick_training
from tests.differences import assert_same

PICKUPS = "pickups"
BLOCK = Plan(block_min=240, name="trees")  # two slots


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Without MLflow."""
    with quick_training(40):
        yield


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """A town with a champion, and a worse challenger."""
    made = town_with_two_models(tmp_path / "home")
    yield made
    made.stores.close()


def challenger(town: Town) -> str:
    """Digest of the challenger."""
    return story_of(town.stores, TOWN.id, PICKUPS).challenger.hex()


def start(town: Town, plan: Plan = BLOCK) -> ExperimentStarted:
    """Start an experiment."""
    return start_experiment(town.stores, challenger(town), plan, author="tests", reason="a test")[0]


def every_close(town: Town) -> list[Close]:
    """All closes of the town's log."""
    return list(closes(town.stores.ledger, LOG))


def issue_in(close: Close) -> ForecastIssued:
    """The issue of a close."""
    [issued] = [stored.record for stored in close.after if isinstance(stored.record, ForecastIssued)]
    return issued


def alone(town: Town, model: bytes, slots: int) -> list[np.ndarray]:
    """Means that a model would serve alone in every slot, from the state at the start: int64[n, n_horizons] each."""
    fold = RegionFold(TOWN, START, 5)
    fold.from_arrays(FoldAt(town.stores, TOWN, bootstrap_of(town.stores.ledger, TOWN.id)).arrays(1), {})
    fold.use({PICKUPS: Champion(model, town.stores.blobs.get(model))})
    found = []
    for close in every_close(town)[:slots]:
        [issue] = fold.apply(closed_of(TOWN, close.record, (), town.stores.blobs)).issues
        found.append(issue.draft.columns.mean)
    return found


def test_each_cell_is_served_by_its_arm_as_if_it_served_alone(town: Town) -> None:
    """In every block each cell's mean is that of the model of its arm, with the corrections that this model would have alone."""
    started = start(town)
    town.close_slots(14, shifted=True)
    design = design_of(started)
    both = [alone(town, model, 14) for model in (started.champion, started.challenger)]
    seen = set()
    for number, close in enumerate(every_close(town)):
        issued, served = issue_in(close), served_in(town.stores, close, PICKUPS)
        arm = design.challenged(served.cells, close.record.slot)
        seen.add(tuple(arm.tolist()))
        wanted = np.where((arm & (served.fallback == 0))[:, None], both[1][number], both[0][number])
        assert np.array_equal(wanted, served.mean)
        assert ("trees", (started.champion, started.challenger), ("champion", "challenger")) == (
            issued.experiment,
            issued.models,
            issued.roles,
        )
    assert len(seen) > 3
    assert any(not np.array_equal(a, b) for a, b in zip(*both, strict=True))


def folded_again(town: Town, state: dict[str, np.ndarray], skipped: int) -> None:
    """Fold the log again from a state after some closes, and compare with what is recorded."""
    boot, view = bootstrap_of(town.stores.ledger, TOWN.id), ControlView(town.stores.ledger)
    router = Router(town.stores.ledger, town.stores.blobs, boot)
    fold = RegionFold(TOWN, START, 5)
    fold.from_arrays({name: array.copy() for name, array in state.items()}, {})
    assert fold.to_arrays().keys() - {"champions"} == state.keys() - {"champions"}
    for close in every_close(town)[skipped:]:
        control = view.at(close.record.control_size, close.record.control_root)
        fold.use(router.recorded(control, close))
        outcome = fold.apply(closed_of(TOWN, close.record, (), town.stores.blobs))
        assert [stored.payload for stored in close.entries] == payloads_of(TOWN, outcome, control, town.stores.blobs)


def test_a_fold_that_starts_again_serves_the_same(town: Town) -> None:
    """From a snapshot in the middle of an experiment, the rest of the log folds to the recorded bytes, digests included."""
    start(town)
    town.close_slots(5, shifted=True)
    kept = town.fold.to_arrays()
    town.close_slots(8, shifted=True)
    folded_again(town, kept, 5)
    folded_again(town, FoldAt(town.stores, TOWN, bootstrap_of(town.stores.ledger, TOWN.id)).arrays(1), 0)


def test_a_fold_without_forecasts_arrives_at_the_same_state(town: Town) -> None:
    """Fast-forwarded through a part of an experiment, the fold serves the same afterwards."""
    start(town)
    town.close_slots(9, shifted=True)
    size = town.stores.ledger.head(LOG).size
    state = FoldAt(town.stores, TOWN, bootstrap_of(town.stores.ledger, TOWN.id)).arrays(size)
    whole = town.fold.to_arrays()
    learned = [name for name in whole if ".arm." in name and "issued" not in name and not name.endswith("arm.experiment")]
    assert learned
    assert all(np.array_equal(state[name], whole[name]) for name in learned)


def test_a_challenger_that_is_gone_leaves_the_champion(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    """While its artefact is missing the champion serves every cell; issues say why, and folding them again gives the same."""
    started = start(town)
    town.close_slots(2, shifted=True)
    data = town.stores.blobs.get(started.challenger)
    town.stores.blobs.remove(started.challenger)
    again = Router(town.stores.ledger, town.stores.blobs, bootstrap_of(town.stores.ledger, TOWN.id))
    town.restart(again)
    town.close_slots(2, shifted=True)
    town.stores.blobs.put(data, Retention.MODEL)
    town.close_slots(2, shifted=True)
    issues = [issue_in(close) for close in every_close(town)]
    assert ["trees"] * 2 + [""] * 2 + ["trees"] * 2 == [one.experiment for one in issues]
    assert [None] * 2 + ["missing"] * 2 + [None] * 2 == [one.reasons.get("challenger") for one in issues]
    assert 1 == caplog.text.count(f"experiment trees: the challenger {started.challenger.hex()[:12]} is missing; the champion serves")
    folded_again(town, FoldAt(town.stores, TOWN, bootstrap_of(town.stores.ledger, TOWN.id)).arrays(1), 0)


def test_an_older_fold_serves_no_arms(tmp_path: Path) -> None:
    """Version 4 of the fold ignores a challenge, and the start of an experiment says which version it needs."""
    forecaster = Forecaster(TOWN, PICKUPS, version=4)
    state = forecaster.to_arrays()
    made = Town(tmp_path / "home", 4)
    data, worse, trained = two_models()
    for one in (data, worse):
        append_shared(made.stores.ledger, CONTROL_LOG, dataclasses.replace(trained, model=made.stores.blobs.put(one, Retention.MODEL)))
    promote_model(made.stores, trained.model.hex())
    with pytest.raises(UsageError, match="expected version 5 of the fold for an experiment, got 4; run `ridecast ledger upgrade`"):
        start(made)
    made.stores.close()
    forecaster.challenge((a_start(), data))
    assert state.keys() == forecaster.to_arrays().keys()


def a_start(**changes: object) -> ExperimentStarted:
    """A record of a start."""
    given: dict[str, object] = {
        "region": TOWN.id,
        "measure": PICKUPS,
        "experiment": "other",
        "champion": b"a",
        "challenger": b"b",
        "seed": "other",
        "share_milli": 500,
        "block_slots": 2,
        "levels": 0,
        "washout_slots": 0,
        "start_slot": START,
        "until_slot": START + 100,
        "loss": "absolute",
        "until_decided": False,
        "author": "tests",
        "reason": "a test",
    }
    return ExperimentStarted(**(given | changes))  # type: ignore[arg-type]


# --- what ends one ---------------------------------------------------------------------------------


def state_of(town: Town) -> str:
    """What the log says of the newest experiment."""
    return experiments_of(town.stores.ledger)[-1].state(town.slot)


def test_an_experiment_ends_at_its_longest_duration_without_a_record(town: Town) -> None:
    """At its last slot the champion serves every cell again, and issues name it alone."""
    started = start(town, dataclasses.replace(BLOCK, days=1))
    assert started.until_slot == started.start_slot + 12
    town.close_slots(14, shifted=False)
    assert ["trees"] * 12 + [""] * 2 == [issue_in(close).experiment for close in every_close(town)]
    assert "ended: its longest duration is over" == state_of(town)
    assert (started.champion,) == issue_in(every_close(town)[-1]).models
    with pytest.raises(NotFound, match="expected an experiment that runs, found none"):
        stop_experiment(town.stores, TOWN.id, PICKUPS)
    assert start(town, dataclasses.replace(BLOCK, name="again")).start_slot == START + 14


@pytest.mark.parametrize("how", ["stop", "promotion", "rejection", "hold", "failure"])
def test_an_experiment_ends_with_a_reason(town: Town, how: str) -> None:
    """A stop, a new champion, a rejection of the challenger, a hold or a failed fold ends it from the next close on."""
    started = start(town)
    town.close_slots(2, shifted=False)
    assert "runs" == state_of(town)
    story = story_of(town.stores, TOWN.id, PICKUPS)
    if how == "stop":
        stop_experiment(town.stores, TOWN.id, PICKUPS, reason="seen enough")
    elif how == "promotion":
        promote_model(town.stores, challenger(town), reason="better")
    elif how == "rejection":
        assert reject_by_gates(town.stores, story, reason="too slow", evidence=())
    elif how == "hold":
        hold_models(town.stores, TOWN.id, PICKUPS, reason="marathon")
    else:
        append_shared(town.stores.ledger, CONTROL_LOG, RegionHeld(region=TOWN.id, slot=town.slot, reason="it failed"))
    wanted = {
        "stop": "seen enough",
        "promotion": "a new champion serves: better",
        "rejection": "the challenger was rejected: too slow",
        "hold": "the champion is held: marathon",
        "failure": "the region is held: it failed",
    }
    assert f"ended: {wanted[how]}" == state_of(town)
    town.close_slots(1, shifted=False)
    last = issue_in(every_close(town)[-1])
    served = {"promotion": (started.challenger,), "failure": ()}.get(how, (started.champion,))
    assert ("", served, ()) == (last.experiment, last.models, last.roles)
    assert not any(".arm." in name for name in town.fold.to_arrays())


def test_what_does_not_concern_an_experiment_does_not_end_it(town: Town) -> None:
    """A promotion of the champion that serves, and records of another measure, change nothing."""
    started = start(town)
    promotion = story_of(town.stores, TOWN.id, PICKUPS).promotions[-1][1]
    append_shared(town.stores.ledger, CONTROL_LOG, promotion)
    append_shared(town.stores.ledger, CONTROL_LOG, dataclasses.replace(promotion, measure="requests", model=b"x" * 32))
    assert {(TOWN.id, PICKUPS): started} == ControlView(town.stores.ledger).latest().experiments


def test_records_that_lost_a_race_have_no_effect(town: Town) -> None:
    """A second start while one runs, and one beside another champion, never come into force."""
    started = start(town)
    for changes in ({"champion": started.champion, "challenger": started.challenger}, {}):
        append_shared(town.stores.ledger, CONTROL_LOG, a_start(**changes))
    stop_experiment(town.stores, TOWN.id, PICKUPS)
    append_shared(town.stores.ledger, CONTROL_LOG, a_start())
    assert {} == ControlView(town.stores.ledger).latest().experiments
    assert ["trees"] == [one.started.experiment for one in experiments_of(town.stores.ledger)]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("champion", "is the champion of region tiny, pickups: an experiment needs another model"),
        ("held", "the champion is held: marathon; end the hold"),
        ("region held", "held without models: it failed"),
        ("twice", "experiment trees is not over yet; stop it"),
        ("name", "expected a new name, got 'trees'"),
        ("block", "--block: expected a multiple of the region's slots of 120 min, got 60"),
        ("washout", "--washout: expected less than a block of 240 min, got 240"),
        ("share", "share_milli: expected 1 to 999, got 1000"),
        ("artefact", "its artefact is missing"),
        ("horizons", "it cannot serve region"),
    ],
)
def test_what_cannot_be_started_is_refused(town: Town, case: str, said: str) -> None:
    """Each text says what was expected and what to do; nothing is recorded."""
    digits, plan = challenger(town), BLOCK
    story = story_of(town.stores, TOWN.id, PICKUPS)
    said = said.replace("tiny", TOWN.id)
    if case == "champion":
        digits = story.champion.hex()
    elif case == "held":
        hold_models(town.stores, TOWN.id, PICKUPS, reason="marathon")
    elif case == "region held":
        append_shared(town.stores.ledger, CONTROL_LOG, RegionHeld(region=TOWN.id, slot=town.slot, reason="it failed"))
    elif case in ("twice", "name"):
        start(town)
        if case == "name":
            stop_experiment(town.stores, TOWN.id, PICKUPS)
    elif case == "artefact":
        town.stores.blobs.remove(story.challenger)
    elif case == "horizons":
        about, trees = boosted.unpack(town.stores.blobs.get(story.challenger))
        model = town.stores.blobs.put(boosted.pack(dataclasses.replace(about, horizons=(1, 3)), trees), Retention.MODEL)
        [trained, *_] = town.stores.ledger.records(CONTROL_LOG, ModelTrained)
        append_shared(town.stores.ledger, CONTROL_LOG, dataclasses.replace(trained, model=model))
        digits = model.hex()
    else:
        changes = {"block": {"block_min": 60}, "washout": {"washout_min": 240}, "share": {"share_milli": 1000}}
        plan = dataclasses.replace(BLOCK, **changes[case])  # type: ignore[arg-type]
    before = town.stores.ledger.head(CONTROL_LOG)
    with pytest.raises((UsageError, NotFound), match=said):
        start_experiment(town.stores, digits, plan)
    assert before == town.stores.ledger.head(CONTROL_LOG)


def test_a_fold_that_failed_on_its_way_begins_again(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot whose counts cannot be read now leaves no half of a fold behind: when they can, the state is that of the log."""
    town.close_slots(6, shifted=False)
    size = town.stores.ledger.head(LOG).size
    fold_at, first = FoldAt(town.stores, TOWN, bootstrap_of(town.stores.ledger, TOWN.id)), every_close(town)[2].entries[-1].index + 1
    fold_at.arrays(first)
    calls, once = list[object](), closed_of

    def fails_once(*given: object) -> ClosedSlot:
        calls.append(given)
        if len(calls) == 3:
            raise NotFound("blob: gone for a moment")
        return once(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("dataflows.jobs.shadowing.closed_of", fails_once)
    with pytest.raises(NotFound, match="gone for a moment"):
        fold_at.arrays(size)
    found = fold_at.arrays(size)
    assert_same(FoldAt(town.stores, TOWN, bootstrap_of(town.stores.ledger, TOWN.id)).arrays(size), found)


# --- what is measured ------------------------------------------------------------------------------


def test_a_worse_challenger_is_stopped_when_that_is_certain(town: Town) -> None:
    """Started until decided, the experiment ends in a run that learns, with the finding; the log gives the same again."""
    started = start(town, dataclasses.replace(BLOCK, block_min=120, until_decided=True))
    learner = town.learner(retraining=RetrainingRules(every_days=0, trainings_per_week=0))
    town.close_slots(72, shifted=False, after=learner.take_turn)
    [stopped] = town.stores.ledger.records(CONTROL_LOG, ExperimentStopped)
    assert (Finding.WORSE, EndCause.DECIDED, "ridecast") == (stopped.finding, stopped.cause, stopped.author)
    assert "decided: B is worse by" in stopped.reason
    again = Measuring(town.stores, started).compared(town.stores.ledger.head(LOG).size)
    assert float(stopped.change) > float(stopped.lower) > 0.0
    assert again.finding is Finding.WORSE
    assert again.at + 1 == stopped.blocks
    past = experiments_of(town.stores.ledger)[-1]
    assert (stopped, f"ended: {stopped.reason}") == (past.stopped, past.state(town.slot))


def test_a_learner_that_lags_behind_stops_nothing_that_has_ended(town: Town) -> None:
    """A training may last longer than an experiment: what it had found by then stops nothing, and ends no learner."""
    start(town, dataclasses.replace(BLOCK, block_min=120, days=5, until_decided=True))
    learner = town.learner(retraining=RetrainingRules(every_days=0, trainings_per_week=0))
    town.close_slots(72, shifted=False)
    assert 72 == learner.take_turn()
    assert [] == list(town.stores.ledger.records(CONTROL_LOG, ExperimentStopped))


def test_an_expired_forecast_leaves_its_block_out(town: Town) -> None:
    """A block of which too little can be scored is not compared; the others are."""
    started = start(town)
    town.close_slots(12, shifted=False)
    size = town.stores.ledger.head(LOG).size
    first = started.start_slot // started.block_slots
    assert [first, first + 1, first + 2, first + 3, first + 4] == Measuring(town.stores, started).compared(size).blocks.tolist()
    town.stores.blobs.remove(issue_in(every_close(town)[3]).blob)
    assert [first, first + 2, first + 3, first + 4] == Measuring(town.stores, started).compared(size).blocks.tolist()
