"""Errors of issued forecasts, by the served integers, so that anyone can recompute them."""

import numpy as np

from schemas.events.rides import Int64s
from schemas.records.records import ScoreRow
from state.forecast.issued import Issued
from state.models.predictive import predictive
from state.models.protocol import Outcome
from state.models.spread import share_below

MILLI = 1000


def outcome_of(issued: Issued, name: str, i: int, truth: Int64s) -> Outcome:
    """What a corrector learns from horizon i of an issue; truth: int64[n], rides of its cells."""
    own, correction = issued.own, issued.corrections[name]
    rides = truth[own].astype(np.float64)
    return Outcome(i, issued.columns.cells[own], correction.inputs[:, i], correction.means[:, i], correction.predicted[:, i], rides)


def score_row(issued: Issued, i: int, truth: Int64s) -> ScoreRow:
    """Errors of horizon i of an issue, by the served integers."""
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
        covered=_covered(issued, i, truth),
    )


def _covered(issued: Issued, i: int, truth: Int64s) -> int:
    """Cells covered by the interval of a horizon.

    With bands, the sum over the cells of the probability that the randomised PIT is between the lower and the upper
    probability, rounded: a whole interval of a quiet cell, such as [0, 0], covers far more than 80 %, whatever it is worth.
    """
    columns = issued.columns
    if not issued.spread:
        truth_milli = truth * MILLI
        return int(((columns.lower[:, i] <= truth_milli) & (truth_milli <= columns.upper[:, i])).sum())
    below, until = predictive(issued.spread[i], columns.mean[:, i], columns.dispersion[:, i]).around(truth)
    lower, upper = (np.full(len(truth), milli / MILLI) for milli in (issued.spread[i].lower_milli, issued.spread[i].upper_milli))
    return round(float((share_below(upper, below, until) - share_below(lower, below, until)).sum()))
