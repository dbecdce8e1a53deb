"""Online correction: a linear model that learns the current errors of the boosted means at every close.

It predicts the standardised error of a mean from recent errors: of the same cell and of the whole region,
over the last windows and over the last days. The weight of its prediction in a forecast is learned from
its past accuracy. River does the learning, in one mini-batch per close.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from schemas.events.rides import Bools, Float64s, Int64s, UInt64s
from state.demand.history import Arrays
from state.models.protocol import Outcome

if TYPE_CHECKING:
    import pandas as pd
    from river.linear_model import LinearRegression

INPUTS = (
    "scale",  # mean over its standard deviation: a relative error of one, in standard errors
    "region_first",  # relative error of the region over the first horizon, scaled
    "region_last",
    "region_slow",  # the same over the last day
    "region_last_long",  # region_last for the long horizons only
    "cell_first",  # standardised error of the cell over the first horizon
    "cell_last",
    "cell_slow",  # relative error of the cell over the last days, scaled
)
LEARNING_RATE = 0.0002  # New York, May 2014: from 0.0001 to 0.0005 every horizon gained; at 0.002 the long one lost
INTERCEPT_RATE = 0.001  # inputs are centred, so the intercept learns a lasting bias
CLIP = 4.0  # standard errors; one burst must not change the weights much
FORGET_DAYS = 1.0  # half-life of the region's slow error and of the loss that sets the weight
CELL_FORGET_DAYS = 2.0
CELL_RIDES = 20.0  # prior weight of "no error" in a cell's slow error, rides
LEAST_FACTOR, MOST_FACTOR = 0.5, 2.0  # bounds of a correction


class OnlineCorrection:
    """State of the online learner of one region and measure.

    Args:
        horizons: Number of horizons.
        day_slots: Slots per day, for half-lives.
    """

    def __init__(self, horizons: int, day_slots: int) -> None:
        self._horizons = horizons
        self._day_slots = day_slots
        self._loss = self._region = np.zeros(0)
        self._cells: UInt64s = np.empty(0, np.uint64)
        self._errors = np.zeros((4, 0))
        self.from_arrays(
            {
                "online_scaler": np.zeros((3, len(INPUTS))),
                "online_weights": np.zeros(len(INPUTS) + 1),
                "online_steps": np.zeros(1, np.int64),
                "online_loss": np.zeros(2),
                "online_region": np.zeros(4),
                "online_cells": self._cells,
                "online_errors": self._errors,
            }
        )

    @property
    def weight_milli(self) -> int:
        """Share of the predicted error that is added to the mean, 1/1000: the best share for recent windows."""
        gain, size = self._loss.tolist()
        return round(1000 * min(max(gain / size, 0.0), 1.0)) if size > 0.0 else 0

    def inputs(self, cells: UInt64s, means: Float64s, dispersion_milli: tuple[int, ...]) -> Float64s:
        """Inputs of the learner for each cell and horizon: float64[n, n_horizons, len(INPUTS)].

        Args:
            cells: uint64[n], ascending.
            means: float64[n, n_horizons], before correction.
        """
        places, known = places_in(self._cells, cells)
        first, last, truth, mean = np.where(known, self._errors[:, places], 0.0) if len(self._cells) else np.zeros((4, len(cells)))
        slow = (truth + CELL_RIDES) / (mean + CELL_RIDES) - 1.0
        region_first, region_last, region_truth, region_mean = self._region.tolist()
        region_slow = (region_truth + CELL_RIDES) / (region_mean + CELL_RIDES) - 1.0
        out = np.empty((len(cells), self._horizons, len(INPUTS)))
        for i in range(self._horizons):
            scale = means[:, i] / deviations(means[:, i], dispersion_milli[i])
            long = i / max(self._horizons - 1, 1)
            for j, column in enumerate(
                (
                    scale,
                    scale * region_first,
                    scale * region_last,
                    scale * region_slow,
                    scale * (region_last * long),
                    first,
                    last,
                    scale * slow,
                )
            ):
                out[:, i, j] = column
        return out

    def predict(self, inputs: Float64s) -> Float64s:
        """Predicted standardised errors: float64[n, n_horizons]; zero before the first learning step."""
        shape = inputs.shape[:2]
        if not self._linear.optimizer.n_iterations or not shape[0]:
            return np.zeros(shape)
        scaled = self._scaler.transform_many(_frame(inputs.reshape(-1, len(INPUTS))))
        return np.asarray(self._linear.predict_many(scaled), np.float64).reshape(shape)

    def correct(self, means: Float64s, predicted: Float64s, dispersion_milli: tuple[int, ...]) -> Float64s:
        """Means corrected by a share of the predicted error: float64[n, n_horizons]."""
        share = self.weight_milli / 1000
        out = np.empty_like(means)
        for i in range(self._horizons):
            moved = means[:, i] + share * predicted[:, i] * deviations(means[:, i], dispersion_milli[i])
            out[:, i] = np.clip(moved, LEAST_FACTOR * means[:, i], MOST_FACTOR * means[:, i])
        return out

    def observe(self, outcomes: list[Outcome], dispersion_milli: tuple[int, ...]) -> None:
        """Add the errors of windows that have just ended; the next issue uses them."""
        forget, forget_cell = (0.5 ** (1.0 / (days * self._day_slots)) for days in (FORGET_DAYS, CELL_FORGET_DAYS))
        self._region[2:] *= forget
        self._loss *= forget
        self._errors[2:] *= forget_cell
        for outcome in outcomes:
            # Gain in squared rides that a share of the prediction made at the issue would have had.
            step = outcome.predicted * deviations(outcome.means, dispersion_milli[outcome.horizon])
            self._loss += np.array([(step * (outcome.truth - outcome.means)).sum(), (step * step).sum()])
            if outcome.horizon not in (0, self._horizons - 1):
                continue
            total, expected = float(outcome.truth.sum()), float(outcome.means.sum())
            relative = (total + CELL_RIDES) / (expected + CELL_RIDES) - 1.0
            errors = _standardised(outcome, dispersion_milli)
            self._know(outcome.cells)
            places, _ = places_in(self._cells, outcome.cells)
            if outcome.horizon == 0:
                self._region[0] = relative
                self._errors[0, places] = errors
                self._region[2] += total
                self._region[3] += expected
                self._errors[2, places] += outcome.truth
                self._errors[3, places] += outcome.means
            if outcome.horizon == self._horizons - 1:
                self._region[1] = relative
                self._errors[1, places] = errors

    def learn(self, outcomes: list[Outcome], dispersion_milli: tuple[int, ...]) -> None:
        """One learning step from windows that have ended."""
        if not outcomes:
            return
        import pandas as pd

        inputs = np.concatenate([outcome.inputs for outcome in outcomes])
        errors = np.concatenate([_standardised(outcome, dispersion_milli) for outcome in outcomes])
        if not len(errors):
            return
        frame = _frame(inputs)
        self._scaler.learn_many(frame)
        scaled = self._scaler.transform_many(frame)
        self._linear.learn_many(scaled, pd.Series(errors, name="error"))

    def keep_only(self, cells: UInt64s) -> None:
        """Drop the errors of all other cells."""
        remaining = np.isin(self._cells, cells)
        self._cells, self._errors = self._cells[remaining], np.ascontiguousarray(self._errors[:, remaining])

    def _know(self, cells: UInt64s) -> None:
        if not places_in(self._cells, cells)[1].all():
            old, table = self._cells, self._errors
            self._cells = np.union1d(old, cells)
            self._errors = np.zeros((4, len(self._cells)))
            self._errors[:, np.searchsorted(self._cells, old)] = table

    def to_arrays(self) -> Arrays:
        """The state as arrays; `from_arrays` restores it bit for bit."""
        scaler, linear = self._scaler, self._linear
        counts, means, variances = (
            [float(column.get(name, 0.0)) for name in INPUTS] for column in (scaler.counts, scaler.means, scaler.vars)
        )
        weights = linear.weights
        return {
            "online_scaler": np.array([counts, means, variances]),
            "online_weights": np.array([*(float(weights.get(name, 0.0)) for name in INPUTS), float(linear.intercept)]),
            "online_steps": np.array([linear.optimizer.n_iterations], np.int64),
            "online_loss": self._loss.copy(),
            "online_region": self._region.copy(),
            "online_cells": self._cells.copy(),
            "online_errors": self._errors.copy(),
        }

    def from_arrays(self, arrays: Arrays) -> None:
        """Restore the state that `to_arrays` returned."""
        from river import linear_model, optim, preprocessing

        self._scaler = preprocessing.StandardScaler()
        self._linear = linear_model.LinearRegression(
            optimizer=optim.SGD(LEARNING_RATE), intercept_lr=INTERCEPT_RATE, clip_gradient=2 * CLIP
        )
        steps = int(arrays["online_steps"][0])
        counts, means, variances = arrays["online_scaler"].tolist()
        *weights, intercept = arrays["online_weights"].tolist()
        if steps:
            self._scaler.counts.update({name: int(count) for name, count in zip(INPUTS, counts, strict=True)})
            self._scaler.means.update(zip(INPUTS, means, strict=True))
            self._scaler.vars.update(zip(INPUTS, variances, strict=True))
            set_weights(self._linear, dict(zip(INPUTS, weights, strict=True)))
            self._linear.intercept = intercept
            self._linear.optimizer.n_iterations = steps
        self._loss = arrays["online_loss"].astype(np.float64)
        self._region = arrays["online_region"].astype(np.float64)
        self._cells = arrays["online_cells"].astype(np.uint64)
        self._errors = arrays["online_errors"].astype(np.float64)


def places_in(ascending: UInt64s, cells: UInt64s) -> tuple[Int64s, Bools]:
    """The place of each cell among ascending ones, and whether it is there: int64[n], bool[n]; where it is not, any place.

    >>> [found.tolist() for found in places_in(np.array([3, 5], np.uint64), np.array([5, 4], np.uint64))]
    [[1, 1], [True, False]]
    """
    places = np.minimum(np.searchsorted(ascending, cells), max(len(ascending) - 1, 0))
    known = ascending[places] == cells if len(ascending) else np.zeros(len(cells), np.bool_)
    return places, known


def set_weights(linear: "LinearRegression", weights: Mapping[str, float]) -> None:
    """Set the weights of a River linear model. River has a public `weights` to read, but only a private name to set them."""
    for name, weight in weights.items():
        linear._weights[name] = weight


def deviations(means: Float64s, dispersion_milli: int) -> Float64s:
    """Standard deviation of counts with these means: float64[n].

    >>> deviations(np.array([4.0]), 0)
    array([2.])
    """
    return np.asarray(np.sqrt(means + dispersion_milli / 1000 * means**2), np.float64)


def _standardised(outcome: Outcome, dispersion_milli: tuple[int, ...]) -> Float64s:
    errors = (outcome.truth - outcome.means) / deviations(outcome.means, dispersion_milli[outcome.horizon])
    return np.clip(errors, -CLIP, CLIP)


@cache
def _labels() -> "pd.Index[str]":
    import pandas as pd

    return pd.Index(list(INPUTS), dtype=object)  # pandas' string type would be converted by Arrow at every close


def _frame(inputs: Float64s) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(inputs, columns=_labels(), copy=False)
