"""Forecast accuracy: pooled errors per band of cells and horizon, compared with baselines.

The truth is the settled count. Every issue whose whole window is in the test period counts, for every cell
that had a ride in training or test; a cell without a forecast counts as a forecast of zero. A baseline
uses every slot known at the issue; its single number is both its mean and its median.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from schemas.events.rides import Float64s, Int64s, UInt64s
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import HorizonSpread
from schemas.regions import Region
from state.counting.slots import CountColumns
from state.demand.calendar import Calendar
from state.forecast.calibration import PIT_BINS, Uniforms, covered, crps, histogram, pit, poisson_error, share
from state.models.intervals import LOWER_MILLI, UPPER_MILLI
from state.models.predictive import predictive

SERVED = "served"
BASELINES = ("last_value", "mean_last_hour", "same_slot_last_week", "weekday_slot_mean")
MODELS = (SERVED, *BASELINES)
NOISE_FLOOR = "noise_floor"  # expected errors if counts were Poisson with the served means
BANDS = ("busy", "medium", "quiet", "new", "all")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
BUSY_PER_15_MIN = 1.0
MEDIUM_PER_15_MIN = 0.25
MILLI = 1000.0


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """Pooled errors of one model; rides per window. Coverage and CRPS are None where a model gives no distribution.

    Attributes:
        coverage80: Share of counts whose randomised PIT is in [0.1, 0.9]; see `state.forecast.calibration`.
        crps: Mean continuous ranked probability score, rides.
    """

    band: str
    horizon_min: int
    model: str
    cells: int
    issues: int
    rmse_mean: float
    wape_median: float
    bias: float
    coverage80: float | None
    crps: float | None = None


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """Calibration of the served distributions over some issues and cells.

    Attributes:
        day: Local day of the week on which windows begin, or "all".
        pit: Share of randomised PITs in each twentieth of [0, 1]; 0.05 each if the distributions fit.
    """

    band: str
    horizon_min: int
    day: str
    pairs: int
    coverage80: float
    pit: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Sums over the cells of a band, issue by issue, of one horizon.

    Attributes:
        slots: int64[n], the slots of the issues.
        absolute, square, forecast: float64[n, len(MODELS) + 1, bands]; the last model is the noise floor.
        truth, crps: float64[n, bands].
        pit: int64[n, bands, PIT_BINS].
        covered: float64[n, bands].
    """

    slots: Int64s
    absolute: Float64s
    square: Float64s
    forecast: Float64s
    truth: Float64s
    crps: Float64s
    pit: Int64s
    covered: Float64s


