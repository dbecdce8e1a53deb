"""Changes that no model was trained for, in simulated cities: a surge, a lasting shift of the level, and cold starts."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from schemas.events.rides import Float64s, UInt64s
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import FALLBACKS, Fallback
from state.demand.tables import newest_table
from state.forecast.region import FOLD_VERSION, RegionFold
from state.forecast.routes import Role
from state.models.intervals import MEDIAN_MILLI, quantiles
from tests.accuracy.results import Result
from tests.accuracy.worlds import DAY_SLOTS, REGION, UNCORRECTED, World, champion_of, fold_of, lived, served, world_of

SEEDS = range(20)
TRAIN_DAYS = 21
SURGE_CELLS, SURGE_SLOTS, SURGE_FACTOR = 12, 24, 3.0
SURGE_HOURS = SURGE_SLOTS * REGION.slot_min / 60
SURGE_AT = 17 * 12  # slots of its day, UTC
SHIFT = 0.4
PARENT_SEED = 100  # the city whose model stands in
WINDOW = REGION.horizons[0]
HOUR = DAY_SLOTS // 24


def surge(data: Path, folder: Path) -> list[Result]:
    """Demand x3 in 12 cells for 2 hours: WAPE there, against a forecaster that knows the true intensity."""
    errors = {name: np.zeros(2) for name in ("from the fourth slot", "from the second slot", "the two hours after it")}
    for seed in SEEDS:
        calm = world_of(seed, TRAIN_DAYS + 2)
        start = (TRAIN_DAYS + 1) * DAY_SLOTS + SURGE_AT
        near = _around_a_hub(calm)
        world = calm.under(f"surge:factor={SURGE_FACTOR},cells={SURGE_CELLS},from=+{start * REGION.slot_min}m,hours={SURGE_HOURS}", seed)
        fold = fold_of(world, TRAIN_DAYS * DAY_SLOTS, champion_of(world, TRAIN_DAYS * DAY_SLOTS))
        end = start + SURGE_SLOTS
        for slot, columns in lived(fold, world, TRAIN_DAYS * DAY_SLOTS, end + SURGE_SLOTS):
            found = _errors(world, near, slot, columns)
            if start + 3 <= slot + 1 <= end - WINDOW:
                errors["from the fourth slot"] += found
            if start + 1 <= slot + 1 <= end - WINDOW:
                errors["from the second slot"] += found
            if end <= slot + 1:
                errors["the two hours after it"] += found
    ratio = {name: mine / known for name, (mine, known) in errors.items()}
    return [
        Result("surge x3: WAPE ratio to the true intensity, from the fourth slot", ratio["from the fourth slot"], 1.3),
        Result("surge x3: the same from the second slot", ratio["from the second slot"], None, 1.3),
        Result("surge x3: the same in the two hours after it", ratio["the two hours after it"]),
    ]


def _around_a_hub(world: World) -> UInt64s:
    """Places of the cells of a surge: the hub's and its nearest."""
    city = world.city
    hub = int(city.hub_cells[0])
    apart = (city.lat - city.lat[hub]) ** 2 + (city.lon - city.lon[hub]) ** 2
    return np.argsort(apart, kind="stable")[:SURGE_CELLS].astype(np.uint64)


def _errors(world: World, places: UInt64s, slot: int, columns: ForecastColumns) -> Float64s:
    """Absolute errors in some cells of the first horizon: of the served median, and of the median of the true intensity."""
    rows = slice(slot + 1, slot + 1 + WINDOW)
    truth, mean = (table[rows][:, places].sum(axis=0).astype(np.float64) for table in (world.counts, world.expected))
    median = served(columns, world.city.cells[places], 0, "median")
    return np.array([np.abs(median - truth).sum(), np.abs(quantiles(mean, 0, MEDIAN_MILLI) - truth).sum()])


