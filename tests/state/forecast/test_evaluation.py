"""Errors of forecasts: exact numbers on an example made by hand, and any city against a slow plain reference."""

import hashlib
import math
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import special  # type: ignore[import-untyped]

from schemas.forecasts.chunks import ForecastColumns
from schemas.regions import Region, RegionId
from state.counting.slots import CountColumns, merge_counts
from state.demand.calendar import Calendar
from state.forecast.evaluation import BANDS, BASELINES, MODELS, SERVED, Evaluation, EvaluationRow

Rides = Mapping[tuple[int, int], int]  # (slot, cell) -> rides
Numbers = tuple[float, float, float, float]  # mean, median, lower, upper; rides
DISPERSION = 0.2
Served = Mapping[int, Mapping[int, tuple[Numbers, ...]]]  # slot of the issue -> cell -> per horizon

BUSY, MEDIUM, QUIET, NEW = 10, 20, 30, 40
SQUARE = ((40.0, -75.0), (41.0, -75.0), (41.0, -73.0))


def make_region(slot_min: int, horizons_min: tuple[int, ...], timezone: str = "UTC") -> Region:
    """A region of which only clock, slots and horizons matter."""
    return Region(RegionId("town"), timezone, SQUARE, slot_min=slot_min, horizons_min=horizons_min)


def columns_of(rides: Rides) -> CountColumns:
    """Rides as the sparse columns of settled counts."""
    rows = [(slot, cell, n) for (slot, cell), n in rides.items() if n]
    slots, cells, counts = zip(*rows, strict=True)
    return merge_counts([(np.array(slots), np.array(cells, np.uint64), np.array(counts))])


def forecast(region: Region, cells: Mapping[int, tuple[Numbers, ...]]) -> ForecastColumns:
    """What was served at one cut, as columns."""
    table = np.array([cells[cell] for cell in sorted(cells)]).reshape(len(cells), len(region.horizons), 4)
    mean, median, lower, upper = (np.rint(1000 * table[:, :, i]).astype(np.int64) for i in range(4))
    codes = np.array(sorted(cells), np.uint64)
    wide = np.full(mean.shape, round(1000 * DISPERSION))
    return ForecastColumns(codes, region.horizons_min, mean, median, lower, upper, wide, mean, np.zeros(len(codes), np.uint8))


@cache
def plain_cumulative(mean: float) -> list[float]:
    """Probability of 0, 1, ... rides or fewer, by the textbook's negative binomial, until nothing is left."""
    size, p = 1 / DISPERSION, 1 / (1 + DISPERSION * mean)
    k = np.arange(int(mean + 14 * math.sqrt(mean + DISPERSION * mean**2)) + 30)
    logs = special.gammaln(k + size) - special.gammaln(size) - special.gammaln(k + 1) + size * math.log(p)
    return [float(total) for total in np.cumsum(np.exp(logs + special.xlog1py(k, -p)))]


def plain_pit(region: Region, slot: int, cell: int, horizon_min: int, mean: float, truth: int) -> float:
    """The randomised PIT of one count, from its definition."""
    said = region.id.encode() + b"\0" + struct.pack(">QqI", cell, slot, horizon_min)
    share = (int.from_bytes(hashlib.sha256(said).digest()[:8], "big") >> 11) / 2**53
    table = [0.0, *plain_cumulative(mean)] if mean else [0.0, 1.0]
    below, until = (table[min(n, len(table) - 1)] for n in (truth, truth + 1))
    return below + share * (until - below)


def plain_crps(mean: float, truth: int) -> float:
    """The CRPS of one count, from its definition; without a forecast the absolute error."""
    table = np.array(plain_cumulative(mean) if mean else [1.0])
    table = np.concatenate([table, np.ones(max(truth - len(table), 0))])
    return float(((table - (np.arange(len(table)) >= truth)) ** 2).sum())


def evaluated(region: Region, rides: Rides, train: tuple[int, int], test_until: int, served: Served) -> list[EvaluationRow]:
    """Rows of an evaluation of all that was served."""
    evaluation = Evaluation(region, columns_of(rides), train, test_until)
    for slot in sorted(served):
        evaluation.add(slot, forecast(region, served[slot]))
    return evaluation.rows()


