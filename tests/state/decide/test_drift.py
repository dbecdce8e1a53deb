"""Drift: what the sums add up, which scores they read, and how often they err."""

from collections.abc import Sequence

import numpy as np
import pytest

from schemas.events.rides import Float64s
from schemas.records.records import ScoreRow, SlotScored
from state.decide.drift import ALLOWED, PARTS, REFERENCE_DAYS, SERIES, THRESHOLD, drifts_in, sums_of

DAY_SLOTS = 12
FIRST = 16_000 * DAY_SLOTS


def plain_sums(values: Sequence[float]) -> list[tuple[float, float]]:
    """One series, in plain numbers."""
    n = REFERENCE_DAYS * PARTS
    usual = [sum(values[part:n:PARTS]) / REFERENCE_DAYS for part in range(PARTS)]
    square = sum((values[at] - usual[at % PARTS]) ** 2 for at in range(n))
    wide = (square / (n - PARTS)) ** 0.5 * (1 + 1 / REFERENCE_DAYS) ** 0.5
    out, rise, fall = [(0.0, 0.0)] * n, 0.0, 0.0
    for at in range(n, len(values)):
        step = (values[at] - usual[at % PARTS]) / wide
        rise, fall = max(rise + step - ALLOWED, 0.0), max(fall - step - ALLOWED, 0.0)
        out.append((rise, fall))
    return out


def test_the_sums_are_those_of_plain_numbers() -> None:
    """Of several series at once, each is summed as alone."""
    values = np.random.default_rng(1).normal(0, 1, (3, 60)) + np.sin(np.arange(60) * np.pi / 2)
    rise, fall = sums_of(values)
    for k in range(3):
        assert plain_sums(values[k].tolist()) == [pytest.approx(pair) for pair in zip(rise[k], fall[k], strict=True)]


def test_what_is_not_known_neither_adds_nor_takes_away() -> None:
    """A part without a value leaves the sums as they are, and one that the reference hardly knows is not judged."""
    values = np.random.default_rng(2).normal(0, 1, (1, 44))
    values[0, 30], values[0, 31] = 20.0, np.nan
    values[0, 2:28:PARTS] = [np.nan, np.nan, np.nan, 0.0, 0.1, 0.2, 0.0]
    rise, _ = sums_of(values)
    assert 0.0 == rise[0, 30]
    assert rise[0, 30] == rise[0, 31]


def scores_of(values: Float64s, *, settled: bool = False) -> list[SlotScored]:
    """Scores whose log of rides over forecast rides is given per part: float64[n]."""
    part_slots = DAY_SLOTS // PARTS
    out = []
    for at, value in enumerate(values.tolist()):
        for slot in range(FIRST + at * part_slots, FIRST + (at + 1) * part_slots):
            truth = round(100_000 * np.exp(value))
            near, far = (
                ScoreRow(
                    horizon_min=h,
                    cells=50,
                    truth=truth * scale,
                    forecast_mean_milli=100_000_000,
                    abs_error_milli=0,
                    square_error_micro=0,
                    baseline_abs_error_milli=0,
                    baseline_square_error_micro=0,
                    covered=40,
                )
                for h, scale in ((15, 1), (60, 7))
            )
            out.append(SlotScored(region="nyc", measure="pickups", slot=slot, settled=settled, rows=(far, near)))
    return out


def test_a_drift_is_told_with_its_way_and_its_time() -> None:
    """A level that falls by a fifth after nine days is one drift, found within a day; the sentence says what was compared."""
    random = np.random.default_rng(3)
    values = random.normal(0, 0.02, 12 * PARTS)
    values[9 * PARTS :] -= 0.2
    today = FIRST // DAY_SLOTS + 12
    [drift] = drifts_in(scores_of(values), DAY_SLOTS, FIRST, today)
    assert (SERIES[0], True) == (drift.what, drift.sum < -THRESHOLD)
    assert 0 <= drift.part - (FIRST // DAY_SLOTS * PARTS + 9 * PARTS) < PARTS
    assert drift.sentence().startswith("rides against their forecast fell: the sum of its deviations from the same hours of 7 days before")
    assert [] == drifts_in(scores_of(values, settled=True), DAY_SLOTS, FIRST, today)
    assert [] == drifts_in(scores_of(values), DAY_SLOTS, FIRST, FIRST // DAY_SLOTS + 9)
    assert [] == drifts_in(scores_of(values), DAY_SLOTS, FIRST + 4 * DAY_SLOTS + 1, today)


# --- error rates -----------------------------------------------------------------------------------


def lingering(seed: int, trials: int, parts: int, correlation: float) -> Float64s:
    """Series whose noise is correlated from part to part, with hours that are always off: float64[trials, parts]."""
    random = np.random.default_rng(seed)
    noise = random.normal(0, 1, (trials, parts))
    for at in range(1, parts):
        noise[:, at] = correlation * noise[:, at - 1] + np.sqrt(1 - correlation**2) * noise[:, at]
    return noise + np.tile(random.normal(0, 1, (trials, PARTS)), parts // PARTS)


@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_no_drift_is_seldom_a_drift(correlation: float) -> None:
    """Of 750 regions without a drift, looked at every day for eight weeks in windows of 16 days, at most 5 % are said to drift."""
    window, days = 16, 56
    values = lingering(7, 2 * 750, (window + days) * PARTS, correlation)
    beyond = np.zeros(2 * 750, np.bool_)
    for day in range(days + 1):
        rise, fall = sums_of(values[:, day * PARTS : (day + window) * PARTS])
        beyond |= ((rise > THRESHOLD) | (fall > THRESHOLD)).any(axis=1)
    alarms = beyond.reshape(-1, 2).any(axis=1).mean()
    print(f"false alarms in eight weeks with a correlation of {correlation}: {alarms:.1%}")
    assert alarms <= 0.05


def test_a_drift_is_found_soon() -> None:
    """A shift of four standard deviations is found within two days in 80 of 100 series, one of three within five days in 95."""
    for shift, days, share in ((4.0, 2, 0.8), (3.0, 5, 0.95)):
        values = lingering(5, 1_000, 16 * PARTS, 0.3)
        values[:, 9 * PARTS :] += shift
        rise, _ = sums_of(values)
        found = (rise[:, 9 * PARTS : (9 + days) * PARTS] > THRESHOLD).any(axis=1).mean()
        print(f"shift of {shift} found within {days} days: {found:.1%}")
        assert found >= share
