"""Errors of settled forecasts by how busy their cells are: the error over all cells is mostly that of quiet ones, and says little.

A cell's band follows from its forecasts, not from the rides that came: choosing cells by their outcome would flatter some.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from schemas.events.rides import Float64s, Int64s, UInt64s
from schemas.forecasts.settled import SettledIssue
from schemas.regions import Region
from state.forecast.evaluation import BANDS, BUSY_PER_15_MIN, MEDIUM_PER_15_MIN, MILLI

COLUMNS = ("mean", "median", "baseline")
ALL = len(BANDS) - 1


@dataclass(frozen=True, slots=True)
class BandError:
    """Pooled errors of one band and horizon; rides per window. Errors are None without a ride or a window.

    Attributes:
        band: "busy" (forecasts of at least 1 ride per 15 min on average), "medium" (0.25), "quiet", or "all".
        cells: In the band.
        windows: Pairs of cell and issue that are pooled.
        rides: That came, over all windows.
    """

    band: str
    horizon_min: int
    cells: int
    windows: int
    rides: int
    wape_median: float | None
    baseline_wape_median: float | None
    rmse_mean: float | None
    baseline_rmse_mean: float | None


def errors_by_band(region: Region, issues: Iterable[SettledIssue]) -> list[BandError]:
    """Errors of the served forecasts and of the baseline, busy cells first; a band without a cell is left out.

    Windows that were not observed as a whole are left out. A cell without a forecast counts as a forecast of no ride.
    """
    read = list(issues)
    if not read:
        return []
    cells = np.unique(np.concatenate([issue.cells for issue in read]))
    bands = _bands(region, read, cells)
    out = []
    for band, name in enumerate(BANDS):
        chosen = np.ones(len(cells), np.bool_) if band == ALL else bands == band
        if chosen.any():
            out += [_pooled(name, i, cells[chosen], read) for i in range(len(region.horizons_min))]
    return out


def _bands(region: Region, issues: list[SettledIssue], cells: UInt64s) -> Int64s:
    sums = np.zeros(len(cells))
    for issue in issues:
        sums[np.searchsorted(cells, issue.columns.cells)] += issue.columns.mean[:, 0] / MILLI
    per_15_min = sums / len(issues) * (15 / region.horizons_min[0])
    found: Int64s = np.select([per_15_min >= BUSY_PER_15_MIN, per_15_min >= MEDIUM_PER_15_MIN], [0, 1], 2)
    return found


def _pooled(band: str, i: int, cells: UInt64s, issues: list[SettledIssue]) -> BandError:
    absolute, square, rides, windows = np.zeros(2), np.zeros(2), 0, 0
    for issue in issues:
        if not issue.whole[i]:
            continue
        mine = np.flatnonzero(np.isin(issue.cells, cells))
        truth = issue.truth[mine, i].astype(np.float64)
        mean, median, baseline = (_placed(issue, name, i)[mine] for name in COLUMNS)
        absolute += [np.abs(median - truth).sum(), np.abs(baseline - truth).sum()]
        square += [((mean - truth) ** 2).sum(), ((baseline - truth) ** 2).sum()]
        rides, windows = rides + int(truth.sum()), windows + len(mine)
    wapes = [round(float(part) / rides, 6) if rides else None for part in absolute]
    rmses = [round(float(np.sqrt(part / windows)), 6) if windows else None for part in square]
    horizon_min = issues[0].columns.horizons_min[i]
    return BandError(band, horizon_min, len(cells), windows, rides, *wapes, *rmses)


def _placed(issue: SettledIssue, name: str, i: int) -> Float64s:
    """A column of the forecasts, rides, for all cells of an issue; zero without a forecast."""
    out = np.zeros(len(issue.cells))
    out[np.searchsorted(issue.cells, issue.columns.cells)] = getattr(issue.columns, name)[:, i] / MILLI
    return out
