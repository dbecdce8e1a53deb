"""Whether what is served drifts in busy, medium or quiet cells: the series of `drift` for each band.

Over all cells, the rides are those of busy cells, and the share inside an interval is that of quiet ones: what happens to one band
only is hardly seen. A cell belongs to the band of what was forecast for it, at each issue. The sums come from settled issues; what
is settled does not change, so a run and its repetition find the same.
"""

import numpy as np

from schemas.errors import ContractError
from schemas.events.rides import Float64s
from schemas.forecasts.settled import SettledIssue
from state.decide.drift import PARTS, REFERENCE_DAYS, SERIES, Drift, beyond, values_of
from state.forecast.evaluation import BUSY_PER_15_MIN, MEDIUM_PER_15_MIN, MILLI
from state.models.chances import chance_within
from state.models.predictive import predictive

BANDS = ("busy", "medium", "quiet")
SUMS = 4  # rides, forecast rides, cells inside their interval, cells
THRESHOLD = 28.0  # of six series; see `drift`
LEAST = 20.0  # rides that were forecast in a part, and cells: of fewer the log is too skewed, and a share too coarse
NAMES = tuple(f"{what}, {band} cells" for band in BANDS for what in SERIES)


def band_sums(issue: SettledIssue) -> Float64s:
    """What one issue adds to the sums of its part of a day: float64[3, SUMS]; zero if its first window is not whole."""
    sums = np.zeros((len(BANDS), SUMS))
    columns = issue.columns
    if not issue.whole[0] or not len(columns.cells):
        return sums
    means = columns.mean[:, 0] / MILLI
    truth = issue.truth[np.searchsorted(issue.cells, columns.cells), 0]
    per_15_min = means * (15 / columns.horizons_min[0])
    band = np.select([per_15_min >= BUSY_PER_15_MIN, per_15_min >= MEDIUM_PER_15_MIN], [0, 1], 2)
    below, until = predictive(issue.spread[0], columns.mean[:, 0], columns.dispersion[:, 0]).around(truth)
    inside = chance_within(below, until, (issue.spread[0].lower_milli / MILLI, issue.spread[0].upper_milli / MILLI))
    for place, values in enumerate((truth.astype(np.float64), means, inside, np.ones(len(truth)))):
        sums[:, place] = np.bincount(band, values, len(BANDS))
    return sums


def drifts_in_bands(sums: Float64s, first: int) -> list[Drift]:
    """The series of bands that drift, the first time that each does.

    Args:
        sums: float64[3, SUMS, n], of n parts of days, from the first part of a day.
        first: Number of the first part.
    Raises:
        ContractError: the sums have another shape.
    """
    if sums.shape[:2] != (len(BANDS), SUMS):
        raise ContractError(f"drift: expected sums of {len(BANDS)} bands, {SUMS} each, got {sums.shape}")
    if sums.shape[2] <= REFERENCE_DAYS * PARTS:
        return []
    values = np.concatenate([np.where((of_band[1] >= LEAST) & (of_band[3] >= LEAST), values_of(of_band), np.nan) for of_band in sums])
    return beyond(NAMES, values, first, THRESHOLD)
