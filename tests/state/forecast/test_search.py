"""The errors of parameters over folds: which rows are seen, by value, and when there are too few."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from schemas.errors import UsageError
from state.demand.features import FIRST_TABLE
from state.forecast.search import FOLDS, Fold, check_folds, fold_loss, folds_of
from state.forecast.training import SampledHistory, fit_sampled, sample_history
from state.models.deviance import deviance
from state.models.fit_parameters import AS_SHIPPED, FitParameters
from tests.state.model_city import FIRST_SLOT, HOURLY, town_chain, town_slots

SLOTS = 600


@cache
def sampled() -> SampledHistory:
    """Rows of 25 days of the town."""
    return sample_history(HOURLY, town_slots(SLOTS), FIRST_SLOT, FIRST_SLOT + SLOTS, table=town_chain().table, most_rows=4_000)


def with_truth_after(slot: int, rides: float) -> SampledHistory:
    """The same rows, with other features and rides from a slot on."""
    rows = sampled().rows
    later = rows.slots >= slot
    truth, features = rows.truth.copy(), rows.features.copy()
    truth[later], features[later] = rides, 0.5
    return replace(sampled(), rows=replace(rows, truth=truth, features=features))


@pytest.mark.parametrize(("slots", "block"), [(60 * 24, 7 * 24), (30 * 24, 5 * 24), (40, 6)])
def test_folds_are_consecutive_and_end_with_the_history(slots: int, block: int) -> None:
    """Equal blocks without holes, of whole days where there are enough, and two blocks or more before the first."""
    folds = folds_of(100, 100 + slots, 24)
    assert [100 + slots - (FOLDS - i) * block for i in range(FOLDS)] == [fold.begin_slot for fold in folds]
    assert [*(fold.begin_slot for fold in folds[1:]), 100 + slots] == [fold.end_slot for fold in folds]
    assert folds[0].begin_slot - 100 >= 2 * block


def test_a_fold_does_not_look_ahead() -> None:
    """What comes after a block, or reaches into it from before, moves neither its fit nor its error."""
    folds = check_folds(sampled())
    first = folds[0]
    expected = fold_loss(sampled(), first, AS_SHIPPED, 1)
    assert expected == fold_loss(with_truth_after(first.end_slot, 9.0), first, AS_SHIPPED, 1)
    rows = sampled().rows
    reaching = (rows.slots < first.begin_slot) & (rows.slots + HOURLY.horizons[-1] >= first.begin_slot)
    truth = rows.truth.copy()
    truth[reaching] = 50.0
    assert reaching.any()
    assert expected == fold_loss(replace(sampled(), rows=replace(rows, truth=truth)), first, AS_SHIPPED, 1)
    assert expected != fold_loss(with_truth_after(first.begin_slot, 9.0), first, AS_SHIPPED, 1)


def test_the_error_tells_good_parameters_from_bad_ones() -> None:
    """With a few weeks of history what learns has a smaller error than what learns nothing, which has that of the profile."""
    nothing = FitParameters(max_depth=1, eta=0.001, penalty_share=1e6, network_share=0.0)
    for fold in check_folds(sampled())[1:]:  # there are too few days before the first
        shipped, strong, none = (fold_loss(sampled(), fold, fit, 1) for fit in (AS_SHIPPED, FitParameters(penalty_share=0.5), nothing))
        assert 0.3 < min(strong, shipped)
        assert max(strong, shipped) < none
        assert strong != shipped
        assert 0.9 < none <= 1.02


def test_the_deviance_by_value() -> None:
    """It is zero where the means are the rides, and as in the textbook elsewhere."""
    rides, means = np.array([0.0, 1.0, 4.0]), np.array([0.5, 2.0, 3.0])
    assert 2 * (0.5 + (np.log(0.5) + 1.0) + (4 * np.log(4 / 3) - 1.0)) == pytest.approx(deviance(rides, means))
    assert 0.0 == deviance(rides[1:], rides[1:])


def test_too_little_history_is_refused() -> None:
    """A block or a beginning with too few rows, and models that are not chains, are refused with what to do."""
    rows = sampled().rows
    late = rows.slots >= FIRST_SLOT + SLOTS - 24
    few = replace(rows, **{name: getattr(rows, name)[late] for name in ("slots", "truth", "features", "baseline")})
    with pytest.raises(
        UsageError, match=r"search: expected at least 200 rows before and in each of 4 blocks of history, got 0 from 600 slots"
    ):
        check_folds(replace(sampled(), rows=few))
    with pytest.raises(UsageError, match=r"search: expected a region whose models are chains, got feature table 1; .*ledger upgrade"):
        check_folds(replace(sampled(), table=FIRST_TABLE))


def test_rows_that_were_sampled_once_are_fitted_as_in_a_training() -> None:
    """A fit after a search gives the bytes of a training with the same parameters, since the search changes no row."""
    before = fit_sampled(sampled(), threads=1)
    fold_loss(sampled(), Fold(FIRST_SLOT + 500, FIRST_SLOT + 550), AS_SHIPPED, 1)
    assert before == fit_sampled(sampled(), threads=1)
