"""Ensemble: the served mean is a weighted mean of the model, the corrected model and the profile, by their recent losses.

There is a vector of weights for each horizon and band of the model's mean. After every close each member's weight is
multiplied by exp(-RATE x its loss), and a small share of all weights returns to what they were at the start, so that a
member that was bad for long can come back within days.

The loss of a member in a close is the sum of its squared errors over the cells of the band, divided by the sum of their
expected variances; if that is more than MOST_LOSS for any member, all losses of the close are scaled down alike, so that
an absurd member makes the weights move more slowly.
Windows of h slots overlap, so that an error is known h closes later: h sets of weights take turns, and each sees its
last error before it is used again.

What this guarantees: over T closes, in one band and horizon of h slots, the loss of the ensemble is at most that of any
of its members plus (h ln(1 / prior of the member) + T ln(1 / (1 - share of one turn))) / RATE: over a week, 1.3 % of the expected
loss for the corrected model and 5.4 % for the others at 15 minutes, 5.3 and 21.6 % at an hour. See `most_regret`.

Source:
    J. Kivinen and M. K. Warmuth (1999), Averaging expert predictions, EuroCOLT 99: weighted means for exp-concave losses; a
    quadratic loss of at most M is, for rates of at most 1 / (2 M).
    M. Herbster and M. K. Warmuth (1998), Tracking the best expert, Machine Learning 32: the fixed share.
    P. Joulani, A. Gyorgy and C. Szepesvari (2013), Online learning under delayed feedback, ICML 30: learners that take turns.
"""

import math

import numpy as np

from schemas.events.rides import Float64s, Int64s, UInt64s
from schemas.records.records import BandWeights, HorizonWeights
from state.demand.history import Arrays
from state.models.boosted import LEAST_MEAN
from state.models.protocol import Outcome, SlotView
from state.models.spread import BANDS_MILLI, bands_of, pooled

MEMBERS = ("model", "corrected", "profile")
MODEL, CORRECTED, PROFILE = range(len(MEMBERS))
PRIOR = (0.03, 0.94, 0.03)
MOST_LOSS = 4.0  # of a member in a close; 1 is expected of a member that is right
RATE = 1.0 / (2.0 * MOST_LOSS)
SHARE_DAYS = 7.0  # in this time about 1 - 1/e of the weights have returned to the start
INPUTS = ("turn", "band", *MEMBERS)
_MEANS = slice(2, len(INPUTS))
MILLI = 1000


