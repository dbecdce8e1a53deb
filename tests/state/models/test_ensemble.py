"""The ensemble: never worse than its best member by more than the stated bound, quick to leave a bad one, exact as recorded."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.events.rides import Float64s
from state.demand.history import CountHistory
from state.forecast.draft import Draft
from state.forecast.forecast import Forecaster
from state.models.ensemble import MEMBERS, MOST_LOSS, PRIOR, Ensemble, losses, most_regret
from state.models.protocol import Outcome
from state.models.spread import BANDS_MILLI
from tests.state.model_city import HOURLY, fold, town_chain, town_slots

DAY_SLOTS, HORIZONS = 96, (1, 2, 4)
WEEK = 7 * DAY_SLOTS
CELLS = np.arange(6).astype(np.uint64)


def run(members: Float64s, truth: Float64s, dispersion: int = 0) -> tuple[Float64s, Float64s]:
    """Losses over all closes of one band, per horizon: of the ensemble [n_horizons], and of its members [n_horizons, members].

    Args:
        members: float64[closes, n_horizons, cells, members], means that were issued at each close.
        truth: float64[closes, n_horizons, cells].
    """
    ensemble = Ensemble(len(HORIZONS), DAY_SLOTS)
    ensemble._begin(HORIZONS)
    mine, theirs = np.zeros(len(HORIZONS)), np.zeros((len(HORIZONS), len(MEMBERS)))
    issued: list[Float64s] = []
    for close in range(len(members)):
        ended = [i for i, h in enumerate(HORIZONS) if close >= h]
        outcomes = []
        for i in ended:
            made = issued[close - HORIZONS[i]][:, i]
            outcomes.append(Outcome(i, CELLS, made, made[:, 3], made[:, 5], truth[close - HORIZONS[i], i]))
            means = np.column_stack([made[:, 2:5], made[:, 5]])
            squares = ((truth[close - HORIZONS[i], i][:, None] - means) ** 2).sum(axis=0)
            variance = float((made[:, 3] + dispersion / 1000 * made[:, 3] ** 2).sum())
            # The scale of a close is that of its members alone.
            scale = max(variance, float(squares[:3].max()) / MOST_LOSS)
            mine[i] += squares[3] / scale
            theirs[i] += squares[:3] / scale
        ensemble.observe(outcomes, (dispersion,) * len(HORIZONS))
        ensemble._turns = np.array([close % h for h in HORIZONS])
        inputs = np.empty((len(CELLS), len(HORIZONS), 5))
        inputs[:, :, 0], inputs[:, :, 1] = ensemble._turns, 0
        inputs[:, :, 2:] = members[close].transpose(1, 0, 2)
        served = inputs[:, :, 3] * (1.0 + ensemble.predict(inputs))
        issued.append(np.concatenate([inputs, served[:, :, None]], axis=2))
    return mine, theirs


@pytest.mark.parametrize("best", range(len(MEMBERS)))
@pytest.mark.parametrize("apart", [1.05, 1.5, 4.0])
def test_over_a_week_it_is_near_its_best_member(best: int, apart: float) -> None:
    """One member knows the truth and the others are off by a factor: over a week the losses stay within the bound of each member."""
    rng = np.random.default_rng(best)
    right = rng.gamma(3.0, 2.0, (WEEK, len(HORIZONS), len(CELLS)))
    members = np.repeat(right[..., None], len(MEMBERS), axis=3) * np.where(np.arange(len(MEMBERS)) == best, 1.0, apart)
    mine, theirs = run(members, rng.poisson(right).astype(float))
    for i, h in enumerate(HORIZONS):
        for member in range(len(MEMBERS)):
            assert mine[i] <= theirs[i, member] + most_regret(member, h, DAY_SLOTS, WEEK)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_sequence_breaks_the_bound(seed: int) -> None:
    """Members that take turns in being absurd, and rides of any size: the bound holds for each of them."""
    rng = np.random.default_rng(seed)
    shape = (240, len(HORIZONS), len(CELLS))
    truth = rng.poisson(rng.gamma(0.3, 20.0, shape)).astype(float)
    members = rng.gamma(0.5, 10.0, (*shape, len(MEMBERS))) + 1e-6
    near = rng.random((240, 1, 1, len(MEMBERS))) < rng.random(len(MEMBERS))
    members = np.where(near, truth[..., None] + 0.1, members)
    mine, theirs = run(members, truth)
    for i, h in enumerate(HORIZONS):
        for member in range(len(MEMBERS)):
            assert mine[i] <= theirs[i, member] + most_regret(member, h, DAY_SLOTS, 240)


def test_a_bad_member_loses_its_weight_and_can_win_it_back() -> None:
    """When the corrected model is wrong by half it has almost no weight after two days, and most of it two days after it is right."""
    ensemble = Ensemble(1, DAY_SLOTS)
    ensemble._begin((1,))
    seen = []
    for close in range(4 * DAY_SLOTS):
        wrong = 1.5 if close < 2 * DAY_SLOTS else 1.0
        inputs = np.zeros((len(CELLS), 1, 5))
        inputs[:, 0, 2:] = np.array([10.0 * (2.5 - wrong), 10.0 * wrong, 12.0])
        truth = np.full(len(CELLS), 10.0)
        ensemble.observe([Outcome(0, CELLS, inputs[:, 0], truth, truth, truth)], (0,))
        seen.append(ensemble._by_turn[0, 0, 0, 1])
    assert seen[2 * DAY_SLOTS - 1] < 0.05
    assert seen[-1] > 0.9


def test_losses_are_bounded_and_keep_their_ratios() -> None:
    """An absurd member scales the losses of a close down; without one, a loss is squared errors over expected variance."""
    found = losses(np.array([[2.0, 4.0, 6.0], [2.0, 4.0, 4000.0]]), np.array([4.0, 4.0]))
    assert [0.5, 1.0, 1.5] == found[0].tolist()
    assert [0.002, 0.004, MOST_LOSS] == pytest.approx(found[1].tolist())


def issued_by(version: int, closes: int) -> tuple[list[Draft], Forecaster]:
    """Issues of a town by a version of the fold, with a chain."""
    warm = 15 * 24
    history, forecaster = CountHistory(HOURLY, tracked=True), Forecaster(HOURLY, "pickups", version=version)
    forecaster.use(town_chain().artefact)
    drafts = []
    for number, known in enumerate(town_slots(warm + closes)):
        fold(history, known)
        if number >= warm:
            forecaster.score(history, known.slot, 2)
            drafts.append(forecaster.issue(history, known.slot))
            forecaster.learn(history, known.slot)
    return drafts, forecaster


def test_served_means_are_the_recorded_mixture() -> None:
    """Anybody who has the members of an issue gets its means from the recorded weights, which sum to one in every band."""
    drafts, forecaster = issued_by(5, 30)
    draft = drafts[-1]
    assert MEMBERS == draft.mix.members
    issued = forecaster._queue.at(max(forecaster._queue._issues))
    assert issued is not None
    inputs = issued.corrections["ensemble"].inputs
    for i, of in enumerate(draft.mix.weights):
        assert {1000} == {sum(band.weights_milli) for band in of.bands}
        assert list(BANDS_MILLI) == [band.from_milli for band in of.bands]
        for row, place in enumerate(issued.own.tolist()):
            weights = draft.mix.of(i, round(float(inputs[row, i, 2]) * 1000))
            mixed = sum(weights[name] * float(inputs[row, i, 2 + k]) for k, name in enumerate(MEMBERS))
            assert mixed == pytest.approx(draft.columns.mean[place, i] / 1000, abs=0.00051)
            assert draft.columns.baseline[place, i] / 1000 == pytest.approx(float(inputs[row, i, 4]), abs=0.0006)
    assert list(PRIOR) != [weight / 1000 for weight in draft.mix.weights[0].bands[-3].weights_milli]


def test_older_versions_have_no_ensemble() -> None:
    """Issues by version 4 name no members."""
    drafts, forecaster = issued_by(4, 3)
    assert {((), ())} == {(draft.mix.members, draft.mix.weights) for draft in drafts}
    assert not [name for name in forecaster.to_arrays() if name.startswith(("ensemble", "local", "issued_ensemble"))]