# --- by hand -----------------------------------------------------------------------------------------


def hand_made() -> list[EvaluationRow]:
    """Half-day slots: two weeks of training, slots 0 to 27, and a day and a half of test, slots 28 to 30."""
    rides = {(slot, BUSY): 48 if slot < 14 else 52 for slot in range(28)}
    rides |= {(slot, MEDIUM): 24 for slot in range(0, 31, 2)}
    rides |= {(5, QUIET): 1, (29, QUIET): 1, (29, NEW): 3, (28, BUSY): 50, (29, BUSY): 60, (30, BUSY): 40}
    rides |= {(-1, BUSY): 1_000, (31, BUSY): 1_000}  # outside both periods
    served: Served = {
        26: {BUSY: ((999.0, 999.0, 0.0, 999.0),)},  # its window begins in training
        27: {BUSY: ((50.5, 50, 40, 60),), MEDIUM: ((20, 24, 23, 25),)},
        28: {BUSY: ((55, 55, 40, 60),), MEDIUM: ((2, 0, 1, 2),)},
        29: {BUSY: ((45, 45, 40, 60),), MEDIUM: ((30, 30, 0, 29),), NEW: ((1, 1, 0, 2),), 50: ((7, 7, 7, 7),)},  # 50 never has a ride
        30: {BUSY: ((999.0, 999.0, 0.0, 999.0),)},  # its window ends after the test
    }
    return evaluated(make_region(720, (720,)), rides, (0, 28), 31, served)


@pytest.mark.parametrize(
    ("band", "model", "cells", "square", "absolute", "truth", "forecast"),
    [
        ("busy", "served", 1, 0.25 + 25 + 25, 0 + 5 + 5, 150, 150.5),
        ("busy", "last_value", 1, 2**2 + 10**2 + 20**2, 2 + 10 + 20, 150, 52 + 50 + 60),
        ("busy", "mean_last_hour", 1, 2**2 + 10**2 + 20**2, 2 + 10 + 20, 150, 52 + 50 + 60),
        ("busy", "same_slot_last_week", 1, 2**2 + 8**2 + 12**2, 2 + 8 + 12, 150, 3 * 52),
        ("busy", "weekday_slot_mean", 1, 10**2 + 10**2, 10 + 10, 150, 3 * 50),
        ("medium", "served", 1, 4**2 + 2**2 + 6**2, 0 + 0 + 6, 48, 52),
        ("medium", "last_value", 1, 3 * 24**2, 3 * 24, 48, 24),
        ("medium", "weekday_slot_mean", 1, 0, 0, 48, 48),
        ("quiet", "served", 1, 1, 1, 1, 0),
        ("new", "served", 1, 3**2 + 1, 3 + 1, 3, 1),
        ("all", "served", 4, 50.25 + 56 + 1 + 10, 10 + 6 + 1 + 4, 202, 150.5 + 52 + 1),
    ],
)
def test_numbers_made_by_hand(band: str, model: str, cells: int, square: float, absolute: float, truth: float, forecast: float) -> None:
    """RMSE is over the mean, WAPE over the median, errors are pooled, and bands are those of the training period."""
    [row] = [row for row in hand_made() if (row.band, row.model) == (band, model)]
    assert pytest.approx(forecast / truth - 1) == row.bias
    errors = math.sqrt(square / (3 * cells)), absolute / truth, row.bias
    assert EvaluationRow(band, 720, model, cells, 3, *errors, row.coverage80, row.crps) == row
    assert (model == SERVED) == (row.coverage80 is not None) == (row.crps is not None)


