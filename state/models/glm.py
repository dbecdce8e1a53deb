"""A linear model of the log rate: Poisson counts, log link, a margin of its own for each row, fitted by Newton steps.

NumPy only. A prediction adds one column after the other, so that a row's bits do not depend on the other rows;
a matrix product in BLAS would not promise that. Coefficients are rounded, so that the order of sums within a fit
does not matter either.
"""

from dataclasses import dataclass

import numpy as np

from schemas.events.rides import Float32s, Float64s

CLIP = 6.0  # standardised inputs; a rare extreme must not decide a forecast
PENALTY = 100.0  # L2, on standardised coefficients, unless the caller names another
STEPS = 7
HALVINGS = 6  # of a Newton step that lowers the likelihood
MOST_LOG = 12.0  # of a mean, while fitting
DECIMALS = 7  # of what is kept: coarser than the rounding errors of a fit, far finer than any effect
LEAST_SCALE = 1e-6  # a constant column is not divided by its deviation
BLOCK_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Glm:
    """A fitted model of one horizon.

    Attributes:
        columns: Indices of its inputs in the feature matrix.
        centres, scales: Mean and deviation of each input in training.
        intercept, coefficients: Of the standardised inputs.
    """

    columns: tuple[int, ...]
    centres: tuple[float, ...]
    scales: tuple[float, ...]
    intercept: float
    coefficients: tuple[float, ...]

    def log_means(self, features: Float32s, margin: Float64s) -> Float64s:
        """Log of the mean of each row: float64[n].

        Args:
            features: float32[n, m]; an input that is NaN counts as average.
            margin: float64[n], log of the rate from which the model starts.
        """
        out = np.empty(len(features))
        for start in range(0, len(features), BLOCK_ROWS):
            here = slice(start, start + BLOCK_ROWS)
            inputs = standardised(features[here], self.columns, self.centres, self.scales)
            total = margin[here] + self.intercept
            for coefficient, values in zip(self.coefficients, inputs, strict=True):
                total += coefficient * values
            out[here] = total
        return out

    def contributions(self, features: Float32s) -> Float64s:
        """What each input adds to the log of each mean, compared with its mean in training: float64[n, k]."""
        inputs = standardised(features, self.columns, self.centres, self.scales)
        return np.asarray((inputs * np.array(self.coefficients)[:, None]).T, np.float64)


def standardised(features: Float32s, columns: tuple[int, ...], centres: tuple[float, ...], scales: tuple[float, ...]) -> Float64s:
    """Inputs of the model, clipped, 0 where they are not known: float64[k, n]."""
    values = features.T[list(columns)].astype(np.float64)
    values -= np.array(centres)[:, None]
    values /= np.array(scales)[:, None]
    np.clip(values, -CLIP, CLIP, out=values)
    values[np.isnan(values)] = 0.0
    return values


def fit_glm(
    features: Float32s, columns: tuple[int, ...], rides: Float64s, margin: Float64s, weights: Float64s, penalty: float = PENALTY
) -> Glm:
    """The coefficients that maximise the penalised likelihood of the rides.

    Args:
        features: float32[n, m].
        columns: Indices of the inputs.
        rides: float64[n], counts.
        margin: float64[n], log of the rate from which the model starts.
        weights: float64[n], of the rows; 1 on average.
        penalty: L2, on standardised coefficients.
    Source:
        P. McCullagh and J. A. Nelder (1989), Generalized Linear Models, 2nd ed., 2.5.
    """
    centres, scales = _moments(features, columns)
    k = len(columns)
    inputs = np.empty((len(features), k + 1), np.float32)  # the last column is the intercept's
    inputs[:, k] = 1.0
    for start in range(0, len(features), BLOCK_ROWS):
        here = slice(start, start + BLOCK_ROWS)
        inputs[here, :k] = standardised(features[here], columns, centres, scales).T
    penalties = np.append(np.full(k, penalty), 0.0)
    start_log = np.log(max(float((weights * rides).sum()), 0.5) / max(float((weights * np.exp(np.minimum(margin, MOST_LOG))).sum()), 1e-9))
    beta = np.append(np.zeros(k), start_log)
    loss, gradient, curvature = _derivatives(inputs, rides, margin, weights, beta, penalties)
    for _ in range(STEPS):
        step = np.linalg.solve(curvature, gradient)
        for _ in range(HALVINGS):
            tried = _derivatives(inputs, rides, margin, weights, beta + step, penalties)
            if tried[0] <= loss:
                beta, (loss, gradient, curvature) = beta + step, tried
                break
            step = step / 2
    found = np.round(beta, DECIMALS).tolist()
    return Glm(columns, centres, scales, found[-1], tuple(found[:-1]))


def _moments(features: Float32s, columns: tuple[int, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each input over the rows in which it is known; (0, 1) where that is nowhere."""
    centres, scales = [], []
    for column in columns:
        values = features[:, column].astype(np.float64)
        known = values[~np.isnan(values)]
        centre, scale = (float(known.mean()), float(known.std())) if len(known) else (0.0, 1.0)
        centres.append(round(centre, DECIMALS))
        scales.append(round(scale, DECIMALS) if scale > LEAST_SCALE else 1.0)
    return tuple(centres), tuple(scales)


def _derivatives(
    inputs: Float32s, rides: Float64s, margin: Float64s, weights: Float64s, beta: Float64s, penalty: Float64s
) -> tuple[float, Float64s, Float64s]:
    """Negative penalised log likelihood, minus its gradient, and its curvature."""
    loss = 0.5 * float((penalty * beta * beta).sum())
    gradient, curvature = -penalty * beta, np.diag(penalty)
    for start in range(0, len(inputs), BLOCK_ROWS):
        here = slice(start, start + BLOCK_ROWS)
        x, w, y = inputs[here].astype(np.float64), weights[here], rides[here]
        log = np.minimum(margin[here] + x @ beta, MOST_LOG)
        mean = np.exp(log)
        loss += float((w * (mean - y * log)).sum())
        gradient = gradient + x.T @ (w * (y - mean))
        curvature = curvature + x.T @ (x * (w * mean)[:, None])
    return loss, gradient, curvature