class Ensemble:
    """Weights of one region and measure. A corrector, the last of the table: its step leads from the corrected mean to the mixed one.

    Args:
        horizons: Number of horizons.
        day_slots: Slots per day.
    """

    members = MEMBERS

    def __init__(self, horizons: int, day_slots: int) -> None:
        self._horizons, self._day_slots = horizons, day_slots
        self._lengths = np.zeros(horizons, np.int64)  # of the horizons, slots
        self._by_turn = np.zeros((horizons, 0, len(BANDS_MILLI), len(MEMBERS)))  # by turn
        self._turns = np.zeros(horizons, np.int64)  # of the current issue
        self._plain = self._profile = np.zeros((0, horizons))
        self._cells: UInt64s = np.empty(0, np.uint64)

    @property
    def weight_milli(self) -> int:
        """Share of the step that is done, 1/1000."""
        return MILLI

    # --- for the issue -------------------------------------------------------------------------

    def watch(self, view: SlotView, rows: Int64s, means: Float64s, plain: Float64s) -> None:
        """Note whose turn it is, and what the other members say."""
        self._begin(view.calendar.horizons)
        self._turns = view.slot % self._lengths
        self._cells = view.history.cells[view.columns[rows]]
        self._plain, self._profile = plain, view.baseline[rows]

    def _begin(self, lengths: tuple[int, ...]) -> None:
        if self._by_turn.shape[1] == 0:
            self._lengths = np.array(lengths, np.int64)
            self._by_turn = np.tile(np.array(PRIOR), (self._horizons, max(lengths), len(BANDS_MILLI), 1))

    def weights(self, horizons_min: tuple[int, ...]) -> tuple[HorizonWeights, ...]:
        """The weights of the current issue, as it records them: they sum to 1000 in each band."""
        milli = self._milli()
        return tuple(
            HorizonWeights(
                horizon_min=minutes,
                bands=tuple(
                    BandWeights(from_milli=start, weights_milli=tuple(row)) for start, row in zip(BANDS_MILLI, table.tolist(), strict=True)
                ),
            )
            for minutes, table in zip(horizons_min, milli, strict=True)
        )

    def _milli(self) -> Int64s:
        """Weights of the current issue, 1/1000: int64[n_horizons, bands, members]."""
        now = self._by_turn[np.arange(self._horizons), self._turns]
        milli = np.rint(MILLI * now).astype(np.int64)
        largest = now.argmax(axis=2)[:, :, None]  # it takes what rounding left
        np.put_along_axis(milli, largest, np.take_along_axis(milli, largest, 2) + (MILLI - milli.sum(axis=2))[:, :, None], 2)
        return milli

    def inputs(self, cells: UInt64s, means: Float64s, dispersion_milli: tuple[int, ...]) -> Float64s:
        """Turn, band and the means of all members: float64[n, n_horizons, len(INPUTS)]. Cells that were not watched have one member.

        Args:
            means: float64[n, n_horizons], the corrected ones.
        """
        places = np.minimum(np.searchsorted(self._cells, cells), max(len(self._cells) - 1, 0))
        known = self._cells[places] == cells if len(self._cells) else np.zeros(len(cells), np.bool_)
        out = np.empty((*means.shape, len(INPUTS)))
        out[:, :, _MEANS] = means[:, :, None]
        if len(self._cells):
            plain, profile = self._plain[places], np.maximum(self._profile[places], LEAST_MEAN)
            np.copyto(out[:, :, 2 + MODEL], plain, where=known[:, None])
            np.copyto(out[:, :, 2 + PROFILE], profile, where=known[:, None])
        out[:, :, 0] = self._turns
        out[:, :, 1] = bands_of(np.rint(out[:, :, 2 + MODEL] * MILLI).astype(np.int64))
        return out

    def predict(self, inputs: Float64s) -> Float64s:
        """Weighted mean over corrected mean, less 1: float64[n, n_horizons]."""
        out = np.zeros(inputs.shape[:2])
        if not self._by_turn.shape[1]:
            return out
        weights = self._milli() / MILLI
        for i in range(self._horizons):
            of_cell = weights[i][inputs[:, i, 1].astype(np.int64)]
            for member in range(len(MEMBERS)):
                out[:, i] += of_cell[:, member] * inputs[:, i, 2 + member]
        return np.asarray(out / np.maximum(inputs[:, :, 2 + CORRECTED], LEAST_MEAN) - 1.0, np.float64)

    def correct(self, means: Float64s, predicted: Float64s, dispersion_milli: tuple[int, ...]) -> Float64s:
        """The weighted means: float64[n, n_horizons]."""
        return np.asarray(means * (1.0 + predicted), np.float64)

    # --- from what came true -------------------------------------------------------------------

    def observe(self, outcomes: list[Outcome], dispersion_milli: tuple[int, ...]) -> None:
        """Weigh the members by windows that have just ended: the next issue has the turn of the one that they are of."""
        for outcome in outcomes:
            if len(outcome.cells) and self._by_turn.shape[1]:
                turn, members = int(outcome.inputs[0, 0]), outcome.inputs[:, _MEANS]
                bands, right = outcome.inputs[:, 1].astype(np.int64), members[:, CORRECTED]
                variance = pooled(bands, right + dispersion_milli[outcome.horizon] / MILLI * right**2)
                squares = np.stack([pooled(bands, (outcome.truth - member) ** 2) for member in members.T], axis=1)
                weights = self._by_turn[outcome.horizon, turn]
                seen = variance > 0.0
                share = self._share(outcome.horizon)
                weights[seen] = weighed(weights[seen], losses(squares[seen], variance[seen]), share)

    def _share(self, horizon: int) -> float:
        """Part of the weights that returns to the start in one turn."""
        return turn_share(int(self._lengths[horizon]), self._day_slots)

    def learn(self, outcomes: list[Outcome], dispersion_milli: tuple[int, ...]) -> None:
        """Nothing more."""

    def keep_only(self, cells: UInt64s) -> None:
        """Nothing is kept of cells beyond an issue."""

    # --- keeping -------------------------------------------------------------------------------

    def to_arrays(self) -> Arrays:
        """The state as arrays, which `from_arrays` restores bit for bit; what the members said at an issue is in the issue."""
        return {"ensemble_lengths": self._lengths.copy(), "ensemble_weights": self._by_turn.copy()}

    def from_arrays(self, arrays: Arrays) -> None:
        """Restore the state that `to_arrays` returned."""
        self._lengths = arrays["ensemble_lengths"].astype(np.int64)
        self._by_turn = arrays["ensemble_weights"].astype(np.float64)


def losses(squares: Float64s, variance: Float64s) -> Float64s:
    """Losses of one close: float64[bands, members], at most MOST_LOSS.

    Args:
        squares: float64[bands, members], squared errors, summed over cells.
        variance: float64[bands], expected of a member that is right.
    """
    scale = np.maximum(variance, squares.max(axis=1, initial=0.0) / MOST_LOSS)
    return np.asarray(squares / scale[:, None], np.float64)


def weighed(weights: Float64s, loss: Float64s, share: float) -> Float64s:
    """Weights after one close: float64[bands, members]."""
    after = weights * np.exp(-RATE * (loss - loss.min(axis=1, keepdims=True)))
    after /= after.sum(axis=1, keepdims=True)
    return np.asarray((1.0 - share) * after + share * np.array(PRIOR), np.float64)


def turn_share(slots: int, day_slots: int) -> float:
    """Part of the weights that returns to the start in one turn of a horizon of so many slots.

    >>> turn_share(3, 288)
    0.001488095238095238
    """
    return min(slots / (SHARE_DAYS * day_slots), 1.0)


def most_regret(member: int, slots: int, day_slots: int, closes: int) -> float:
    """The most by which the ensemble's losses of a horizon can exceed those of a member, in one band, summed over closes.

    >>> week = 7 * 288
    >>> [round(most_regret(member, 3, 288, week) / week, 3) for member in range(len(MEMBERS))]
    [0.054, 0.013, 0.054]
    """
    turns = -(-closes // slots)
    fixed = turns * math.log(1.0 / (1.0 - turn_share(slots, day_slots))) if slots < SHARE_DAYS * day_slots else math.inf
    return slots * (math.log(1.0 / PRIOR[member]) + fixed) / RATE
