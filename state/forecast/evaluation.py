"""Forecast accuracy: pooled errors per band of cells and horizon, compared with baselines.

The truth is the settled count. Every issue whose whole window is in the test period counts, for every cell
that had a ride in training or test; a cell without a forecast counts as a forecast of zero. A baseline
uses every slot known at the issue; its single number is both its mean and its median.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.events.rides import Float64s, UInt64s
from schemas.forecasts.chunks import ForecastColumns
from schemas.regions import Region
from state.counting.slots import CountColumns
from state.demand.calendar import Calendar

SERVED = "served"
BASELINES = ("last_value", "mean_last_hour", "same_slot_last_week", "weekday_slot_mean")
MODELS = (SERVED, *BASELINES)
BANDS = ("busy", "medium", "quiet", "new", "all")
BUSY_PER_15_MIN = 1.0
MEDIUM_PER_15_MIN = 0.25
MILLI = 1000.0


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """Pooled errors of one model; rides per window. Coverage is None where a model gives no interval."""

    band: str
    horizon_min: int
    model: str
    cells: int
    issues: int
    rmse_mean: float
    wape_median: float
    bias: float
    coverage80: float | None


class Evaluation:
    """Accumulates errors issue by issue.

    Args:
        region: Defines slot length, horizons and timezone.
        counts: Settled rides of training and test.
        train_slots: (first, until) of the training period.
        test_until: Slot at which the test ends.
    """

    def __init__(self, region: Region, counts: CountColumns, train_slots: tuple[int, int], test_until: int) -> None:
        self.region, self._calendar = region, Calendar(region)
        self.first, self.train_until = train_slots
        self.test_until = test_until
        inside = (counts.slots >= self.first) & (counts.slots < test_until)
        self.cells: UInt64s = np.unique(counts.cells[inside])
        dense = np.zeros((test_until - self.first + 1, len(self.cells)), np.int32)
        rows = counts.slots[inside] - self.first + 1
        dense[rows, np.searchsorted(self.cells, counts.cells[inside])] = counts.counts[inside]
        # cumulative[i] holds the rides of slots [first, first + i)
        self._cumulative: npt.NDArray[np.int32] = np.cumsum(dense, axis=0, out=dense)
        self._band = self._bands()
        shape = (len(region.horizons), len(MODELS), len(BANDS) - 1)
        self._absolute, self._square, self._forecast = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self._truth = np.zeros((shape[0], shape[2]))
        self._covered = np.zeros((shape[0], shape[2]))
        self._issues = np.zeros(shape[0], np.int64)

    def _bands(self) -> npt.NDArray[np.int64]:
        train = self._cumulative[self.train_until - self.first].astype(np.float64)
        per_15_min = train / (self.train_until - self.first) * (15 / self.region.slot_min)
        bands: npt.NDArray[np.int64] = np.select([per_15_min >= BUSY_PER_15_MIN, per_15_min >= MEDIUM_PER_15_MIN, train > 0], [0, 1, 2], 3)
        return bands

    def _rides(self, from_slot: int, until_slot: int) -> Float64s:
        rides: Float64s = (self._cumulative[until_slot - self.first] - self._cumulative[from_slot - self.first]).astype(np.float64)
        return rides

    def add(self, slot: int, served: ForecastColumns) -> None:
        """Score the forecasts issued at a slot's cut, and the baselines."""
        place = np.searchsorted(self.cells, served.cells)
        place = np.minimum(place, len(self.cells) - 1)
        known = self.cells[place] == served.cells
        for i, h in enumerate(self.region.horizons):
            start, until = slot + 1, slot + 1 + h
            if start < self.train_until or until > self.test_until:
                continue
            truth = self._rides(start, until)
            mean, median, lower, upper = (np.zeros(len(self.cells)) for _ in range(4))
            for out, column in ((mean, served.mean), (median, served.median), (lower, served.lower), (upper, served.upper)):
                out[place[known]] = column[known, i] / MILLI
            self._issues[i] += 1
            self._truth[i] += self._pool(truth)
            self._covered[i] += self._pool(((lower <= truth) & (truth <= upper)).astype(np.float64))
            self._add_errors(i, 0, mean, median, truth)
            for number, forecast in enumerate(self._baselines(slot, h), start=1):
                self._add_errors(i, number, forecast, forecast, truth)

    def _baselines(self, slot: int, h: int) -> Iterator[Float64s]:
        """Forecasts in the order of BASELINES; a baseline without past data is zero."""
        start, hour = slot + 1, 60 // self.region.slot_min or 1
        yield self._rides(slot, start) * h
        since = max(self.first, start - hour)
        yield self._rides(since, start) / (start - since) * h
        weeks = [self._calendar.seasonal(start, 7 * week) for week in range(1, (start - self.first) // (7 * self._calendar.day_slots) + 2)]
        past = [self._rides(week, week + h) for week in weeks if week >= self.first and week + h <= start]
        zero = np.zeros(len(self.cells))
        yield past[0] if past else zero
        yield sum(past, zero) / max(len(past), 1)

    def _pool(self, values: Float64s) -> Float64s:
        pooled: Float64s = np.bincount(self._band, values, len(BANDS) - 1).astype(np.float64)
        return pooled

    def _add_errors(self, i: int, model: int, mean: Float64s, median: Float64s, truth: Float64s) -> None:
        self._absolute[i, model] += self._pool(np.abs(median - truth))
        self._square[i, model] += self._pool((mean - truth) ** 2)
        self._forecast[i, model] += self._pool(mean)

    def rows(self) -> list[EvaluationRow]:
        """One row per band, horizon and model; bands without cells are left out."""
        out = []
        per_band = np.bincount(self._band, minlength=len(BANDS) - 1)
        for number, band in enumerate(BANDS):
            pick: Sequence[int] = [number] if band != "all" else range(len(BANDS) - 1)
            cells = int(per_band[pick].sum())
            for i, horizon_min in enumerate(self.region.horizons_min):
                pairs, truth = cells * int(self._issues[i]), float(self._truth[i, pick].sum())
                if not pairs or not truth:
                    continue
                for m, model in enumerate(MODELS):
                    out.append(
                        EvaluationRow(
                            band,
                            horizon_min,
                            model,
                            cells,
                            int(self._issues[i]),
                            float(np.sqrt(self._square[i, m, pick].sum() / pairs)),
                            float(self._absolute[i, m, pick].sum() / truth),
                            float(self._forecast[i, m, pick].sum() / truth - 1.0),
                            float(self._covered[i, pick].sum() / pairs) if model == SERVED else None,
                        )
                    )
        return out