def test_coverage_made_by_hand() -> None:
    """Coverage is the share of randomised PITs within [0.1, 0.9]: of three counts of a busy cell, in rows of bands and of days."""
    region, said = make_region(720, (720,)), ((27, 50.5, 50), (28, 55.0, 60), (29, 45.0, 40))
    inside = [0.1 <= plain_pit(region, slot, BUSY, 720, mean, truth) <= 0.9 for slot, mean, truth in said]
    [row] = [row for row in hand_made() if (row.band, row.model) == ("busy", SERVED)]
    assert sum(inside) / 3 == row.coverage80
    assert pytest.approx(sum(plain_crps(mean, truth) for _, mean, truth in said) / 3) == row.crps


def test_every_band_horizon_and_model_has_a_row() -> None:
    """The rows are those of the table that is promised, in its order."""
    assert [(band, 720, model) for band in BANDS for model in MODELS] == [(row.band, row.horizon_min, row.model) for row in hand_made()]
    assert ("served", *BASELINES) == MODELS
    assert ("last_value", "mean_last_hour", "same_slot_last_week", "weekday_slot_mean") == BASELINES


def test_a_band_without_cells_or_truth_has_no_row() -> None:
    """A band with nothing to pool has no row: no new cell, and a quiet cell without a ride in the test."""
    rides = {(slot, BUSY): 60 for slot in range(17)} | {(3, QUIET): 1}
    rows = evaluated(make_region(720, (720,)), rides, (0, 14), 17, {14: {BUSY: ((60, 60, 50, 70),)}})
    assert {"busy", "all"} == {row.band for row in rows}


def test_a_test_shorter_than_the_horizon_has_no_issue_of_it() -> None:
    """Only whole windows count: a day of test has no window of a day and a half, and one of a day only if issued at its beginning."""
    rides = {(slot, BUSY): 60 for slot in range(16)}
    served = {slot: {BUSY: ((60, 60, 50, 70), (120, 120, 100, 140), (180, 180, 150, 210))} for slot in range(10, 16)}
    rows = evaluated(make_region(720, (720, 1440, 2160)), rides, (0, 14), 16, served)
    assert {(720, 2), (1440, 1)} == {(row.horizon_min, row.issues) for row in rows}


# --- against a slow plain reference --------------------------------------------------------------------


