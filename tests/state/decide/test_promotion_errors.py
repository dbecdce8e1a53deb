"""How often trials end wrongly: simulated challengers, looked at after every day, with the daily noise measured in New York."""

import numpy as np
import pytest

from state.decide.promotion import AT_BOUND, Outcome, PromotionRules, judge
from state.decide.sequential import half_width
from tests.state.decide.trials import losses_of, trial_of

RULES = PromotionRules()
TRIALS = 200
# Log of the daily relative loss, in 1/10000, of two boosters against a third that differs only in its seeds: New York, trained on
# 1 to 14 April 2014, 15 to 29 April. docs/adr/0030 says how it was measured.
MEASURED = (
    (51, 47, -2, -20, 23, -2, -37, -36, -54, -23, 15, -188, -57, -125, 217),
    (-85, -7, -23, -4, -11, -24, 29, -49, -64, -109, 170, 233, -8, -24, -27),
)
DEVIATION = 0.009  # of a day, the same in both
SEED_EFFECT = 0.0015  # lasting difference between two seeds; the measured means, -0.0013 and 0, have a standard error of 0.0023


def promoted_by(rng: np.random.Generator, gain: float, days: int, trials: int = TRIALS, *, correlation: float = 0.0) -> np.ndarray:
    """Day of the promotion of each simulated challenger, or 0: int64[trials]; as `judge` decides by the paired loss."""
    noise = rng.standard_t(4, (trials, days)) / np.sqrt(2.0) * DEVIATION  # heavy tails, as measured
    for day in range(1, days):
        noise[:, day] = correlation * noise[:, day - 1] + np.sqrt(1 - correlation**2) * noise[:, day]
    return first_promotion(np.log1p(-gain) + rng.normal(0.0, SEED_EFFECT, (trials, 1)) + noise)


def first_promotion(x: np.ndarray) -> np.ndarray:
    """Day on which the interval of each row's first days lies below the least gain, if it did not lie above zero before."""
    n = np.arange(1, x.shape[1] + 1)
    bound = np.log1p(RULES.largest)
    y = np.clip(x, -bound, bound)
    mean = np.cumsum(y, axis=1) / n
    variance = np.maximum(np.cumsum(y**2, axis=1) - n * mean**2, 0.0) / np.maximum(n - 1, 1)
    at_bound = np.cumsum(np.abs(x) >= bound, axis=1) / n
    deviation = np.sqrt(variance + at_bound * (AT_BOUND * bound) ** 2)
    width = np.array([np.inf, *(half_width(int(k), 1.0, error_rate=RULES.error_rate, effect_sd=RULES.effect_sd) for k in n[1:])])
    with np.errstate(invalid="ignore"):
        half = np.where(np.isfinite(width), width * deviation, np.inf)
    better = (mean + half < np.log1p(-RULES.least_gain)) & (n >= RULES.least_blocks)
    worse = np.cumsum(mean - half > 0.0, axis=1) > 0
    found = better & ~worse
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)


@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_a_challenger_that_differs_in_its_seed_is_hardly_ever_promoted(correlation: float) -> None:
    """At most 5 % of 200 trials over the longest time promote it, also if days are correlated."""
    days = promoted_by(np.random.default_rng(1), 0.0, RULES.most_blocks, correlation=correlation)
    assert 0.05 * TRIALS >= np.count_nonzero(days)


@pytest.mark.parametrize("deviation", [0.03, 0.1, 1.0])
def test_noise_far_beyond_the_bound_promotes_nothing(deviation: float) -> None:
    """In a small town days differ by more than the bound, so that they are tosses of a coin; still at most 5 % are promoted."""
    rows = np.random.default_rng(5).normal(0.0, deviation, (10 * TRIALS, RULES.most_blocks))
    assert 0.05 * 10 * TRIALS >= np.count_nonzero(first_promotion(rows))


def test_a_large_uneven_gain_is_promoted_within_a_week() -> None:
    """Gains of 20 to 60 % that differ from day to day, as after a shift, are promoted on the sixth day in every trial."""
    rows = np.log1p(-np.random.default_rng(6).uniform(0.2, 0.6, (TRIALS, 7)))
    assert [6] == np.unique(first_promotion(rows)).tolist()


def test_looking_once_a_day_with_a_usual_interval_would_promote_it() -> None:
    """The same trials with an interval for one look promote more than 5 %, so the simulation can tell them apart."""
    rng = np.random.default_rng(1)
    x = rng.standard_t(4, (TRIALS, RULES.most_blocks)) / np.sqrt(2.0) * DEVIATION + rng.normal(0.0, SEED_EFFECT, (TRIALS, 1))
    n = np.arange(1, RULES.most_blocks + 1)
    mean = np.cumsum(x, axis=1) / n
    deviation = np.sqrt(np.maximum(np.cumsum(x**2, axis=1) - n * mean**2, 0.0) / np.maximum(n - 1, 1))
    assert 0.05 * TRIALS < np.count_nonzero((mean + 1.96 * deviation / np.sqrt(n) < 0.0)[:, 2:].any(axis=1))


def test_a_challenger_that_is_three_percent_better_is_promoted_within_two_weeks() -> None:
    """At least 80 % of 200 trials promote it by their fourteenth day, most within eight days."""
    days = promoted_by(np.random.default_rng(2), 0.03, 14)
    assert 0.8 * TRIALS <= np.count_nonzero(days)
    assert 8 >= np.median(days[days > 0])


def test_the_measured_days_in_any_order_promote_nothing() -> None:
    """Resampled in runs of days with a mean length of two, the measured differences are promoted in at most 5 % of 200 trials."""
    rng = np.random.default_rng(3)
    measured = np.array(MEASURED) / 10_000
    pair = rng.integers(0, len(measured), TRIALS)
    at = rng.integers(0, measured.shape[1], TRIALS)
    rows = np.empty((TRIALS, RULES.most_blocks))
    for day in range(RULES.most_blocks):  # D. Politis and J. Romano (1994), The stationary bootstrap
        rows[:, day] = measured[pair, at]
        at = np.where(rng.random(TRIALS) < 0.5, rng.integers(0, measured.shape[1], TRIALS), (at + 1) % measured.shape[1])
    assert 0.05 * TRIALS >= np.count_nonzero(first_promotion(rows))
    assert 0.8 * TRIALS <= np.count_nonzero(first_promotion(rows[:, :14] + np.log(0.97)))
    assert pytest.approx(DEVIATION, rel=0.05) == float(np.std(measured, axis=1, ddof=1).mean())


def test_the_vectorised_trials_decide_as_the_gates_do() -> None:
    """For a few challengers the first day on which `judge` promotes is the one of the arrays."""
    rng = np.random.default_rng(4)
    rows = np.log(0.99) + rng.normal(0.0, DEVIATION, (12, 14))
    rows[:4] *= 5.0
    expected = first_promotion(rows)
    found = []
    for row in rows:
        outcomes = [judge(trial_of(losses_of(np.exp(row[:day]).tolist())), RULES).outcome for day in range(1, 15)]
        ended = next((day for day, outcome in enumerate(outcomes, 1) if outcome is not Outcome.WAIT), 0)
        found.append(ended if ended and outcomes[ended - 1] is Outcome.PROMOTE else 0)
    assert expected.tolist() == found
    assert 0 < np.count_nonzero(expected) < 12
