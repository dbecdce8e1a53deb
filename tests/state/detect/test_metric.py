"""Anomalies of one metric: laws of the fold, against a plain version, and what must be seen."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.errors import ContractError
from schemas.events.rides import Float64s
from state.detect.metric import RARITY, REST_DAYS, Kind, MetricDetector, MetricStep
from tests.state.detect import metric_plain

DAY = 24
WEEK = 7 * DAY
KNOWN = 2 * WEEK  # steps until something is expected
RARE = 0.0003  # in these series nothing is as rare by chance


def usual(weeks: int, seed: int, noise: float = 0.05) -> Float64s:
    """Hourly counts with a profile of day and week, and independent noise."""
    rng, hour = np.random.default_rng(seed), np.arange(weeks * WEEK)
    rate = 500.0 * (1.5 - np.cos(2 * np.pi * hour / DAY)) * np.where(hour // DAY % 7 >= 5, 0.7, 1.0)
    return np.round(rate * np.exp(noise * rng.standard_normal(len(hour))))


def steps_of(values: Float64s, detector: MetricDetector | None = None) -> list[MetricStep]:
    """What is said of each step."""
    detector = MetricDetector(DAY, rarity=RARE) if detector is None else detector
    return [detector.see(float(value)) for value in values]


def detected(steps: list[MetricStep]) -> list[int]:
    """The steps at which something is detected."""
    return [i for i, step in enumerate(steps) if step.detected]


counts = st.lists(st.one_of(st.integers(0, 400).map(float), st.just(math.nan)), min_size=60, max_size=90)


@settings(max_examples=30)
@given(counts, st.integers(1, 59))
def test_a_restored_detector_goes_on(values: list[float], cut: int) -> None:
    """A detector that is restored from its arrays says what the one that went on says, and neither shares memory with the other."""
    first = MetricDetector(2)
    for value in values[:cut]:
        first.see(value)
    second = MetricDetector(2)
    second.restore(first.arrays())
    assert repr([first.see(value) for value in values[cut:]]) == repr([second.see(value) for value in values[cut:]])
    for name, array in first.arrays().items():
        assert np.array_equal(array, second.arrays()[name], equal_nan=True)


@settings(max_examples=30)
@given(counts, st.integers(1, 59))
def test_no_look_ahead(values: list[float], cut: int) -> None:
    """What is said of a step does not depend on later ones; scores are in [0, 1)."""
    every, part = ([one.see(value) for value in some] for one, some in ((MetricDetector(2), values), (MetricDetector(2), values[:cut])))
    assert repr(every[:cut]) == repr(part)
    assert all(0.0 <= min(step.score, step.single, step.sustained) <= max(step.score, step.single, step.sustained) <= 1.0 for step in every)


@settings(max_examples=20)
@given(counts)
def test_as_the_plain_version(values: list[float]) -> None:
    """The scores are those of a version that computes every step from all values before it."""
    detector = MetricDetector(2)
    assert metric_plain.scores_of(values, 2) == pytest.approx([detector.see(value).score for value in values], abs=1e-9)


def test_as_the_plain_version_at_an_anomaly() -> None:
    """So are those of a longer series with an anomaly and a gap."""
    values = usual(12, 3)[::6].tolist()
    values[4 * 80 : 4 * 80 + 3] = [20.0, 10.0, math.nan]
    values[2 * 28 + 5] = values[3 * 28 + 5] = 1.0  # at the same time of two early weeks
    values[230:240] = [math.nan] * 10  # in the ninth week, where the first one was
    detector = MetricDetector(4)
    seen = [detector.see(value).score for value in values]
    assert metric_plain.scores_of(values, 4) == pytest.approx(seen, abs=1e-9)
    assert max(seen[200:]) == max(seen[4 * 80 : 4 * 80 + 2])


@settings(max_examples=20)
@given(st.integers(-6, 6), st.integers(0, 2**32 - 1))
def test_reals_of_another_unit(power: int, seed: int) -> None:
    """Real values in another unit, a power of two, have exactly the same scores."""
    values = np.random.default_rng(seed).standard_normal(40 * 7)
    one, other = (MetricDetector(8, Kind.REAL) for _ in range(2))
    for value in values:
        left, right = one.see(float(value)), other.see(float(value) * 2.0**power)
        assert (left.score, left.detected) == (right.score, right.detected)


@pytest.mark.parametrize("factor", [0.4, 2.5])
@pytest.mark.parametrize("hours", [1, 12])
def test_an_anomaly_is_seen_at_once(factor: float, hours: int) -> None:
    """Much more or much less than usual is detected at its first step, once, and nothing else is."""
    values, start = usual(8, 1), 6 * WEEK + 30
    values[start : start + hours] = np.round(values[start : start + hours] * factor)
    assert [start] == detected(steps_of(values))


def test_a_moderate_change_is_seen_by_its_window() -> None:
    """A change that no step shows alone is detected within the short window."""
    values, start = usual(8, 14), 6 * WEEK + 30
    values[start:] = np.round(values[start:] * 1.25)
    steps = steps_of(values)
    [found, *_] = detected(steps)
    assert start < found < start + 6
    assert steps[found].sustained > steps[found].single
    assert max(step.single for step in steps[start : found + 1]) < 1.0 - RARE / 2.0


def test_a_lasting_change_becomes_usual() -> None:
    """Two weeks after a lasting change of level nothing is detected, and the expected value follows to within 7 %."""
    values = usual(12, 14)
    values[6 * WEEK :] = np.round(values[6 * WEEK :] * 1.6)
    steps = steps_of(values)
    assert detected(steps)[0] == 6 * WEEK
    assert all(step < 8 * WEEK for step in detected(steps))
    later = slice(9 * WEEK, None)
    assert 1.0 == pytest.approx(np.median([step.usual for step in steps[later]] / values[later]), abs=0.07)


def test_one_wild_day_is_not_learned() -> None:
    """The week after a day without any ride is as usual, and so is the same day of later weeks."""
    values = usual(12, 5)
    values[6 * WEEK : 6 * WEEK + DAY] = 0.0
    found = detected(steps_of(values))
    assert found == [6 * WEEK]


def test_gaps_say_nothing() -> None:
    """Steps without a value have no score, also days of them, and what comes after is not unusual."""
    values = usual(9, 6)
    values[5 * WEEK + 20 : 5 * WEEK + 70] = math.nan
    values[::13] = math.nan
    steps = steps_of(values)
    assert [] == detected(steps)
    assert {0.0} == {step.score for step, value in zip(steps, values, strict=True) if math.isnan(value)}


def test_nothing_is_expected_in_the_first_two_weeks() -> None:
    """The first two weeks have no score, whatever comes; the first step after them has one."""
    steps = steps_of(usual(3, 7))
    assert {0.0} == {step.score for step in steps[:KNOWN]}
    assert all(math.isnan(step.usual) for step in steps[:KNOWN])
    assert not math.isnan(steps[KNOWN].usual)


def test_the_tail_is_calibrated() -> None:
    """Without an anomaly a rare score is at most half as frequent again as it says, and three times in the first two weeks with one."""
    scores = np.array([[step.score for step in steps_of(usual(12, seed))[KNOWN:]] for seed in range(20, 28)])
    for share in (0.05, 0.02, 0.01, RARITY):
        assert share / 2 < np.mean(scores >= 1.0 - share) < share * 1.5
        assert np.mean(scores[:, : 2 * WEEK] >= 1.0 - share) < share * 3


def test_rest_after_a_detection() -> None:
    """While something lasts it is detected again after three days of rest, and not before."""
    values = usual(9, 8)
    values[6 * WEEK :] = 1.0
    found = detected(steps_of(values))
    assert REST_DAYS * DAY == found[1] - found[0]
    everything = steps_of(values, MetricDetector(DAY, rest_days=0.0))
    assert all(step.detected == (step.score >= 1.0 - RARITY) for step in everything)


def test_memory_does_not_grow() -> None:
    """The arrays are as large after twenty weeks as before the first step."""
    detector = MetricDetector(4)
    before = {name: array.shape for name, array in detector.arrays().items()}
    for value in usual(20, 9)[::6]:
        detector.see(float(value))
    assert before == {name: array.shape for name, array in detector.arrays().items()}


@pytest.mark.parametrize("value", [math.inf, -math.inf, -1.0])
def test_what_is_no_count_is_refused(value: float) -> None:
    """Infinite values and negative counts raise, and name the step."""
    detector = MetricDetector(24)
    detector.see(1.0)
    with pytest.raises(ContractError, match=r"expected a finite count, got .* at step 1"):
        detector.see(value)


def test_bad_arguments_are_refused() -> None:
    """A metric without steps, a rarity that is no probability, and the state of another metric raise."""
    with pytest.raises(ContractError, match="at least 1 step a day, got 0"):
        MetricDetector(0)
    with pytest.raises(ContractError, match=r"rarity between 0 and 1, got 1\.5"):
        MetricDetector(24, rarity=1.5)
    with pytest.raises(ContractError, match=r"expected a state of shape \(168, 8\), got \(14, 8\)"):
        MetricDetector(24).restore(MetricDetector(2).arrays())
