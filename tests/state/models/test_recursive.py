"""The recursive correction: by value against a plain one, and that it follows a surge and a lockdown and comes back."""

import numpy as np
import pytest

from schemas.events.rides import Float64s
from state.models.protocol import Outcome
from state.models.recursive import LEAST_LEVEL, MOST_LEVEL, RecursiveCorrection
from tests.state.models.plain_recursive import PlainRecursive, Said

DISPERSION_MILLI = (100, 250, 40)
CELLS = (3, 11, 25, 70)


@pytest.mark.parametrize(("seed", "day_slots"), [(1, 24), (2, 288)])
def test_every_step_is_what_it_means(seed: int, day_slots: int) -> None:
    """Inputs, predictions and corrections over sixty closes with bursts, silence and cells that come and go."""
    rng = np.random.default_rng(seed)
    corrector = RecursiveCorrection(3, day_slots)
    plain = PlainRecursive([milli / 1000 for milli in DISPERSION_MILLI], day_slots)
    for close in range(60):
        cells = CELLS[close % 2 :] if close % 9 else CELLS
        codes, means = np.array(cells, np.uint64), rng.gamma(2.0, 3.0, (len(cells), 3))
        inputs = corrector.inputs(codes, means, DISPERSION_MILLI)
        predicted = corrector.predict(inputs)
        corrected = corrector.correct(means, predicted, DISPERSION_MILLI)
        said = [[plain.say(cell, h, means[row].tolist()) for h in range(3)] for row, cell in enumerate(cells)]
        for row in range(len(cells)):
            for h, one in enumerate(said[row]):
                expected = [one.factor, one.level, one.region, one.surge, *one.regressors]
                assert expected == pytest.approx(inputs[row, h].tolist(), rel=1e-6, abs=1e-9)
                assert one.predicted == pytest.approx(predicted[row, h], rel=1e-6, abs=1e-9)
                assert (1 + one.predicted if close else 1.0) * means[row, h] == pytest.approx(corrected[row, h], rel=1e-6)
        # Sometimes a horizon has no window that came true, and sometimes there is a burst.
        horizons = [h for h in range(3) if (close + h) % 5]
        truth = rng.poisson(means * (6.0 if close % 20 < 3 else 1.25)).astype(float)
        ended: dict[int, dict[int, tuple[Said, float]]] = {
            h: {cell: (said[row][h], float(truth[row, h])) for row, cell in enumerate(cells)} for h in horizons
        }
        outcomes = [Outcome(h, codes, inputs[:, h], means[:, h], predicted[:, h], truth[:, h]) for h in horizons]
        corrector.observe(outcomes, DISPERSION_MILLI)
        corrector.learn(outcomes, DISPERSION_MILLI)
        plain.close(ended)


def served(truth_over_mean: Float64s, *, seed: int = 1, mean: float = 6.0) -> Float64s:
    """Corrected over plain means of 15 min, float64[slots, cells], while rides are multiples of frozen means: float64[slots, cells]."""
    rng, slots = np.random.default_rng(seed), len(truth_over_mean)
    cells = np.arange(truth_over_mean.shape[1]).astype(np.uint64)
    rides = rng.poisson(truth_over_mean * mean / 3)
    corrector, out = RecursiveCorrection(1, 288), np.empty(truth_over_mean.shape)
    kept: dict[int, tuple[Float64s, Float64s]] = {}
    for slot in range(slots):
        outcomes = []
        if slot >= 3:
            inputs, predicted = kept.pop(slot - 3)
            truth = rides[slot - 2 : slot + 1].sum(axis=0).astype(float)
            outcomes = [Outcome(0, cells, inputs[:, 0], np.full(len(cells), mean), predicted[:, 0], truth)]
        corrector.observe(outcomes, (60,))
        means = np.full((len(cells), 1), mean)
        inputs = corrector.inputs(cells, means, (60,))
        predicted = corrector.predict(inputs)
        kept[slot] = inputs, predicted
        out[slot] = corrector.correct(means, predicted, (60,))[:, 0] / mean
        corrector.learn(outcomes, (60,))
    return out


def test_a_surge_is_followed_within_minutes_and_decays() -> None:
    """Three times the rides in 12 of 60 cells are met within half an hour, the others are left alone, and after it all is as it was."""
    factors = np.ones((340, 60))
    factors[288:312, :12] = 3.0
    found = served(factors)
    assert found[294:311, :12].mean() > 2.4
    assert abs(found[294:311, 12:].mean() - 1.0) < 0.1
    assert found[318:330, :12].mean() < 1.3


def test_a_lockdown_is_followed_within_an_hour() -> None:
    """When rides fall to two fifths of what the model says, an hour later forecasts are within a seventh of the truth."""
    factors = np.ones((400, 60))
    factors[288:] = 0.4
    found = served(factors)
    assert 0.34 < found[300:].mean() < 0.46
    assert np.abs(found[300:].mean(axis=1) / 0.4 - 1.0).max() < 0.25


def test_the_usual_noise_is_left_alone() -> None:
    """Poisson counts around right means move the forecasts by a few percent at most."""
    found = served(np.ones((400, 60)))
    assert np.sqrt(((found[100:] - 1.0) ** 2).mean()) < 0.12
    assert abs(found[100:].mean() - 1.0) < 0.02


@pytest.mark.parametrize(("rides", "bound"), [(0.0, LEAST_LEVEL), (500.0, MOST_LEVEL)])
def test_corrections_are_bounded(rides: float, bound: float) -> None:
    """However far the rides are from the means, the filters move a mean by no more than their bounds, and it stays above zero."""
    corrector, cells = RecursiveCorrection(1, 288), np.array([7], np.uint64)
    means = np.array([[20.0]])
    for _ in range(40):
        inputs = corrector.inputs(cells, means, (100,))
        predicted = corrector.predict(inputs)
        outcomes = [Outcome(0, cells, inputs[:, 0], means[:, 0], predicted[:, 0], np.array([rides]))]
        corrector.observe(outcomes, (100,))
    assert bound == pytest.approx(corrector.inputs(cells, means, (100,))[0, 0, 0])
    assert (corrector.correct(means, corrector.predict(inputs), (100,)) > 0).all()
