"""When a training is due: schedule, drift and loss, within cooldown and budget."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, strategies as st

from schemas.errors import UsageError
from schemas.records.records import ScoreRow, SlotScored
from state.decide.retraining import DayScore, History, RetrainingRules, Trigger, day_scores, due, may_promote, risen

RULES = RetrainingRules()
USUAL = [DayScore(day, 40.0 + day % 3, 80.0, 100.0, 100.0 + day % 2) for day in range(14)]


def after(*recent: DayScore) -> list[DayScore]:
    """The usual days and some more."""
    return [*USUAL, *(dataclasses.replace(day, day=14 + at) for at, day in enumerate(recent))]


def history(**changes: object) -> History:
    """A quiet history on its 17th day, trained five days ago."""
    plain = History(days=after(USUAL[0], USUAL[1]), today=16, trained_day=11, trainings=0, promotions=0)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]  # fields by name


BAD = dataclasses.replace(USUAL[0], absolute=60.0)


@pytest.mark.parametrize(
    ("changes", "trigger", "words"),
    [
        ({}, None, ""),
        ({"trained_day": 10}, None, ""),
        ({"trained_day": 9}, Trigger.SCHEDULE, "7 days since the data of the newest model ended; every 7 days"),
        ({"trained_day": None}, Trigger.SCHEDULE, "there is no model yet; every 7 days"),
        ({"drift": ("levels moved", "more")}, Trigger.DRIFT, "levels moved"),
        ({"days": after(BAD, BAD)}, Trigger.LOSS, "% above its mean of 14 days"),
        ({"days": after(BAD, BAD), "trained_day": 15}, None, ""),
        ({"days": after(BAD, BAD), "trained_day": 14}, Trigger.LOSS, "in each of the last 2 days"),
        ({"drift": ("levels moved",), "trained_day": 15}, None, ""),
        ({"trained_day": 9, "trainings": 3}, None, ""),
        ({"trained_day": 9, "trainings": 2}, Trigger.SCHEDULE, "7 days"),
    ],
)
def test_rules_have_an_order(changes: dict[str, object], trigger: Trigger | None, words: str) -> None:
    """Budget, then schedule, then cooldown, then drift, then loss; each says why."""
    found = due(history(**changes), RULES)
    assert (None if found is None else found.trigger) is trigger
    assert words in ("" if found is None else found.reason)


def test_without_a_schedule_only_what_happens_counts() -> None:
    """With a schedule of 0 days neither time nor the lack of a model trains, but drift does."""
    rules = dataclasses.replace(RULES, every_days=0)
    assert due(history(trained_day=0), rules) is None
    assert due(history(trained_day=None), rules) is None
    found = due(history(trained_day=None, drift=("levels moved",)), rules)
    assert found is not None
    assert Trigger.DRIFT is found.trigger


@pytest.mark.parametrize(
    ("recent", "words"),
    [
        ((BAD, USUAL[0]), None),
        ((USUAL[0], BAD), None),
        ((BAD, BAD), "the absolute error against the baseline's"),
        ((dataclasses.replace(BAD, baseline_absolute=120.0),) * 2, "the absolute error per ride"),
        ((dataclasses.replace(USUAL[0], forecast=140.0),) * 2, "the bias"),
        ((dataclasses.replace(USUAL[0], forecast=70.0),) * 2, "the bias"),
        ((dataclasses.replace(USUAL[0], absolute=43.0),) * 2, None),
        ((dataclasses.replace(USUAL[0], absolute=20.0),) * 2, None),
    ],
)
def test_every_recent_day_must_be_worse(recent: tuple[DayScore, ...], words: str | None) -> None:
    """One bad day is none, a small rise is none, an improvement is none; a shift that the baseline shares is seen per ride."""
    found = risen(after(*recent), RULES)
    assert (found is None) == (words is None)
    assert found is None or words is None or found.startswith(words)


def test_an_unsteady_past_needs_a_larger_rise() -> None:
    """Where days differ by a third anyway, a day that is half worse is nothing."""
    days = [dataclasses.replace(day, absolute=40.0 * (1.4 if day.day % 2 else 0.7), baseline_absolute=80.0) for day in USUAL]
    assert risen([*days, dataclasses.replace(BAD, day=14), dataclasses.replace(BAD, day=15)], RULES) is None


def test_a_short_past_says_nothing() -> None:
    """Fewer than half of the reference days are no reference; half of them are."""
    assert risen(after(BAD, BAD)[8:], RULES) is None
    assert risen(after(BAD, BAD)[7:], RULES) is not None


@given(st.integers(0, 5), st.integers(1, 4))
def test_the_budget_of_promotions(done: int, budget: int) -> None:
    """Another promotion is allowed while fewer were made in the week than the budget says."""
    rules = dataclasses.replace(RULES, promotions_per_week=budget)
    assert (done < budget) == may_promote(history(promotions=done), rules)


def row(absolute: int, baseline: int, truth: int, mean: int) -> ScoreRow:
    """A score; errors in 1/1000 ride."""
    return ScoreRow(
        horizon_min=15,
        cells=1,
        truth=truth,
        forecast_mean_milli=mean,
        abs_error_milli=absolute,
        square_error_micro=0,
        baseline_abs_error_milli=baseline,
        baseline_square_error_micro=0,
        covered=1,
    )


def test_scores_are_added_up_by_day() -> None:
    """All horizons count, settled scores and the day that is not over do not."""
    scores = [
        SlotScored(region="nyc", measure="pickups", slot=slot, settled=settled, rows=rows)
        for slot, settled, rows in (
            (23, False, (row(1000, 2000, 3, 2500), row(500, 500, 1, 1500))),
            (23, True, (row(9, 9, 9, 9),)),
            (24, False, (row(250, 0, 0, 0),)),
            (48, False, (row(1, 1, 1, 1),)),
        )
    ]
    assert [DayScore(0, 1.5, 2.5, 4.0, 4.0), DayScore(1, 0.25, 0.0, 0.0, 0.0)] == day_scores(scores, 24, 2)


def test_a_day_without_rides_is_no_error() -> None:
    """Where nothing happened there is a value, and it is finite."""
    quiet = [DayScore(day, 0.0, 0.0, 0.0, 0.0) for day in range(16)]
    assert risen(quiet, RULES) is None
    assert np.isfinite(float(risen(after(BAD, BAD), RULES) is not None))


@pytest.mark.parametrize("changes", [{"every_days": -1}, {"recent_days": 0}, {"reference_days": 0}, {"cooldown_days": -1}])
def test_rules_out_of_range_are_refused(changes: dict[str, int]) -> None:
    """A negative schedule or cooldown, or no day to look at, is refused with the rules."""
    with pytest.raises(UsageError, match="retraining: expected days of at least 1"):
        dataclasses.replace(RULES, **changes)
