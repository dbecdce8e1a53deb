"""The online learner by value, against a plain one that learns the same windows cell by cell."""

import numpy as np
import pytest

from state.models.online import OnlineCorrection
from state.models.protocol import Outcome
from tests.state.models.plain_online import Forecast, PlainOnline

DISPERSION_MILLI = (100, 250, 40)
DAY_SLOTS = 6
CELLS = (3, 11, 25, 70)


def said(learner: OnlineCorrection, means: np.ndarray, cells: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(inputs, predicted, corrected) of the product."""
    inputs = learner.inputs(np.array(cells, np.uint64), means, DISPERSION_MILLI)
    predicted = learner.predict(inputs)
    return inputs, predicted, learner.correct(means, predicted, DISPERSION_MILLI)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_step_is_what_it_means(seed: int) -> None:
    """Inputs, predictions, weight and corrections over sixty closes with bursts, silence and cells that come and go."""
    rng = np.random.default_rng(seed)
    learner = OnlineCorrection(3, DAY_SLOTS)
    plain = PlainOnline([milli / 1000 for milli in DISPERSION_MILLI], DAY_SLOTS)
    weights = set()
    for close in range(60):
        if close == 10:  # As if much had been learned: predictions become as large as errors are.
            arrays = learner.to_arrays()
            arrays["online_weights"][-1] = plain.intercept = 1.5
            learner.from_arrays(arrays)
        cells = CELLS[close % 2 :] if close % 9 else CELLS
        means = rng.gamma(2.0, 3.0, (len(cells), 3))
        inputs, predicted, corrected = said(learner, means, cells)
        forecasts = [[plain.say(cell, h, float(means[row, h])) for h in range(3)] for row, cell in enumerate(cells)]
        assert plain.weight_milli() == learner.weight_milli
        weights.add(learner.weight_milli)
        for row in range(len(cells)):
            for h in range(3):
                forecast = forecasts[row][h]
                assert forecast.inputs == pytest.approx(inputs[row, h].tolist(), rel=1e-6, abs=1e-9)
                assert forecast.predicted == pytest.approx(predicted[row, h], rel=1e-6, abs=1e-9)
                assert plain.correct(h, forecast) == pytest.approx(corrected[row, h], rel=1e-6)
        # Sometimes a horizon has no window that came true, and sometimes there is a burst.
        horizons = [h for h in range(3) if (close + h) % 5]
        truth = rng.poisson(means * (9.0 if close % 20 == 0 else 1.25)).astype(float)
        ended: dict[int, dict[int, tuple[Forecast, float]]] = {
            h: {cell: (forecasts[row][h], float(truth[row, h])) for row, cell in enumerate(cells)} for h in horizons
        }
        codes = np.array(cells, np.uint64)
        outcomes = [Outcome(h, codes, inputs[:, h], means[:, h], predicted[:, h], truth[:, h]) for h in horizons]
        learner.observe(outcomes, DISPERSION_MILLI)
        learner.learn(outcomes, DISPERSION_MILLI)
        plain.close(ended)
    assert len(weights) > 10


@pytest.mark.parametrize(("predicted", "factor"), [(100.0, 2.0), (-100.0, 0.5)])
def test_a_correction_stays_within_half_and_twice(predicted: float, factor: float) -> None:
    """However large the predicted error, a mean is at most doubled and at least halved."""
    learner = OnlineCorrection(1, DAY_SLOTS)
    cells, one = np.array([3], np.uint64), np.array([4.0])
    learner.observe([Outcome(0, cells, np.zeros((1, 8)), one, np.array([1.0]), np.array([9.0]))], (0,))
    assert 1000 == learner.weight_milli
    assert [[4.0 * factor]] == learner.correct(np.array([[4.0]]), np.array([[predicted]]), (0,)).tolist()
