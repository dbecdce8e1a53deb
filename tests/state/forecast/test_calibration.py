"""PIT and CRPS: uniform where the distributions are right, exact against other people's code, the same for everyone."""

import hashlib

import numpy as np
import pytest
import scoringrules  # type: ignore[import-untyped]
from hypothesis import given, settings, strategies as st
from scipy import stats  # type: ignore[import-untyped]

from schemas.events.rides import Float64s
from state.forecast.calibration import PIT_BINS, Uniforms, covered, crps, histogram, pit, poisson_error
from state.models.predictive import NOMINAL, Predictive


def law_of(means: Float64s, dispersion: float, levels: tuple[float, float, float] = NOMINAL) -> Predictive:
    """Distributions with one dispersion."""
    return Predictive(means, np.full(len(means), dispersion), np.tile(np.array(levels), (len(means), 1)))


@settings(max_examples=12, deadline=None)
@given(st.sampled_from((0.01, 0.3, 5.0, 90.0)), st.sampled_from((0.02, 0.4, 3.0)), st.integers(0, 10**6))
def test_the_pit_of_right_distributions_is_uniform(mean: float, dispersion: float, seed: int) -> None:
    """Counts drawn from what was said fill every twentieth of [0, 1] alike, from a ride a week to ninety at once."""
    rng, n = np.random.default_rng(seed), 40_000
    law = law_of(np.full(n, mean), dispersion)
    counts = rng.negative_binomial(1 / dispersion, 1 / (1 + dispersion * mean), n).astype(np.int64)
    pits = pit(law, counts, Uniforms("town", np.arange(n).astype(np.uint64)).at(seed, 15))
    bins = histogram(pits, np.zeros(n, np.int64), 1)[0]
    assert n == bins.sum()
    assert float(stats.chisquare(bins).pvalue) > 1e-6
    assert 0.8 == pytest.approx(covered(pits).mean(), abs=0.012)


def test_too_wide_a_distribution_covers_too_much() -> None:
    """Poisson counts under a dispersion of 1 are covered far more often than four times in five."""
    rng = np.random.default_rng(4)
    counts = rng.poisson(20.0, 5_000).astype(np.int64)
    pits = pit(law_of(np.full(5_000, 20.0), 1.0), counts, rng.random(5_000))
    assert covered(pits).mean() > 0.97


@settings(max_examples=40, deadline=None)
@given(st.floats(0.001, 300.0), st.sampled_from((0.02, 0.4, 3.0)), st.integers(0, 700))
def test_crps_of_a_negative_binomial_is_that_of_scoringrules(mean: float, dispersion: float, count: int) -> None:
    """The sum over counts equals the closed form of another package."""
    found = crps(law_of(np.array([mean]), dispersion), np.array([count]))[0]
    assert float(scoringrules.crps_negbinom(count, 1 / dispersion, 1 / (1 + dispersion * mean))) == pytest.approx(found, rel=1e-3, abs=1e-3)


def test_crps_of_a_recalibrated_distribution_is_its_sum() -> None:
    """It is the distribution served that is judged; each cell's score depends on no other cell."""
    levels = (0.05, 0.6, 0.95)
    means, counts = np.array([0.01, 0.4, 6.0, 30.0, 2_000.0]), np.array([1, 0, 9, 12, 1_700])
    found = crps(law_of(means, 0.1, levels), counts)
    for mean, count, score in zip(means.tolist(), counts.tolist(), found.tolist(), strict=True):
        k = np.arange(20_000)
        reached = np.interp(stats.nbinom(10, 1 / (1 + 0.1 * mean)).cdf(k), [0, *levels, 1], [0, *NOMINAL, 1])
        assert ((reached - (k >= count)) ** 2).sum() == pytest.approx(score, rel=1e-4, abs=1e-6)


def test_a_forecast_of_nothing_scores_the_absolute_error() -> None:
    """A cell without a forecast is certain of zero."""
    law = law_of(np.zeros(3), 0.0)
    assert [0.0, 2.0, 400.0] == crps(law, np.array([0, 2, 400])).tolist()
    assert [0.25, 1.0, 1.0] == pit(law, np.array([0, 2, 400]), np.full(3, 0.25)).tolist()


@given(st.text(max_size=8), st.integers(0, 2**64 - 1), st.integers(-(2**40), 2**40), st.integers(1, 10_080))
def test_v_is_what_the_definition_says(region: str, cell: int, slot: int, horizon_min: int) -> None:
    """The bytes that are hashed, and the number made of them, written out."""
    said = region.encode() + b"\0" + cell.to_bytes(8, "big") + slot.to_bytes(8, "big", signed=True) + horizon_min.to_bytes(4, "big")
    first = int.from_bytes(hashlib.sha256(said).digest()[:8], "big")
    found = Uniforms(region, np.array([7, cell], np.uint64)).at(slot, horizon_min)
    assert first // 2**11 / 2**53 == found[1]
    assert 0.0 <= found[1] < 1.0


def test_histograms_are_per_group() -> None:
    """Each PIT is in its group's row; 1 belongs to the last twentieth."""
    found = histogram(np.array([0.0, 0.51, 1.0, 0.99]), np.array([0, 2, 2, 2]), 3)
    assert (3, PIT_BINS) == found.shape
    assert [1, 1, 2] == [found[0, 0], found[2, 10], found[2, 19]]
    assert 4 == found.sum()


@pytest.mark.parametrize("mean", [0.01, 0.69, 0.7, 3.3, 40.0])
def test_the_noise_floor_is_the_error_of_poisson_counts(mean: float) -> None:
    """The expected distance of a Poisson count from its median, summed plainly."""
    k = np.arange(400)
    plain = (np.abs(k - stats.poisson(mean).median()) * stats.poisson(mean).pmf(k)).sum()
    assert plain == pytest.approx(poisson_error(np.array([mean]))[0], rel=1e-9)
