"""The forecaster: a snapshot anywhere changes nothing, scores are what anyone would compute, outages are not truth."""

import numpy as np
import pytest

from schemas.records.records import FALLBACKS, Fallback
from state.demand.history import CountHistory
from state.forecast.forecast import Forecaster
from tests.differences import assert_same
from tests.state.model_city import FIRST_SLOT, HOURLY, fold, run_slot, town_model, town_slots


def started(n: int, model: bytes | None, **how: object) -> tuple[CountHistory, Forecaster]:
    """A history of n slots, and a forecaster that has issued nothing yet."""
    history, forecaster = CountHistory(HOURLY), Forecaster(HOURLY, "pickups")
    forecaster.use(model)
    for known in town_slots(n, **how):  # type: ignore[arg-type]
        fold(history, known)
    return history, forecaster


@pytest.mark.parametrize("with_model", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_snapshot_anywhere_equals_an_uninterrupted_run(seed: int, with_model: bool) -> None:
    """Restored from arrays at random slots, with corrections and an outage, every number, digest and score is the same."""
    model = town_model().artefact if with_model else None
    slots = town_slots(460, seed=seed, late=True, outage=range(430, 433))
    whole, cut = (started(400, model, seed=seed, late=True) for _ in range(2))
    rng = np.random.default_rng(seed)
    for known in slots[400:]:
        if rng.random() < 0.25:
            history, forecaster = CountHistory(HOURLY), Forecaster(HOURLY, "pickups")
            forecaster.use(model)
            history.from_arrays(cut[0].to_arrays())
            forecaster.from_arrays(cut[1].to_arrays())
            cut = history, forecaster
        assert_same(run_slot(*whole, known), run_slot(*cut, known), f"slot {known.slot}")
        assert whole[1].digest() == cut[1].digest()
        assert whole[0].digest() == cut[0].digest()


def test_scores_are_what_anyone_would_compute() -> None:
    """Truth, errors and coverage of a window recomputed from the slots and the served integers."""
    slots = town_slots(420)
    history, forecaster = started(400, town_model().artefact)
    drafts, scored = {}, {}
    for known in slots[400:]:
        fold(history, known)
        for score in forecaster.score(history, known.slot, 2):
            scored[score.slot, score.settled] = score
        drafts[known.slot] = forecaster.issue(history, known.slot).columns
        forecaster.learn(history, known.slot)
    ended = FIRST_SLOT + 412
    row = scored[ended, False].rows[1]
    columns = drafts[ended - 2]
    truth = dict.fromkeys(columns.cells.tolist(), 0)
    for known in slots[411:413]:
        for cell, rides in zip(known.cells.tolist(), known.counts.tolist(), strict=True):
            truth[cell] = truth.get(cell, 0) + rides
    rides = np.array([truth[cell] for cell in columns.cells.tolist()]) * 1000
    assert 120 == row.horizon_min
    assert rides.sum() // 1000 == row.truth
    assert np.abs(rides - columns.median[:, 1]).sum() == row.abs_error_milli
    assert ((rides - columns.mean[:, 1]) ** 2).sum() == row.square_error_micro
    assert ((rides - columns.baseline[:, 1]) ** 2).sum() == row.baseline_square_error_micro
    assert ((columns.lower[:, 1] <= rides) & (rides <= columns.upper[:, 1])).sum() == row.covered
    assert scored[ended, True].rows == scored[ended, False].rows


def test_a_late_ride_changes_the_settled_score_only() -> None:
    """The first score does not change; the settled score counts the late ride."""
    history, forecaster = started(400, None)
    scores = {}
    for known in town_slots(410)[400:]:
        fold(history, known)
        for score in forecaster.score(history, known.slot, 2):
            scores[score.slot, score.settled] = score.rows[0].truth
        forecaster.issue(history, known.slot)
        if known.slot == FIRST_SLOT + 405:
            history.correct(np.array([known.slot - 1]), history.cells[:1], np.array([3]))
    assert scores[FIRST_SLOT + 404, False] + 3 == scores[FIRST_SLOT + 404, True]
    assert scores[FIRST_SLOT + 403, False] == scores[FIRST_SLOT + 403, True]


def test_windows_that_touch_an_outage_are_not_scored() -> None:
    """No row names a window with an unobserved slot in it, and nothing is learned from one."""
    history, forecaster = started(400, town_model().artefact)
    out = FIRST_SLOT + 405
    for known in town_slots(412, outage=range(405, 406))[400:]:
        fold(history, known)
        for score in forecaster.score(history, known.slot, 0):
            touched = [row for row in score.rows if score.slot - row.horizon_min // 60 < out <= score.slot]
            assert not touched
        forecaster.issue(history, known.slot)
        forecaster.learn(history, known.slot)


def test_every_cell_is_served_by_what_its_fallback_says() -> None:
    """Without a model busy cells get the baseline itself; with one they get none of it; quiet cells say quiet."""
    history, forecaster = started(700, None)
    slot = history.next_slot - 1
    draft = forecaster.issue(history, slot)
    draft.columns.check()
    plain = draft.columns.fallback == FALLBACKS.index(Fallback.BASELINE)
    assert draft.columns.mean[plain].tolist() == draft.columns.baseline[plain].tolist()
    assert len(draft.columns) == sum(draft.fallbacks.values())
    forecaster.use(town_model().artefact)
    again = forecaster.issue(history, slot)
    assert draft.fallbacks["baseline"] == again.fallbacks["none"]
    assert (again.columns.median % 1000 == 0).all()
    assert (again.columns.lower <= again.columns.median).all()
    assert (again.columns.median <= again.columns.upper).all()


def test_a_city_without_rides_issues_nothing_and_fails_nowhere() -> None:
    """An empty universe is a forecast of no cells."""
    history, forecaster = CountHistory(HOURLY), Forecaster(HOURLY, "pickups")
    forecaster.use(town_model().artefact)
    for slot in range(5):
        history.close(slot, history.cells[:0], np.empty(0, np.int64), observed=True)
        assert 0 == sum(row.cells for score in forecaster.score(history, slot, 1) for row in score.rows)
        assert 0 == len(forecaster.issue(history, slot).columns)
        forecaster.learn(history, slot)


def test_every_window_is_learned_from_once() -> None:
    """The learner has seen as many rows as cells with a model had windows that came true, and none again when they settle."""
    history, forecaster = started(400, town_model().artefact)
    own: dict[int, int] = {}
    expected = 0
    for known in town_slots(420)[400:]:
        fold(history, known)
        forecaster.score(history, known.slot, 2)
        own[known.slot] = forecaster.issue(history, known.slot).fallbacks["none"]
        forecaster.learn(history, known.slot)
        expected += sum(own.get(known.slot - horizon, 0) for horizon in HOURLY.horizons)
        assert expected == forecaster.to_arrays()["online_scaler"][0, 0]
    assert expected > 0
