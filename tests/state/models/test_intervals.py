"""Quantiles by thresholds against SciPy's negative binomial, one at a time."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats  # type: ignore[import-untyped]

from state.models.intervals import LOWER_MILLI, MEDIAN_MILLI, TABLE, UPPER_MILLI, dispersion_of, quantiles, thresholds


@given(st.floats(1e-4, 300), st.sampled_from((0, 20, 150, 1000, 5000)), st.sampled_from((LOWER_MILLI, MEDIAN_MILLI, UPPER_MILLI)))
def test_quantiles_equal_the_slow_way(mean: float, dispersion_milli: int, probability_milli: int) -> None:
    """The least count whose distribution function reaches the probability; at a threshold either neighbour is right."""
    found = quantiles(np.array([mean]), dispersion_milli, probability_milli)[0]
    if dispersion_milli:
        size = 1000 / dispersion_milli
        law = stats.nbinom(size, size / (size + mean))
    else:
        law = stats.poisson(mean)
    p = probability_milli / 1000
    slack = 1e-9 if found < TABLE else 0.005
    assert law.cdf(found) >= p - slack
    assert found == 0 or law.cdf(found - 1) < p + slack


def test_large_means_leave_the_table_without_a_jump() -> None:
    """Beyond the table the quantiles still rise with the mean."""
    means = np.linspace(300.0, 900.0, 601)
    for probability in (LOWER_MILLI, MEDIAN_MILLI, UPPER_MILLI):
        found = quantiles(means, 10, probability)
        assert (np.diff(found) >= -1).all()
    assert 897 == pytest.approx(quantiles(np.array([900.0]), 10, MEDIAN_MILLI)[0], abs=1)


@pytest.mark.parametrize("dispersion_milli", [0, 100, 2000])
def test_thresholds_ascend(dispersion_milli: int) -> None:
    """A quantile never falls when the mean rises."""
    assert (np.diff(thresholds(UPPER_MILLI, dispersion_milli)) > 0).all()


def test_dispersion_is_found_again() -> None:
    """Counts drawn with dispersion 0.3 are measured to have it; Poisson counts to have none."""
    rng = np.random.default_rng(5)
    means = rng.uniform(1.0, 20.0, 60_000)
    size = 1 / 0.3
    assert 300 == pytest.approx(dispersion_of(rng.negative_binomial(size, size / (size + means)).astype(float), means), abs=12)
    assert 8 > dispersion_of(rng.poisson(means).astype(float), means)
    assert 0 == dispersion_of(np.zeros(3), np.zeros(3))


@pytest.mark.parametrize(("truth", "milli"), [(0.0, 0), (2.0, 0), (4.0, 8_000), (5.0, 15_000), (10.0, 20_000)])
def test_dispersion_lies_between_0_and_20(truth: float, milli: int) -> None:
    """Of one count with mean 1 it is the squared error less the mean, up to the bound and not below nothing."""
    assert milli == dispersion_of(np.array([truth]), np.array([1.0]))
