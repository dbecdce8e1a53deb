"""Errors of issued forecasts, by the served integers, so that anyone can recompute them."""

import numpy as np

from schemas.events.rides import Float64s, Int64s
from schemas.records.records import ScoreRow
from state.forecast.issued import Issued
from state.models.predictive import around, predictive
from state.models.protocol import Outcome
from state.models.spread import share_below

MILLI = 1000


def outcome_of(issued: Issued, name: str, i: int, truth: Int64s) -> Outcome:
    """What a corrector learns from horizon i of an issue; truth: int64[n], rides of its cells."""
    own, correction = issued.own, issued.corrections[name]
    rides = truth[own].astype(np.float64)
    return Outcome(i, issued.columns.cells[own], correction.inputs[:, i], correction.means[:, i], correction.predicted[:, i], rides)


class Around:
    """F(y - 1) and F(y) of the counts of an issue, before recalibration: kept from the first score to the settled one.

    Few counts change in between, and the function is slow. It is no state: what is not kept is computed again, to the same bits.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], tuple[Int64s, Float64s, Float64s]] = {}

    def of(self, issued: Issued, i: int, truth: Int64s) -> tuple[Float64s, Float64s]:
        """Of horizon i of an issue: float64[n] twice; truth: int64[n], rides of its cells."""
        means, dispersion = issued.columns.mean[:, i] / MILLI, issued.columns.dispersion[:, i] / MILLI
        kept = self._kept.get((issued.slot, i))
        if kept is None:
            below, until = around(truth, means, dispersion)
        else:
            before, below, until = kept
            rows = np.flatnonzero(truth != before)
            below, until = below.copy(), until.copy()
            below[rows], until[rows] = around(truth[rows], means[rows], dispersion[rows])
        self._kept[issued.slot, i] = (truth, below, until)
        return below, until

    def drop_before(self, slot: int) -> None:
        """Drop issues of earlier slots."""
        self._kept = {place: kept for place, kept in self._kept.items() if place[0] >= slot}


def score_row(issued: Issued, i: int, truth: Int64s, chances: "tuple[Float64s, Float64s] | None" = None) -> ScoreRow:
    """Errors of horizon i of an issue, by the served integers; `chances` as from `Around.of`, for an issue with bands."""
    columns = issued.columns
    truth_milli = truth * MILLI
    error = truth_milli - columns.mean[:, i]
    base_error = truth_milli - columns.baseline[:, i]
    return ScoreRow(
        horizon_min=columns.horizons_min[i],
        cells=len(columns),
        truth=int(truth.sum()),
        forecast_mean_milli=int(columns.mean[:, i].sum()),
        abs_error_milli=int(np.abs(truth_milli - columns.median[:, i]).sum()),
        square_error_micro=int((error * error).sum()),
        baseline_abs_error_milli=int(np.abs(base_error).sum()),
        baseline_square_error_micro=int((base_error * base_error).sum()),
        covered=_covered(issued, i, truth, chances),
    )


def _covered(issued: Issued, i: int, truth: Int64s, chances: "tuple[Float64s, Float64s] | None") -> int:
    """Cells covered by the interval of a horizon.

    With bands, the sum over the cells of the probability that the randomised PIT is between the lower and the upper
    probability, rounded: a whole interval of a quiet cell, such as [0, 0], covers far more than 80 %, whatever it is worth.
    """
    columns = issued.columns
    if not issued.spread:
        truth_milli = truth * MILLI
        return int(((columns.lower[:, i] <= truth_milli) & (truth_milli <= columns.upper[:, i])).sum())
    below, until = predictive(issued.spread[i], columns.mean[:, i], columns.dispersion[:, i]).around(truth, chances)
    lower, upper = (np.full(len(truth), milli / MILLI) for milli in (issued.spread[i].lower_milli, issued.spread[i].upper_milli))
    return round(float((share_below(upper, below, until) - share_below(lower, below, until)).sum()))
