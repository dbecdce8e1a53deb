"""Errors of issued forecasts, by the served integers, so that anyone can recompute them."""

from dataclasses import dataclass

import numpy as np

from schemas.events.rides import Float64s, Int64s
from schemas.records.records import ScoreRow
from state.forecast.issued import Issued
from state.models.chances import chance_within
from state.models.predictive import around, predictive
from state.models.protocol import Outcome

MILLI = 1000


def outcome_of(issued: Issued, name: str, i: int, truth: Int64s) -> Outcome:
    """What a corrector learns from horizon i of an issue; truth: int64[n], rides of its cells."""
    own, correction = issued.own, issued.corrections[name]
    rides = truth[own].astype(np.float64)
    return Outcome(i, issued.columns.cells[own], correction.inputs[:, i], correction.means[:, i], correction.predicted[:, i], rides)


Chances = tuple[Float64s, Float64s]  # F(y - 1) and F(y) before recalibration: float64[n] each


@dataclass(frozen=True, slots=True)
class Score:
    """Errors of one horizon of an issue, and the chances of its counts; None for an issue without bands.

    Attributes:
        truth: int64[n], the counts.
    """

    truth: Int64s
    row: ScoreRow
    chances: Chances | None


class Scores:
    """Scores issues, and keeps the first score until the settled one.

    Few counts change in between, and F is slow. It is no state: what is not kept is computed again, to the same bits.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], Score] = {}

    def of(self, issued: Issued, i: int, truth: Int64s) -> Score:
        """Score horizon i of an issue; truth: int64[n], rides of its cells."""
        kept = self._kept.get((issued.slot, i))
        if kept is not None and np.array_equal(truth, kept.truth):
            return kept
        chances = None
        if issued.spread:
            means, dispersion = issued.columns.mean[:, i] / MILLI, issued.columns.dispersion[:, i] / MILLI
            if kept is None or kept.chances is None:
                chances = around(truth, means, dispersion)
            else:
                rows = np.flatnonzero(truth != kept.truth)
                below, until = (of.copy() for of in kept.chances)
                below[rows], until[rows] = around(truth[rows], means[rows], dispersion[rows])
                chances = below, until
        self._kept[issued.slot, i] = score = Score(truth, score_row(issued, i, truth, chances), chances)
        return score

    def drop_before(self, slot: int) -> None:
        """Drop issues of earlier slots."""
        self._kept = {place: kept for place, kept in self._kept.items() if place[0] >= slot}


def score_row(issued: Issued, i: int, truth: Int64s, chances: Chances | None = None) -> ScoreRow:
    """Errors of horizon i of an issue, by the served integers; `chances` if the caller knows them."""
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


def _covered(issued: Issued, i: int, truth: Int64s, chances: Chances | None) -> int:
    """Cells covered by the interval of a horizon.

    With bands, the sum over the cells of the probability that the randomised PIT is between the lower and the upper
    probability, rounded: a whole interval of a quiet cell, such as [0, 0], covers far more than 80 %, whatever it is worth.
    """
    columns = issued.columns
    if not issued.spread:
        truth_milli = truth * MILLI
        return int(((columns.lower[:, i] <= truth_milli) & (truth_milli <= columns.upper[:, i])).sum())
    below, until = predictive(issued.spread[i], columns.mean[:, i], columns.dispersion[:, i]).around(truth, chances)
    lower, upper = (milli / MILLI for milli in (issued.spread[i].lower_milli, issued.spread[i].upper_milli))
    # Two shares and their difference: recorded scores were rounded from it, to the last bit.
    return round(float((chance_within(below, until, (0.0, upper)) - chance_within(below, until, (0.0, lower))).sum()))