def shift(data: Path, folder: Path) -> list[Result]:
    """Demand x0.4 everywhere from one midnight on: the second half of the first day, and the second day."""
    squares: dict[tuple[str, str], float] = {}
    halves = {"hours 12 to 24": (DAY_SLOTS // 2, DAY_SLOTS), "the second day": (DAY_SLOTS, 2 * DAY_SLOTS)}
    for seed in SEEDS[:5]:
        calm = world_of(seed, TRAIN_DAYS + 4)
        start = (TRAIN_DAYS + 2) * DAY_SLOTS
        world = calm.under(f"level:factor={SHIFT},from=+{start * REGION.slot_min}m", seed)
        model = champion_of(calm, TRAIN_DAYS * DAY_SLOTS)
        folds = {
            "served": (fold_of(world, TRAIN_DAYS * DAY_SLOTS, model), world),
            "the champion without corrections": (fold_of(world, TRAIN_DAYS * DAY_SLOTS, model, UNCORRECTED), world),
            "the champion as of the day before": (fold_of(calm, TRAIN_DAYS * DAY_SLOTS, model), calm),
        }
        for name, (fold, seen) in folds.items():
            for slot, columns in lived(fold, seen, TRAIN_DAYS * DAY_SLOTS, len(world.counts) - WINDOW):
                for half, (first, until) in halves.items():
                    if first <= slot + 1 - start < until - WINDOW:
                        truth = world.counts[slot + 1 : slot + 1 + WINDOW].sum(axis=0)
                        error = float(((served(columns, world.city.cells, 0, "mean") - truth) ** 2).sum())
                        squares[name, half] = squares.get((name, half), 0.0) + error
    found = []
    for half in halves:
        mine = squares["served", half]
        for name, floor in (("the champion as of the day before", 0.7), ("the champion without corrections", None)):
            found.append(Result(f"shift x0.4, {half}: RMSE ratio to {name}", float(np.sqrt(mine / squares[name, half])), floor))
    return found


def cold(data: Path, folder: Path) -> list[Result]:
    """A region without history, from its third hour on; one with a week of history, on its first day; and both with a parent's model."""
    none, week = np.zeros((2, 2)), np.zeros((2, 2))
    young, older, fresh = (np.zeros((2, 2)) for _ in range(3))
    labels: Counter[Fallback] = Counter()
    elder = champion_of(world_of(PARENT_SEED, TRAIN_DAYS), TRAIN_DAYS * DAY_SLOTS, newest_table(FOLD_VERSION))
    parents = {"requests": replace(elder["requests"], role=Role.PARENT)}
    for seed in SEEDS[:5]:
        world = world_of(seed, 9)
        fold = RegionFold(REGION, world.first_slot)
        fold.use(parents)
        issues = list(lived(fold, world, 0, DAY_SLOTS))
        young += _against(world, iter(issues), 2 * HOUR, _last_hour)
        fresh += _newcomers(world, issues[3 * HOUR :], labels)
        fold = fold_of(world, 7 * DAY_SLOTS, parents)
        older += _against(world, lived(fold, world, 7 * DAY_SLOTS, 8 * DAY_SLOTS), 7 * DAY_SLOTS, _baseline)
        fold = RegionFold(REGION, world.first_slot)
        none += _against(world, lived(fold, world, 0, DAY_SLOTS), 2 * HOUR, _last_hour)
        until = 7 * DAY_SLOTS
        fold = fold_of(world, until, champion_of(world, until))
        week += _against(world, lived(fold, world, until, until + DAY_SLOTS), until, _baseline)
    by_parents = labels[Fallback.PARENT] + labels[Fallback.QUIET]
    return [
        Result("no history, hours 3 to 24: RMSE ratio to the mean of the last hour", float(np.sqrt(none[0, 0] / none[0, 1])), 1.0),
        Result("no history, hours 3 to 24: WAPE ratio to the mean of the last hour", float(none[1, 0] / none[1, 1]), 1.0),
        Result("7 days, first day: RMSE ratio to the baseline", float(np.sqrt(week[0, 0] / week[0, 1])), 1.0),
        Result("7 days, first day: WAPE ratio to the baseline", float(week[1, 0] / week[1, 1]), 1.0),
        Result("no history, a parent's model, hours 3 to 24: RMSE ratio to the mean of the last hour", _root(young), 1.0),
        Result("the same: RMSE ratio to the region without a parent", float(np.sqrt(young[0, 0] / none[0, 0])), 1.0),
        Result("7 days without a model, a parent's on the first day: RMSE ratio to the baseline", _root(older), 1.0),
        Result("the same: WAPE ratio to the baseline", float(older[1, 0] / older[1, 1]), 1.0),
        Result("cells in the hour after their first ride: RMSE ratio to the mean of the last hour", _root(fresh), 1.0),
        Result("the same: share said to be of the parent region's model", labels[Fallback.PARENT] / labels.total()),
        Result("the same: share said to be of neither the parent region's nor the parent cell's", 1.0 - by_parents / labels.total(), 0.0),
    ]


def _root(squares: Float64s) -> float:
    return float(np.sqrt(squares[0, 0] / squares[0, 1]))


def _newcomers(world: World, issues: list[tuple[int, ForecastColumns]], labels: Counter[Fallback]) -> Float64s:
    """Squared errors in the cells whose first ride was in the last hour, as `_against` returns them; counts who made the forecasts."""
    total = np.zeros((2, 2))
    for slot, columns in issues:
        if slot + 1 + WINDOW > len(world.counts):
            continue
        before = world.counts[: max(slot + 1 - HOUR, 0)].any(axis=0)
        places = np.flatnonzero(world.counts[: slot + 1].any(axis=0) & ~before)
        cells = world.city.cells[places]
        truth = world.counts[slot + 1 : slot + 1 + WINDOW, places].sum(axis=0)
        mean, other = served(columns, cells, 0, "mean"), _last_hour(world, slot, columns)[places]
        total[0] += ((mean - truth) ** 2).sum(), ((other - truth) ** 2).sum()
        labels.update(FALLBACKS[code] for code in columns.fallback[np.isin(columns.cells, cells)].tolist())
    return total


def _last_hour(world: World, slot: int, columns: ForecastColumns) -> Float64s:
    """The mean of the last hour of each cell, as rides of a window."""
    return np.asarray(world.counts[max(slot + 1 - HOUR, 0) : slot + 1].mean(axis=0) * WINDOW, np.float64)


def _baseline(world: World, slot: int, columns: ForecastColumns) -> Float64s:
    """The baseline of each cell."""
    return served(columns, world.city.cells, 0, "baseline")


def _against(
    world: World,
    issues: Iterator[tuple[int, ForecastColumns]],
    first: int,
    other_of: Callable[[World, int, ForecastColumns], Float64s],
) -> Float64s:
    """Squared errors of the mean and absolute errors of the median: float64[2, 2], columns are the served forecast and another one."""
    total = np.zeros((2, 2))
    for slot, columns in issues:
        if slot < first or slot + 1 + WINDOW > len(world.counts):
            continue
        truth = world.counts[slot + 1 : slot + 1 + WINDOW].sum(axis=0)
        other = other_of(world, slot, columns)
        mean, median = (served(columns, world.city.cells, 0, name) for name in ("mean", "median"))
        total[0] += ((mean - truth) ** 2).sum(), ((other - truth) ** 2).sum()
        total[1] += np.abs(median - truth).sum(), np.abs(other - truth).sum()
    return total
