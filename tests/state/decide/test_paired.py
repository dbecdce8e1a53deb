"""Paired losses: what one issue adds, which blocks count, and that keeping them changes nothing."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.errors import ContractError
from state.decide.paired import ABSOLUTE, CHALLENGER, CHAMPION, SQUARE, Pair, PairedLosses, share_inside
from tests.state.decide.trials import BLOCK, HORIZONS, columns_of, losses_of

CELLS = (1, 2, 3)
CHAMPIONS = columns_of(CELLS, (2.0, 0.5, 0.1), (2, 0, 0), baseline=(1.0, 0.25, 0.1))
CHALLENGERS = columns_of(CELLS, (3.0, 0.25, 0.2), (3, 0, 0), baseline=(9.0, 9.0, 9.0))
TRUTH = np.array([4, 1, 0])


def added(block_slots: int = BLOCK) -> PairedLosses:
    """One issue at slot 600, scored at 30 min."""
    losses = PairedLosses(HORIZONS, 5, block_slots)
    losses.add(600, 1, Pair(CHAMPIONS, CHALLENGERS), TRUTH)
    return losses


def test_one_issue_by_hand() -> None:
    """Squared errors of the means, absolute errors of the medians, rides and means, each in the band of the champion's profile."""
    losses = added()
    assert [2] == losses.blocks.tolist()
    assert [[0, 1, 0]] == losses.issues.tolist()
    assert [4.0, 0.25, 0.01] == pytest.approx(losses.losses[0, CHAMPION, SQUARE, 1].tolist())
    assert [1.0, 0.5625, 0.04] == pytest.approx(losses.losses[0, CHALLENGER, SQUARE, 1].tolist())
    assert [2.0, 1.0, 0.0] == losses.losses[0, CHAMPION, ABSOLUTE, 1].tolist()
    assert [1.0, 1.0, 0.0] == losses.losses[0, CHALLENGER, ABSOLUTE, 1].tolist()
    assert [4.0, 1.0, 0.0] == losses.truth[0, 1].tolist()
    assert [1.0, 1.0, 1.0] == losses.pairs[0, 1].tolist()
    assert [[2.0, 0.5, 0.1], [3.0, 0.25, 0.2]] == losses.means[0, :, 1].tolist()
    assert 0.0 == losses.losses[0, :, :, [0, 2]].sum()


def test_different_cells_are_refused() -> None:
    """Losses over different cells cannot be compared, so both counts of cells are said."""
    with pytest.raises(ContractError, match="slot 7: expected forecasts of the champion's 3 cells, got 2 cells"):
        PairedLosses(HORIZONS, 5, BLOCK).add(7, 0, Pair(CHAMPIONS, columns_of((1, 2), (1.0, 1.0), (1, 1))), TRUTH)


def test_blocks_may_come_in_any_order() -> None:
    """A block whose last windows end after the first of the next keeps its own row."""
    losses = PairedLosses(HORIZONS, 5, BLOCK)
    for slot in (900, 5, 300, 901, 6):
        losses.add(slot, 0, Pair(CHAMPIONS, CHALLENGERS), TRUTH)
    assert [0, 1, 3] == losses.blocks.tolist()
    assert [2, 1, 2] == losses.issues[:, 0].tolist()


def test_an_issue_without_cells_counts_as_an_issue() -> None:
    """At night a young region may have no cell at all: the block is whole and has no loss."""
    nothing = columns_of((), (), ())
    losses = PairedLosses(HORIZONS, 5, 1)
    for i in range(3):
        losses.add(4, i, Pair(nothing, nothing), np.empty(0, np.int64))
    assert [0] == losses.whole().tolist()
    assert [0.0] == losses.differences(losses.whole()).tolist()


def test_only_whole_blocks_that_have_ended_count() -> None:
    """A block is left out if a tenth of its issues was not scored at some horizon, or if it ends after the slot asked for."""
    losses = losses_of([1.0, 1.0, 1.0])
    losses.issues[1, 2] = 259
    end = int(losses.blocks[2] + 1) * BLOCK
    assert [0, 2] == losses.whole().tolist()
    assert [0, 2] == losses.whole(end).tolist()
    assert [0] == losses.whole(end - 1).tolist()
    losses.issues[1, 2] = 260  # 0.9 of 288
    assert [0, 1, 2] == losses.whole().tolist()


def test_the_difference_is_the_mean_log_ratio_of_both_losses_and_all_horizons() -> None:
    """All cells are added up before the ratio, so that busy cells weigh most; a loss that is zero for both is left out."""
    losses = losses_of([1.0, 1.1])
    losses.losses[0, CHALLENGER, SQUARE, 0] = (50.0, 10.0, 1.0)
    expected = np.log(61.0 / 111.0) / 6
    assert [expected, np.log(1.1)] == pytest.approx(losses.differences(np.array([0, 1])).tolist())
    losses.losses[0, :, ABSOLUTE] = 0.0
    assert [2 * expected] == pytest.approx(losses.differences(np.array([0])).tolist())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), st.integers(0, 5)), max_size=30), st.integers(0, 30))
def test_kept_sums_go_on(issues: list[tuple[int, int, int]], cut: int) -> None:
    """Kept and restored after any number of issues, the sums end the same as without."""
    whole, parts = PairedLosses(HORIZONS, 5, 10), PairedLosses(HORIZONS, 5, 10)
    for number, (slot, i, rides) in enumerate(issues):
        if number == cut:
            kept = parts.to_arrays()
            parts = PairedLosses(HORIZONS, 5, 10)
            parts.from_arrays(kept)
        for losses in (whole, parts):
            losses.add(slot, i, Pair(CHAMPIONS, CHALLENGERS), TRUTH + rides)
    assert {name: array.tolist() for name, array in whole.to_arrays().items()} == {
        name: array.tolist() for name, array in parts.to_arrays().items()
    }


def test_sums_of_other_horizons_are_refused() -> None:
    """Sums that were kept for two horizons are not taken for three."""
    with pytest.raises(ContractError, match=r"issues: expected shape"):
        added().from_arrays(PairedLosses((15, 30), 5, BLOCK).to_arrays())


@pytest.mark.parametrize("dispersion", [0.0, 0.3])
def test_the_share_inside_is_the_mean_of_randomised_values(dispersion: float) -> None:
    """It is the share of u = F(y - 1) + v (F(y) - F(y - 1)) in [0.1, 0.9] over evenly spread v, with F of another library."""
    from scipy import stats  # type: ignore[import-untyped]

    mean = 1.7
    law = stats.poisson(mean) if dispersion == 0 else stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean))
    counts = np.arange(0, 12)
    found = share_inside(counts, np.full(12, mean), np.full(12, dispersion))
    v = (np.arange(20_000) + 0.5) / 20_000
    for count, share in zip(counts, found, strict=True):
        u = law.cdf(count - 1) + v * (law.cdf(count) - law.cdf(count - 1))
        assert float(((u >= 0.1) & (u <= 0.9)).mean()) == pytest.approx(float(share), abs=1e-3)
    assert 0.8 == pytest.approx(
        float((law.pmf(np.arange(0, 60)) * share_inside(np.arange(0, 60), np.full(60, mean), np.full(60, dispersion))).sum())
    )
