"""Fitting a network: what it learns, and that neither the order of sums nor the machine's library decides its bytes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.events.rides import Float32s, Float64s
from state.models import network_fitting
from state.models.deviance import deviance
from state.models.network import LoadedNetwork, Network, check_network
from state.models.network_fitting import _Fit, _gradients, fit_network

COLUMNS = (0, 1, 2, 4)


def crossed(n: int, seed: int = 1) -> tuple[Float32s, Float64s]:
    """Features, and rides of two horizons whose log rate is a product of two of them, which no line follows."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 6)).astype(np.float32)
    features[::9, 2] = np.nan
    features[:, 5] = np.nan
    rate = np.exp(0.5 * np.clip(features[:, 0] * features[:, 1], -2.0, 2.0))
    return features, random.poisson(rate[:, None] * (1.0, 2.0)).astype(np.float64)


def fitted(features: Float32s, rides: Float64s, decay: float = 0.1, columns: tuple[int, ...] = COLUMNS) -> Network:
    """A network on the logs of two rates that know nothing of the features."""
    logs = np.broadcast_to(np.log([1.0, 2.0]), rides.shape)
    return fit_network(features, columns, rides, logs, np.ones(len(rides)), share=0.5, decay=decay)


def test_it_learns_what_a_linear_model_cannot() -> None:
    """On rows that it has not seen, a product of two features is forecast much better than without it, for both horizons."""
    features, rides = crossed(8_000)
    network = fitted(features, rides)
    unseen, truth = crossed(2_000, seed=2)
    logs = LoadedNetwork(network).logs(unseen)
    for i, rate in enumerate((1.0, 2.0)):
        known = np.exp(np.log(rate) + 0.5 * np.clip(unseen[:, 0] * unseen[:, 1], -2.0, 2.0))
        without, best = (deviance(truth[:, i], means) for means in (np.full(2_000, rate), known))
        assert deviance(truth[:, i], rate * np.exp(logs[:, i])) < best + 0.3 * (without - best)
    check_network(network, 6, 2)
    assert (COLUMNS, 0.5) == (network.columns, network.share)


def test_the_same_rows_give_the_same_bytes() -> None:
    """Fitted twice, a network is the same to the byte; other rows and another decay give others."""
    features, rides = crossed(1_500)
    first = fitted(features, rides)
    assert first == fitted(np.asfortranarray(features), rides.copy())
    assert first != fitted(features, rides, decay=3.0)
    assert first != fitted(features[:1_400], rides[:1_400])


def test_an_unknown_input_changes_nothing() -> None:
    """A column without any value counts as average everywhere, instead of spoiling the fit."""
    features, rides = crossed(600)
    network = fitted(features, rides, columns=(0, 5))
    assert ((0.0, 1.0)) == (network.centres[1], network.scales[1])
    assert np.isfinite(LoadedNetwork(network).logs(features)).all()


def a_fit(seed: int, sizes: tuple[int, ...] = (4, 8, 5, 2)) -> tuple[_Fit, Float64s, Float64s, Float64s, Float64s]:
    """A network while it is fitted, and a batch: inputs, rides, logs and weights."""
    random = np.random.default_rng(seed)
    fit = _Fit(
        [random.normal(size=(a, b)) for a, b in pairwise(sizes)],
        [0.1 * random.normal(size=b) for b in sizes[1:]],
    )
    inputs = np.rint(np.clip(32 * random.normal(size=(64, 4)), -192, 192)) / 32
    return fit, inputs, random.poisson(2.0, (64, 2)).astype(np.float64), random.normal(0.5, 0.3, (64, 2)), random.uniform(0.1, 2.0, (64, 2))


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_no_order_of_a_sum_changes_a_gradient(seed: int) -> None:
    """Rows of a batch in another order, and hidden values in another order, give the same bits: all sums are exact."""
    fit, *batch = a_fit(seed)
    first = _gradients(fit, *batch)
    order = np.random.default_rng(seed).permutation(64)
    assert [g.tobytes() for g in first] == [g.tobytes() for g in _gradients(fit, *(part[order] for part in batch))]
    turn = np.random.default_rng(seed + 1).permutation(8)
    turned = _Fit([fit.weights[0][:, turn], fit.weights[1][turn], fit.weights[2]], [fit.constants[0][turn], *fit.constants[1:]])
    again = _gradients(turned, *batch)
    assert first[0][:, turn].tobytes() == again[0].tobytes()
    assert first[2].tobytes() == again[2].tobytes()


def test_gradients_are_slopes_of_the_loss() -> None:
    """Each is what the mean loss of the batch changes by for a small step of its weight, but for the grids."""
    fit, x, rides, logs, weights = a_fit(3)
    for of in fit.weights:
        of *= 0.4

    def loss() -> float:
        values = x
        for w, c in zip(fit.weights[:-1], fit.constants[:-1], strict=True):
            total = values @ w + c
            values = np.maximum(total, total / 8)
        out = logs + values @ fit.weights[-1] + fit.constants[-1]
        return float((weights * (np.exp(out) - rides * out)).sum() / len(x))

    found = _gradients(fit, x, rides, logs, weights)
    for numbers, gradient in zip((*fit.weights, *fit.constants), found, strict=True):
        for place in list(np.ndindex(numbers.shape))[::5]:
            was, slopes = numbers[place], []
            for step in (1e-5, -1e-5):
                numbers[place] = was + step
                slopes.append(loss())
            numbers[place] = was
            assert (slopes[0] - slopes[1]) / 2e-5 == pytest.approx(gradient[place], abs=2e-3)


def test_heavy_weights_keep_fewer_bits() -> None:
    """However large the weights become, the sums of the network that is kept are exact; small ones keep all bits."""
    fit, *_ = a_fit(1)
    small = network_fitting._whole(_Fit([0.01 * w for w in fit.weights], fit.constants))[0]
    large = network_fitting._whole(_Fit([np.clip(1e3 * w, -8.0, 8.0) for w in fit.weights], fit.constants))
    assert max(large[0]) < min(small) == 14
    check_network(Network((0, 1, 2, 3), (0.0,) * 4, (1.0,) * 4, (8, 5, 2), large[0], large[1], 0.5), 4, 2)