def plain_rows(region: Region, rides: Rides, train: tuple[int, int], test_until: int, served: Served) -> dict[tuple[str, int, str], object]:
    """The same table, one cell and one issue at a time, straight from its definition."""
    first, train_until = train
    zone = ZoneInfo(region.timezone)

    def total(cell: int, low: int, high: int) -> int:
        return sum(rides.get((slot, cell), 0) for slot in range(low, high))

    def weeks_before(slot: int, weeks: int) -> int:
        at = datetime.fromtimestamp(slot * region.slot_us / 1e6, UTC).astimezone(zone)
        then = (at.replace(tzinfo=None) - timedelta(days=7 * weeks)).replace(tzinfo=zone)
        return int(then.timestamp()) * 1_000_000 // region.slot_us

    def baseline(name: str, cell: int, start: int, h: int) -> float:
        hour = max(1, 60 // region.slot_min)
        past = [w for w in (weeks_before(start, n) for n in range(1, 60)) if w >= first and w + h <= start]
        match name:
            case "last_value":
                return total(cell, start - 1, start) * h
            case "mean_last_hour":
                known = range(max(first, start - hour), start)
                return total(cell, known.start, known.stop) / len(known) * h
            case "same_slot_last_week":
                return total(cell, past[0], past[0] + h) if past else 0.0
        return sum(total(cell, w, w + h) for w in past) / len(past) if past else 0.0

    def band_of(cell: int) -> str:
        per_15_min = total(cell, first, train_until) / (train_until - first) * 15 / region.slot_min
        return "busy" if per_15_min >= 1 else "medium" if per_15_min >= 0.25 else "quiet" if per_15_min else "new"

    cells = sorted({cell for (slot, cell), n in rides.items() if n and first <= slot < test_until})
    out: dict[tuple[str, int, str], object] = {}
    for i, h in enumerate(region.horizons):
        issues = [slot for slot in served if slot + 1 >= train_until and slot + 1 + h <= test_until]
        for band in BANDS:
            mine = [cell for cell in cells if band in ("all", band_of(cell))]
            pairs = [(slot, cell, total(cell, slot + 1, slot + 1 + h)) for slot in issues for cell in mine]
            truth = sum(rides_then for *_, rides_then in pairs)
            if not truth:
                continue
            for model in MODELS:
                said: list[Numbers] = []
                for slot, cell, _ in pairs:
                    if model == SERVED:
                        said.append(served[slot][cell][i] if cell in served[slot] else (0.0, 0.0, 0.0, 0.0))
                    else:
                        said.append((baseline(model, cell, slot + 1, h),) * 4)
                both = [(*numbers, pair[2]) for numbers, pair in zip(said, pairs, strict=True)]
                if model == SERVED:
                    of = [(slot, cell, t, mean) for (slot, cell, t), (mean, *_) in zip(pairs, said, strict=True)]
                    pits = [plain_pit(region, slot, cell, region.horizons_min[i], mean, t) for slot, cell, t, mean in of]
                    covered = sum(0.1 <= u <= 0.9 for u in pits)
                    scores = sum(plain_crps(mean, t) for _, _, t, mean in of)
                out[band, region.horizons_min[i], model] = (
                    len(mine),
                    len(issues),
                    pytest.approx(math.sqrt(sum((mean - t) ** 2 for mean, *_, t in both) / len(both))),
                    pytest.approx(sum(abs(median - t) for _, median, *_, t in both) / truth),
                    pytest.approx(sum(mean for mean, *_ in both) / truth - 1),
                    pytest.approx(covered / len(both)) if model == SERVED else None,
                    pytest.approx(scores / len(both), rel=1e-6) if model == SERVED else None,
                )
    return out


def assert_as_plain(region: Region, first: int, train_slots: int, test_slots: int, seed: int) -> None:
    """A seeded city evaluated both ways gives the same table."""
    rng = np.random.default_rng(seed)
    train, test_until = (first, first + train_slots), first + train_slots + test_slots
    rates = region.slot_min / 15 * np.array([4.0, 1.1, 0.6, 0.1, 0.02, 0.02])
    rides = {
        (slot, 7 * cell): int(rng.poisson(rate))
        for slot in range(first - 3, test_until + 3)
        for cell, rate in enumerate(rates.tolist())
        if cell < 5 or slot >= train[1]
    }
    served: dict[int, dict[int, tuple[Numbers, ...]]] = {}
    for slot in range(train[1] - 2, test_until):
        for cell, rate in enumerate(rates.tolist()):
            if rng.random() < 0.9:
                means = [round(rate * h * rng.uniform(0.5, 1.5), 3) for h in region.horizons]
                numbers = tuple((mean, float(round(mean)), float(int(0.6 * mean)), float(int(1.5 * mean + 1))) for mean in means)
                served.setdefault(slot, {})[7 * cell] = numbers
    rows = evaluated(region, rides, train, test_until, served)
    found = {
        (row.band, row.horizon_min, row.model): (row.cells, row.issues, row.rmse_mean, row.wape_median, row.bias, row.coverage80, row.crps)
        for row in rows
    }
    assert plain_rows(region, rides, train, test_until, served) == found


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 10**6))
def test_any_city_is_evaluated_as_plainly(train_slots: int, test_slots: int, seed: int) -> None:
    """Periods of any length, with weeks of past or hardly any, give the reference's rows."""
    assert_as_plain(make_region(720, (720, 1440, 4320)), 30_000, train_slots, test_slots, seed)


def test_an_hour_is_many_slots_where_slots_are_short() -> None:
    """With slots of ten minutes the last hour is six of them, and fewer at the very beginning."""
    for train_slots in (3, 50):
        assert_as_plain(make_region(10, (20, 60)), 30_000, train_slots, 12, train_slots)


def test_last_week_is_the_same_time_on_the_wall() -> None:
    """Over a change of the clock the baselines look at the same local time, not at a multiple of 168 hours."""
    region = make_region(60, (60, 180), "America/New_York")
    first, until = (Calendar(region).first_slot(day) for day in ("2014-03-01", "2014-03-11"))
    assert_as_plain(region, first, until - first, 24, 5)
