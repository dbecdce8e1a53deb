"""Errors of settled forecasts by band: busy cells first, bands from forecasts, sums over whole windows only."""

import dataclasses

import numpy as np
import pytest

from schemas.forecasts.chunks import ForecastColumns
from schemas.forecasts.settled import SettledIssue
from state.forecast.live_errors import errors_by_band
from tests.state.model_city import HOURLY

REGION = dataclasses.replace(HOURLY, slot_min=15, horizons_min=(15, 30))
MEANS = (4_000, 500, 100)  # a busy cell, a medium one and a quiet one, 1/1000 ride
TRUTHS = (6, 0, 1, 2)  # the last cell has no forecast


def issue(slot: int, *, whole: bool = True) -> SettledIssue:
    """An issue of three cells, with rides in one more."""
    mean = np.array([[m, 2 * m] for m in MEANS], np.int64)
    zero = np.zeros_like(mean)
    columns = ForecastColumns(np.array([1, 2, 3], np.uint64), (15, 30), mean, mean, zero, mean, zero, mean // 2, np.zeros(3, np.uint8))
    truth = np.array([[t, 2 * t] for t in TRUTHS], np.int64)
    return SettledIssue(slot, columns, (), np.array([1, 2, 3, 4], np.uint64), truth, np.array([whole, True]))


def test_busy_cells_come_first_with_their_own_errors() -> None:
    """Bands follow from the mean forecast; each row is pooled over its cells and issues; all cells come last."""
    rows = errors_by_band(REGION, [issue(1), issue(2)])
    assert [(band, h) for band in ("busy", "medium", "quiet", "all") for h in (15, 30)] == [(row.band, row.horizon_min) for row in rows]
    busy, quiet, every = rows[0], rows[4], rows[6]
    assert (1, 2, 12) == (busy.cells, busy.windows, busy.rides)
    assert pytest.approx((2 / 6, 4 / 6, 2.0, 4.0), abs=1e-6) == (
        busy.wape_median,
        busy.baseline_wape_median,
        busy.rmse_mean,
        busy.baseline_rmse_mean,
    )
    assert (2, 4, 6) == (quiet.cells, quiet.windows, quiet.rides)  # with the cell that has no forecast
    assert pytest.approx((0.9 + 2) / 3, abs=1e-6) == quiet.wape_median
    assert (4, 8, 18) == (every.cells, every.windows, every.rides)


def test_windows_that_were_not_observed_are_left_out() -> None:
    """The horizon without a whole window has no error, the other has; nothing comes of no issue."""
    rows = errors_by_band(REGION, [issue(1, whole=False)])
    assert (0, None, None) == (rows[0].windows, rows[0].wape_median, rows[0].rmse_mean)
    assert 12 == rows[1].rides
    assert [] == errors_by_band(REGION, [])
