"""The interval that may be looked at after every block: its formula, its limits, and its error rates."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from schemas.errors import UsageError
from state.decide.sequential import half_width, valid_interval


def log_bayes_factor(values: list[float], mean: float, effect_sd: float) -> float:
    """Of a normal effect of mean zero against none, by integration over the effect and the scale."""
    x = np.array(values) - mean
    n = len(x)
    log_sigma = np.linspace(-8.0, 8.0, 1601)  # the right Haar prior is flat in it
    sigma = np.exp(log_sigma)[:, None]
    effect = np.linspace(-40.0, 40.0, 4001)[None, :]
    squares = ((x**2).sum() - 2 * x.sum() * effect * sigma + n * (effect * sigma) ** 2) / sigma**2
    like = -n * np.log(sigma) - squares / 2
    prior = -(effect**2) / (2 * effect_sd**2) - np.log(effect_sd * np.sqrt(2 * np.pi))
    step = float(effect[0, 1] - effect[0, 0])
    null = -n * log_sigma - (x**2).sum() / sigma[:, 0] ** 2 / 2
    return float(np.logaddexp.reduce((like + prior).ravel()) + np.log(step) - np.logaddexp.reduce(null))


@pytest.mark.parametrize(("values", "effect_sd"), [([0.2, 1.1, 0.7, -0.1, 0.6], 1.0), ([2.0, 2.2, 1.7, 2.1, 1.9, 2.4, 2.2], 2.0)])
def test_at_its_ends_the_bayes_factor_is_the_threshold(values: list[float], effect_sd: float) -> None:
    """Integrated numerically, the Bayes factor of each end of the interval against no effect there is 1 / error rate."""
    found = valid_interval(np.array(values), error_rate=0.05, effect_sd=effect_sd)
    for end in (found.lower, found.upper):
        assert np.log(20.0) == pytest.approx(log_bayes_factor(values, end, effect_sd), abs=0.01)
    assert float(np.mean(values)) == pytest.approx((found.lower + found.upper) / 2)


def test_few_values_say_nothing() -> None:
    """With no value, one, or so few that the Bayes factor cannot reach the threshold, the interval is unbounded."""
    for values in ([], [1.0], [1.0, 1.0], [1.0, 2.0, 3.0]):
        found = valid_interval(np.array(values), error_rate=0.05, effect_sd=0.5)
        assert (-np.inf, np.inf, len(values)) == (found.lower, found.upper, found.observations)


@pytest.mark.parametrize(("error_rate", "effect_sd"), [(0.0, 1.0), (1.0, 1.0), (0.05, 0.0)])
def test_numbers_out_of_range_are_refused(error_rate: float, effect_sd: float) -> None:
    """An error rate outside (0, 1) or an effect that is not above 0 is refused with both values."""
    with pytest.raises(UsageError, match=rf"expected an error rate in .* got {error_rate:g} and {effect_sd:g}"):
        half_width(5, 1.0, error_rate=error_rate, effect_sd=effect_sd)


@given(st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=30), st.floats(0.01, 100.0), st.floats(-5.0, 5.0))
def test_it_moves_and_stretches_with_the_values(values: list[float], scale: float, shift: float) -> None:
    """The interval of values that are scaled and shifted is the interval, scaled and shifted."""
    x = np.array(values)
    one = valid_interval(x, error_rate=0.05, effect_sd=1.0)
    other = valid_interval(x * scale + shift, error_rate=0.05, effect_sd=1.0)
    if np.isfinite(one.upper):
        assert one.upper * scale + shift == pytest.approx(other.upper, rel=1e-6, abs=1e-6)
    assert np.isfinite(one.upper) == np.isfinite(other.upper)


def test_it_gets_narrower_and_a_smaller_error_rate_makes_it_wider() -> None:
    """At equal deviation more observations narrow it, and more certainty widens it."""
    widths = [half_width(n, 1.0, error_rate=0.05, effect_sd=2.0) for n in (4, 5, 7, 10, 14, 30, 100)]
    assert sorted(widths, reverse=True) == widths
    assert half_width(7, 1.0, error_rate=0.01, effect_sd=2.0) > half_width(7, 1.0, error_rate=0.05, effect_sd=2.0)


def test_looking_after_every_block_stays_within_the_error_rate() -> None:
    """Of 4,000 series of 60 values, at most 5 % ever have an interval without the true mean, and a usual interval more than 20 %."""
    x = np.random.default_rng(7).normal(0.0, 1.0, (4_000, 60))
    n = np.arange(1, 61)
    mean = np.cumsum(x, axis=1) / n
    deviation = np.sqrt(np.maximum(np.cumsum(x**2, axis=1) - n * mean**2, 0.0) / np.maximum(n - 1, 1))
    widths = np.array([np.inf, *(half_width(int(k), 1.0, error_rate=0.05, effect_sd=2.0) for k in n[1:])])
    with np.errstate(invalid="ignore"):
        missed = (np.abs(mean) > widths * deviation)[:, 1:].any(axis=1).mean()
    usual = (np.abs(mean) > 2.0 * deviation / np.sqrt(n))[:, 4:].any(axis=1).mean()
    assert missed <= 0.05
    assert usual > 0.2
