"""Fits a network of all horizons on the linear models: Poisson loss, Adam, and sums that do not depend on their order.

Whatever enters a matrix product is rounded to a binary grid, so fine that the fit does not notice, and so coarse that
float64 holds every partial sum exactly. The network then does not depend on how many threads a library adds with.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from schemas.events.rides import Float32s, Float64s
from state.models.network import (
    EXACT,
    HIDDEN_BITS,
    INPUT_BITS,
    LEAST_SCALE,
    MOST_BITS,
    MOST_HIDDEN,
    MOST_INPUT,
    SLOPE,
    LoadedNetwork,
    Network,
    largest_sum,
    n_bytes,
)

Int16s = npt.NDArray[np.int16]

# New York, folds of April 2014; decision 48 has the numbers.
NETWORK_SHARE = 0.6  # of what is added to the linear models; the rest is of the trees
NETWORK_DECAY = 0.3
HIDDEN = (64, 16)
EPOCHS = 10
BATCH_ROWS = 2_048
LEAST_STEPS = 64  # of an epoch: with few rows, batches are smaller
LEAST_BATCH_ROWS = 128
RATE = 2e-3
WARM_STEPS = 100
MOMENTS = 0.9, 0.99  # of Adam: how much of the gradient's moments each step keeps
MOST_LOG = 8.0  # of a mean, while fitting
DECIMALS = 7  # of centres and scales
WEIGHT_STEP, VALUE_STEP, SLOPE_STEP = 2.0**-20, 2.0**-16, 2.0**-14  # grids of weights, hidden values and derivatives
MOST_WEIGHT, MOST_SLOPE = 8.0, 64.0  # so that a sum over a batch has less than 2^53 steps
SMALLEST = 1e-6


@dataclass(slots=True)
class _Fit:
    """Weights and constants of each layer while they are fitted: float64[inputs, outputs], float64[outputs]."""

    weights: list[Float64s]
    constants: list[Float64s]


def fit_network(
    features: Float32s, columns: tuple[int, ...], rides: Float64s, logs: Float64s, weights: Float64s, *, share: float, decay: float
) -> Network:
    """A network whose outputs, added to the logs, have a small Poisson loss.

    Args:
        features: float32[n, m].
        columns: Indices of the inputs, each with some value.
        rides: float64[n, n_horizons], counts, all known.
        logs: float64[n, n_horizons], of the means of the linear models.
        weights: float64[n], of the rows; 1 on average.
        share: Of its output that will be served.
        decay: Of the weights, as a share of the learning rate.
    Source:
        D. P. Kingma and J. Ba (2015), Adam: a method for stochastic optimization, arXiv:1412.6980; I. Loshchilov and F. Hutter
        (2019), Decoupled weight decay regularization, arXiv:1711.05101.
    """
    centres, scales = _moments(features, columns)
    sizes = (len(columns), *HIDDEN, rides.shape[1])
    random = np.random.default_rng(1)
    fit = _Fit([random.standard_normal((a, b)) / np.sqrt(a) for a, b in pairwise(sizes)], [np.zeros(b) for b in sizes[1:]])
    fit.weights[-1] *= 0.1  # it starts near the linear models
    inputs = _inputs(features, _empty(columns, centres, scales, sizes[1:], share))
    targets = weights[:, None] * (1.0 / np.maximum(rides.mean(axis=0), SMALLEST)) * rides[:, :1].mean()  # horizons count alike
    batch = int(min(BATCH_ROWS, max(len(rides) // LEAST_STEPS, LEAST_BATCH_ROWS)))
    steps = EPOCHS * (len(rides) // batch)
    kept = [(np.zeros_like(of), np.zeros_like(of)) for of in (*fit.weights, *fit.constants)]
    step = 0
    for _ in range(EPOCHS):
        order = random.permutation(len(rides))
        for start in range(0, len(rides) - batch + 1, batch):
            rows = order[start : start + batch]
            gradients = _gradients(fit, inputs[rows].astype(np.float64) * 2.0**-INPUT_BITS, rides[rows], logs[rows], targets[rows])
            step += 1
            rate = RATE * min(1.0, step / WARM_STEPS) * 0.5 * (1.0 + np.cos(np.pi * step / steps))
            _take(fit, gradients, kept, step, float(rate), decay)
    bits, numbers = _whole(fit)
    return Network(columns, centres, scales, sizes[1:], bits, numbers, share)


def _gradients(fit: _Fit, x: Float64s, rides: Float64s, logs: Float64s, weights: Float64s) -> list[Float64s]:
    """Gradients of the weights, then of the constants, averaged over a batch."""
    values, slopes = [x], []
    rounded = [np.rint(w / WEIGHT_STEP) * WEIGHT_STEP for w in fit.weights]
    for w, c in zip(rounded[:-1], fit.constants[:-1], strict=True):
        total = values[-1] @ w + c
        slopes.append(np.where(total > 0, 1.0, SLOPE))
        hidden = np.maximum(total, SLOPE * total)
        values.append(np.clip(np.rint(hidden / VALUE_STEP) * VALUE_STEP, -16.0, 16.0))
    out = values[-1] @ rounded[-1] + fit.constants[-1]
    error = _on_grid((np.exp(np.minimum(logs + out, MOST_LOG)) - rides) * weights)
    of_weights, of_constants = [], []
    for place in range(len(rounded) - 1, -1, -1):
        of_weights.append(values[place].T @ error / len(x))
        of_constants.append(error.sum(axis=0) / len(x))
        if place:
            error = _on_grid((error @ rounded[place].T) * slopes[place - 1])
    return [*reversed(of_weights), *reversed(of_constants)]


def _on_grid(error: Float64s) -> Float64s:
    return np.clip(np.rint(error / SLOPE_STEP) * SLOPE_STEP, -MOST_SLOPE, MOST_SLOPE)


def _take(fit: _Fit, gradients: list[Float64s], kept: list[tuple[Float64s, Float64s]], step: int, rate: float, decay: float) -> None:
    """One step of Adam, with decay of the weights."""
    first, second = MOMENTS
    for place, (of, gradient, (mean, square)) in enumerate(zip((*fit.weights, *fit.constants), gradients, kept, strict=True)):
        mean += (1.0 - first) * (gradient - mean)
        square += (1.0 - second) * (gradient * gradient - square)
        if place < len(fit.weights):
            of *= 1.0 - rate * decay
        of -= rate * (mean / (1.0 - first**step)) / (np.sqrt(square / (1.0 - second**step)) + SMALLEST)
        np.clip(of, -MOST_WEIGHT, MOST_WEIGHT, out=of)


def _whole(fit: _Fit) -> tuple[tuple[int, ...], bytes]:
    """Bits of each layer and its numbers: as many bits as keep its sums exact."""
    bits, numbers, before = [], [], INPUT_BITS
    for place, (weights, constants) in enumerate(zip(fit.weights, fit.constants, strict=True)):
        most = MOST_INPUT if place == 0 else MOST_HIDDEN
        for kept in range(MOST_BITS, -1, -1):
            w = np.rint(weights.T * 2.0**kept).astype(np.int32)
            c = np.rint(constants * 2.0 ** (kept + before)).astype(np.int32)
            if largest_sum(w, c, most) <= EXACT:
                break
        bits.append(kept)
        numbers += [w.astype("<i4").tobytes(), c.astype("<i4").tobytes()]
        before = HIDDEN_BITS
    return tuple(bits), b"".join(numbers)


def _moments(features: Float32s, columns: tuple[int, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each input over the rows in which it is known."""
    centres, scales = [], []
    for column in columns:
        values = features[:, column].astype(np.float64)
        values = values[~np.isnan(values)]
        centre, scale = (float(values.mean()), float(values.std())) if len(values) else (0.0, 1.0)
        centres.append(round(centre, DECIMALS))
        scale = round(scale, DECIMALS)
        scales.append(scale if scale > LEAST_SCALE else 1.0)
    return tuple(centres), tuple(scales)


def _empty(
    columns: tuple[int, ...], centres: tuple[float, ...], scales: tuple[float, ...], widths: tuple[int, ...], share: float
) -> LoadedNetwork:
    """A network of zeros, for its inputs."""
    return LoadedNetwork(Network(columns, centres, scales, widths, (0,) * len(widths), bytes(n_bytes(len(columns), widths)), share))


def _inputs(features: Float32s, network: LoadedNetwork) -> Int16s:
    """Inputs as whole numbers: int16[n, k]."""
    out = np.empty((len(features), network.n_inputs), np.int16)
    for start in range(0, len(features), 16_384):
        out[start : start + 16_384] = network.inputs(features[start : start + 16_384]).T
    return out
