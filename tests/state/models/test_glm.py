"""The linear model of the log rate: its optimum and its predictions, against a plain account of both."""

from functools import cache

import numpy as np
import pytest

from schemas.events.rides import Float32s, Float64s
from state.models.glm import Glm, fit_glm
from tests.state.models.plain_glm import inputs_of, log_mean, moments, slopes

COLUMNS = (0, 2, 3)


@cache
def data() -> tuple[Float32s, Float64s, Float64s, Float64s]:
    """Rows with unknown and extreme inputs, their rides, margins and weights."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(1500, 5)).astype(np.float32)
    features[::7, 2] = np.nan
    features[5, 3] = 500.0
    margin = rng.normal(size=1500)
    rides = rng.poisson(np.exp(margin + 0.4 + 0.5 * features[:, 0] - 0.3 * np.nan_to_num(features[:, 2]))).astype(float)
    weights = rng.uniform(0.5, 1.5, 1500)
    return features, rides, margin, weights / weights.mean()


@cache
def fitted() -> Glm:
    """The product's model of them."""
    features, rides, margin, weights = data()
    return fit_glm(features, COLUMNS, rides, margin, weights)


def plain_inputs() -> list[list[float]]:
    """Inputs of every row, by the plain account."""
    rows = data()[0][:, list(COLUMNS)].astype(float)
    centres, scales = zip(*(moments(column.tolist()) for column in rows.T), strict=True)
    return [inputs_of(row, centres, scales) for row in rows.tolist()]


def test_no_other_coefficients_are_more_likely() -> None:
    """At the fitted coefficients every slope of the penalised likelihood is zero, and the effects are those of the data."""
    _, rides, margin, weights = data()
    found = slopes(plain_inputs(), rides.tolist(), margin.tolist(), weights.tolist(), fitted().intercept, fitted().coefficients)
    assert [0.0] * 4 == pytest.approx(found, abs=0.01)  # of 2,700 rides
    assert 0.3 < fitted().coefficients[0] < 0.5
    assert -0.3 < fitted().coefficients[1] < -0.2


def test_predictions_are_those_of_the_plain_model() -> None:
    """Every row's log mean is margin, intercept and the products of its inputs."""
    features, _, margin, _ = data()
    expected = [
        log_mean(row, own, fitted().intercept, fitted().coefficients) for row, own in zip(plain_inputs(), margin.tolist(), strict=True)
    ]
    assert expected == pytest.approx(fitted().log_means(features, margin).tolist(), rel=1e-5, abs=1e-6)


def test_a_prediction_does_not_depend_on_other_rows() -> None:
    """Alone, in a slice and with all others, a row has the same bits."""
    features, _, margin, _ = data()
    whole = fitted().log_means(features, margin)
    for here in (slice(5, 6), slice(3, 400), slice(1, None, 3)):
        assert whole[here].tobytes() == fitted().log_means(features[here], margin[here]).tobytes()


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over smaller blocks differ in their last bits only, which the rounded coefficients do not show."""
    features, rides, margin, weights = data()
    monkeypatch.setattr("state.models.glm.BLOCK_ROWS", 100)
    assert fitted() == fit_glm(features, COLUMNS, rides, margin, weights)


def test_inputs_without_information_do_no_harm() -> None:
    """A constant and an unknown column, no column, and no rides at all give finite coefficients."""
    features, rides, margin, weights = data()
    empty = features.copy()
    empty[:, 0], empty[:, 2] = 7.0, np.nan
    glm = fit_glm(empty, COLUMNS, rides, margin, weights)
    assert (0.0, 0.0) == glm.coefficients[:2]
    alone = fit_glm(features, (), rides, margin, weights)
    assert (weights * rides).sum() == pytest.approx((weights * np.exp(alone.log_means(features, margin))).sum(), rel=1e-6)
    assert np.isfinite(fit_glm(features, COLUMNS, 0.0 * rides, margin, weights).log_means(features, margin)).all()