class _Sums:
    """The sums of one issue and horizon."""

    def __init__(self, slot: int) -> None:
        shape = (len(MODELS) + 1, len(BANDS) - 1)
        self.slot = slot
        self.absolute, self.square, self.forecast = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.truth, self.crps, self.covered = (np.zeros(shape[1]) for _ in range(3))
        self.pit = np.zeros((shape[1], PIT_BINS), np.int64)


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
        self.band = self._bands()
        self._uniforms = Uniforms(region.id, self.cells)
        self._sums: list[list[_Sums]] = [[] for _ in region.horizons]
        # Per horizon, model and cell.
        self.cell_absolute, self.cell_square, self.cell_forecast = (
            np.zeros((len(region.horizons), len(MODELS) + 1, len(self.cells))) for _ in range(3)
        )
        self.cell_truth = np.zeros((len(region.horizons), len(self.cells)))
        # Of the first horizon: rides and forecasts per day, and the largest error of each cell.
        self.days: dict[date, Float64s] = {}  # float64[2, cells]: truth, mean
        self.largest = np.zeros((4, len(self.cells)))  # absolute error, slot, truth, mean

    def _bands(self) -> Int64s:
        train = self._cumulative[self.train_until - self.first].astype(np.float64)
        per_15_min = train / (self.train_until - self.first) * (15 / self.region.slot_min)
        bands: Int64s = np.select([per_15_min >= BUSY_PER_15_MIN, per_15_min >= MEDIUM_PER_15_MIN, train > 0], [0, 1, 2], 3)
        return bands

    def _rides(self, from_slot: int, until_slot: int) -> Float64s:
        rides: Float64s = (self._cumulative[until_slot - self.first] - self._cumulative[from_slot - self.first]).astype(np.float64)
        return rides

    def add(self, slot: int, served: ForecastColumns, spread: Sequence[HorizonSpread] = ()) -> None:
        """Score the forecasts issued at a slot's cut, and the baselines.

        Args:
            spread: The predictive distribution of each horizon, as recorded; without it, there is no recalibration.
        """
        place = np.searchsorted(self.cells, served.cells)
        place = np.minimum(place, len(self.cells) - 1)
        known = self.cells[place] == served.cells
        for i, h in enumerate(self.region.horizons):
            start, until = slot + 1, slot + 1 + h
            if start < self.train_until or until > self.test_until:
                continue
            truth = self._rides(start, until)
            mean_milli, median, dispersion_milli = (np.zeros(len(self.cells), np.int64) for _ in range(3))
            for out, column in ((mean_milli, served.mean), (median, served.median), (dispersion_milli, served.dispersion)):
                out[place[known]] = column[known, i]
            sums, mean = _Sums(slot), mean_milli / MILLI
            sums.truth = self._pool(truth)
            self.cell_truth[i] += truth
            law = predictive(spread[i] if spread else _plain(self.region.horizons_min[i]), mean_milli, dispersion_milli)
            pits = pit(law, truth.astype(np.int64), self._uniforms.at(slot, self.region.horizons_min[i]))
            sums.covered, sums.crps = self._pool(covered(pits)), self._pool(crps(law, truth.astype(np.int64)))
            sums.pit = histogram(pits, self.band, len(BANDS) - 1)
            self._add_errors(i, sums, 0, mean, median / MILLI, truth)
            for number, forecast in enumerate(self._baselines(slot, h), start=1):
                self._add_errors(i, sums, number, forecast, forecast, truth)
            self._keep(i, sums, len(MODELS), poisson_error(mean), mean, mean)
            self._sums[i].append(sums)
            if i == 0:
                self._remember(slot, truth, mean)

    def _remember(self, slot: int, truth: Float64s, mean: Float64s) -> None:
        day = self.days.setdefault(self.local_start(slot).date(), np.zeros((2, len(self.cells))))
        day += np.stack([truth, mean])
        error = np.abs(mean - truth)
        larger = np.flatnonzero(error > self.largest[0])
        self.largest[:, larger] = np.stack([error, np.full(len(error), slot), truth, mean])[:, larger]

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
        pooled: Float64s = np.bincount(self.band, values, len(BANDS) - 1).astype(np.float64)
        return pooled

    def _add_errors(self, i: int, sums: _Sums, model: int, mean: Float64s, median: Float64s, truth: Float64s) -> None:
        self._keep(i, sums, model, np.abs(median - truth), (mean - truth) ** 2, mean)

    def _keep(self, i: int, sums: _Sums, model: int, absolute: Float64s, square: Float64s, mean: Float64s) -> None:
        self.cell_absolute[i, model] += absolute
        self.cell_square[i, model] += square
        self.cell_forecast[i, model] += mean
        sums.absolute[model], sums.square[model], sums.forecast[model] = self._pool(absolute), self._pool(square), self._pool(mean)

    def series(self, horizon: int) -> Series:
        """The sums of every issue of one horizon, by its position."""
        kept = self._sums[horizon]

        def column(of: Callable[[_Sums], npt.NDArray[np.generic]], like: npt.NDArray[np.generic]) -> Float64s:
            return np.array([of(sums) for sums in kept], np.float64).reshape(len(kept), *like.shape)

        none = _Sums(0)
        return Series(
            slots=np.array([sums.slot for sums in kept], np.int64),
            absolute=column(lambda sums: sums.absolute, none.absolute),
            square=column(lambda sums: sums.square, none.square),
            forecast=column(lambda sums: sums.forecast, none.forecast),
            truth=column(lambda sums: sums.truth, none.truth),
            crps=column(lambda sums: sums.crps, none.crps),
            pit=column(lambda sums: sums.pit, none.pit).astype(np.int64),
            covered=column(lambda sums: sums.covered, none.covered),
        )

    def local_start(self, slot: int) -> datetime:
        """Local time at which the windows of an issue begin."""
        return datetime.fromtimestamp((slot + 1) * self.region.slot_us / 1e6, UTC).astimezone(ZoneInfo(self.region.timezone))

    def rows(self) -> list[EvaluationRow]:
        """One row per band, horizon and model; bands without cells are left out."""
        return [row for band in BANDS for row in self._rows_of(band, MODELS)]

    def floor_rows(self) -> list[EvaluationRow]:
        """Rows of the noise floor: what the errors would be if the served means were the true rates of Poisson counts."""
        return [row for band in BANDS for row in self._rows_of(band, (NOISE_FLOOR,))]

    def _rows_of(self, band: str, models: Sequence[str]) -> Iterator[EvaluationRow]:
        pick = bands_in(band)
        cells = int(np.isin(self.band, pick).sum())
        for i, horizon_min in enumerate(self.region.horizons_min):
            series = self.series(i)
            issues = len(series.slots)
            pairs, truth = cells * issues, float(series.truth[:, pick].sum())
            if not pairs or not truth:
                continue
            for model in models:
                m, served = (*MODELS, NOISE_FLOOR).index(model), model == SERVED
                # The noise floor is relative to its own expected truth.
                total = float(series.forecast[:, m, pick].sum()) if model == NOISE_FLOOR else truth
                yield EvaluationRow(
                    band,
                    horizon_min,
                    model,
                    cells,
                    issues,
                    float(np.sqrt(series.square[:, m, pick].sum() / pairs)),
                    float(series.absolute[:, m, pick].sum() / total) if total else 0.0,
                    float(series.forecast[:, m, pick].sum() / truth - 1.0),
                    float(series.covered[:, pick].sum() / pairs) if served else None,
                    float(series.crps[:, pick].sum() / pairs) if served else None,
                )

    def calibration(self) -> list[CalibrationRow]:
        """One row per band, horizon and local day of the week, and one over all days; those without issues are left out."""
        out = []
        for band in BANDS:
            pick = bands_in(band)
            cells = int(np.isin(self.band, pick).sum())
            for i, horizon_min in enumerate(self.region.horizons_min):
                series = self.series(i)
                weekdays = np.array([self.local_start(slot).weekday() for slot in series.slots.tolist()], np.int64)
                for number, day in enumerate((*DAYS, "all")):
                    rows = np.flatnonzero(weekdays == number) if day != "all" else np.arange(len(weekdays))
                    inside = share(series.covered[rows][:, pick].sum(), cells * len(rows))
                    if inside is not None:
                        bins = series.pit[rows][:, pick].sum(axis=(0, 1))
                        out.append(CalibrationRow(band, horizon_min, day, cells * len(rows), inside, tuple((bins / bins.sum()).tolist())))
        return out


def bands_in(band: str) -> list[int]:
    """Positions of the bands that a name stands for.

    >>> bands_in("medium"), bands_in("all")
    ([1], [0, 1, 2, 3])
    """
    return [BANDS.index(band)] if band != "all" else list(range(len(BANDS) - 1))


def _plain(horizon_min: int) -> HorizonSpread:
    return HorizonSpread(
        horizon_min=horizon_min, dispersion_milli=0, quiet_dispersion_milli=0, lower_milli=LOWER_MILLI, upper_milli=UPPER_MILLI
    )
