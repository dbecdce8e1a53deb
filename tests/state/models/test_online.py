"""The online learner: it learns a bias, ignores noise, and is restored from a snapshot bit by bit."""

import numpy as np
import pandas as pd
import pytest
from river import linear_model

from state.models.online import INPUTS, MOST_FACTOR, OnlineCorrection, set_weights
from state.models.protocol import Outcome
from tests.differences import assert_same
from tests.state.model_city import CELLS

DISPERSION = (100, 100, 100)


def step(learner: OnlineCorrection, rng: np.random.Generator, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """One close: predict, come true at once with a multiple of the means, learn; (means, corrected means)."""
    means = rng.gamma(2.0, 2.0, (len(CELLS), 3))
    inputs = learner.inputs(CELLS, means, DISPERSION)
    predicted = learner.predict(inputs)
    corrected = learner.correct(means, predicted, DISPERSION)
    truth = rng.poisson(factor * means).astype(float)
    outcomes = [Outcome(i, CELLS, inputs[:, i], means[:, i], predicted[:, i], truth[:, i]) for i in range(3)]
    learner.observe(outcomes, DISPERSION)
    learner.learn(outcomes, DISPERSION)
    return means, corrected


def test_a_lasting_bias_is_learned() -> None:
    """If demand is 50 % above the means, the correction removes most of the bias and stays within its bounds."""
    learner, rng = OnlineCorrection(3, 24), np.random.default_rng(1)
    for _ in range(1500):
        means, corrected = step(learner, rng, 1.5)
    assert 1.2 < corrected.sum() / means.sum() < 1.6
    assert (corrected <= MOST_FACTOR * means).all()


def test_unbiased_means_are_left_alone() -> None:
    """Where there is nothing to learn the corrected total stays within two percent."""
    learner, rng = OnlineCorrection(3, 24), np.random.default_rng(1)
    totals = np.array([[values.sum() for values in step(learner, rng, 1.0)] for _ in range(400)])
    assert abs(totals[100:, 1].sum() / totals[100:, 0].sum() - 1.0) < 0.02


def test_nothing_is_corrected_before_something_was_learned() -> None:
    """The weight starts at zero, and predictions too."""
    learner = OnlineCorrection(3, 24)
    means, corrected = step(learner, np.random.default_rng(1), 3.0)
    assert means.tobytes() == corrected.tobytes()
    assert 0 == learner.weight_milli


def test_a_restored_learner_goes_on_bit_by_bit() -> None:
    """River's scaler, weights and step count come back from arrays exactly, as do errors and loss."""
    one = OnlineCorrection(3, 24)
    rng = np.random.default_rng(4)
    for _ in range(30):
        step(one, rng, 1.3)
    other = OnlineCorrection(3, 24)
    other.from_arrays(one.to_arrays())
    seeds = np.random.default_rng(5), np.random.default_rng(5)
    for _ in range(20):
        assert step(one, seeds[0], 1.3)[1].tobytes() == step(other, seeds[1], 1.3)[1].tobytes()
    assert_same(one.to_arrays(), other.to_arrays())


def test_cells_that_left_are_forgotten() -> None:
    """Only the errors of the cells to keep remain; an unknown cell has none."""
    learner = OnlineCorrection(3, 24)
    step(learner, np.random.default_rng(1), 2.0)
    learner.keep_only(CELLS[4:8])
    assert CELLS[4:8].tolist() == learner.to_arrays()["online_cells"].tolist()
    inputs = learner.inputs(CELLS, np.ones((len(CELLS), 3)), DISPERSION)
    assert not inputs[:4, :, INPUTS.index("cell_first")].any()
    assert inputs[4:8, 0, INPUTS.index("cell_first")].any()


def test_river_still_lets_its_weights_be_set() -> None:
    """River's private attribute for weights exists: weights that are set are readable and used in predictions."""
    linear = linear_model.LinearRegression()
    set_weights(linear, {"a": 2.0, "b": -0.5})
    assert {"a": 2.0, "b": -0.5} == linear.weights
    frame = pd.DataFrame({"a": [3.0], "b": [4.0]})
    assert [pytest.approx(2.0 * 3.0 - 0.5 * 4.0)] == list(linear.predict_many(frame))
