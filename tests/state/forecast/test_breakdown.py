"""What a report shows of an evaluation, on a town made by hand."""

import numpy as np
import pytest

from schemas.forecasts.chunks import ForecastColumns
from state.forecast.breakdown import LINES, by_day, by_hour, cell_skills, worst_cells
from state.forecast.evaluation import NOISE_FLOOR, SERVED, Evaluation
from tests.state.forecast.test_evaluation import columns_of, make_region

BUSY, WORSE = 10, 20
FIRST = 24 * 16_000  # a midnight; slots of an hour
REGION = make_region(60, (60,))


def judged() -> Evaluation:
    """Two weeks of training and two days of test of two cells; one is forecast well, the other as 10 whatever happens."""
    train, until = FIRST + 14 * 24, FIRST + 16 * 24
    rides = {(slot, BUSY): 20 + slot % 24 for slot in range(FIRST, until)} | {(slot, WORSE): 10 for slot in range(FIRST, until)}
    rides[train + 30, WORSE] = 80
    evaluation = Evaluation(REGION, columns_of(rides), (FIRST, train), until)
    for slot in range(train - 1, until - 1):
        means = np.array([[1000 * (20 + (slot + 1) % 24)], [10_000 if slot % 2 else 12_000]])
        none = np.zeros((2, 1), np.int64)
        cells = np.array([BUSY, WORSE], np.uint64)
        evaluation.add(slot, ForecastColumns(cells, (60,), means, means, none, none, none, none, np.zeros(2, np.uint8)))
    return evaluation


def test_errors_are_grouped_by_local_hour_and_day() -> None:
    """Each hour and day has the RMSE of its windows, for every baseline and the noise floor."""
    evaluation = judged()
    hours, days = by_hour(evaluation, 0, "busy"), by_day(evaluation, 0, "busy")
    assert [f"{hour:02d}" for hour in range(24)] == list(hours.keys)
    assert set(LINES) == set(hours.rmse) == set(days.rmse)
    # At six on the second day 80 came of 10 or 12 forecast; on the other day the hour was as every other.
    said = 10 if (FIRST + 14 * 24 + 29) % 2 else 12
    usual = (said - 10) ** 2
    assert pytest.approx((((80 - said) ** 2 + usual) / 4) ** 0.5) == hours.rmse[SERVED][6]
    assert pytest.approx((usual / 2) ** 0.5) == hours.rmse[SERVED][8]
    assert pytest.approx(((20 + 8 + said) / 2) ** 0.5) == hours.rmse[NOISE_FLOOR][8]
    assert 2 == len(days.keys)
    assert days.rmse[SERVED][1] > days.rmse[SERVED][0]


def test_skill_is_against_the_best_baseline_of_the_cell() -> None:
    """A perfect forecast of changing rides has skill 1 unless a baseline is perfect too; the noisy one has none."""
    perfect, noisy = cell_skills(judged())
    assert (BUSY, WORSE) == (perfect.cell, noisy.cell)
    assert perfect.skill is None  # Last week was the same, so nothing can be better.
    assert noisy.skill is not None
    assert noisy.skill < 0.0
    assert 48 * 10 + 70 == noisy.rides


def test_the_worst_cell_has_a_story() -> None:
    """The cell, the window and the day that went furthest wrong, and the error that chance does not explain."""
    worst, good = worst_cells(judged())
    assert (WORSE, BUSY) == (worst.cell, good.cell)
    assert (80.0, 30) == (worst.truth, int((worst.at.timestamp() // 3600) - (FIRST + 14 * 24)))
    assert worst.at.date() == worst.day
    assert worst.day_ratio > 1.0
    assert worst.excess == pytest.approx(worst.rmse - worst.floor)
    assert good.rmse == 0.0
