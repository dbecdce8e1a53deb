"""What training does, from its definition: which rows, which labels, which of them are held out, and what is fitted on them.

The features of a row are those that the product builds, which are compared with their own reference elsewhere; all
else is worked out here: counts in a dictionary, labels summed slot by slot, margins, split, fits and errors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xgboost
from scipy import stats  # type: ignore[import-untyped]

from schemas.events.rides import Float32s
from schemas.regions import Region
from state.demand.calendar import Calendar
from state.demand.features import build
from state.demand.history import CountHistory
from state.forecast.sampling import KnownSlot
from tests.state.demand.plain_counts import PlainClock, PlainCounts
from tests.state.demand.plain_features import PlainFeatures
from tests.state.demand.plain_seasons import plain_profile, plain_quiet, plain_quiet_parts

PARAMETERS = {
    "objective": "count:poisson",
    "tree_method": "hist",
    "max_depth": 5,
    "eta": 0.1,
    "min_child_weight": 100,
    "max_delta_step": 0.7,
    "subsample": 0.8,
    "colsample_bytree": 0.6,
    "max_bin": 128,
    "seed": 1,
    "nthread": 1,
}
ROUNDS = 120


@dataclass(slots=True)
class Row:
    """One cell at one slot: its labels, None where a slot of the window was not counted whole, per horizon."""

    slot: int
    labels: list[float | None]
    margins: list[float]
    baseline: list[float]
    features: Float32s
    parts: list[list[float]]


@dataclass(slots=True)
class PlainSample:
    """Rows of cells with a model of their own, and rows of quiet cells."""

    own: list[Row]
    quiet: list[Row]


def plain_sample(region: Region, known: Sequence[KnownSlot], wanted_quiet: Sequence[int]) -> PlainSample:
    """Every row from a quarter of the slots, or the fourth day, on, as long as its longest window still ends before the end."""
    counts, clock = PlainCounts(region), PlainClock(region)
    history, calendar = CountHistory(region), Calendar(region)
    first, until, day = known[0].slot, known[-1].slot + 1, counts.day
    start = first + min(4 * day, (until - first) // 4)
    whole: set[int] = set()
    sample = PlainSample([], [])
    waiting: list[tuple[int, int, Row]] = []
    horizons = region.horizons
    for one in known:
        fold(counts, history, one)
        if one.observed if one.whole is None else one.whole:
            whole.add(one.slot)
        # A label is known when its window ends: rides that come later are not in it.
        for slot, cell, row in waiting:
            for i, h in enumerate(horizons):
                if slot + h == one.slot and all(at in whole for at in range(slot + 1, slot + h + 1)):
                    row.labels[i] = counts.total([cell], slot + 1, slot + h + 1)
        waiting = [item for item in waiting if item[0] + horizons[-1] > one.slot]
        if one.slot < start or one.slot + horizons[-1] >= until:
            continue
        cells = counts.universe(one.slot)
        own = [cell for cell in cells if not plain_quiet(counts, one.slot, cell)]
        plain = PlainFeatures(counts, clock, one.slot)
        matrix = build(history, calendar, one.slot, history.columns_of(np.array(own, np.uint64)))
        for cell, features in zip(own, matrix, strict=True):
            baseline = plain_profile(counts, clock, one.slot, cell, horizons)
            row = Row(one.slot, [None] * len(horizons), margins(plain, cell), baseline, features, [])
            sample.own.append(row)
            waiting.append((one.slot, cell, row))
        if one.slot in wanted_quiet:
            for cell in [cell for cell in cells if cell not in own]:
                parts = plain_quiet_parts(counts, clock, one.slot, cell, horizons)
                row = Row(one.slot, [None] * len(horizons), [], [], np.empty(0, np.float32), parts)
                sample.quiet.append(row)
                waiting.append((one.slot, cell, row))
    return sample


def fold(counts: PlainCounts, history: CountHistory, one: KnownSlot) -> None:
    """Take a slot into both: first the late rides, then its own."""
    for slot, cell, rides in zip(one.late_slots.tolist(), one.late_cells.tolist(), one.late_counts.tolist(), strict=True):
        counts.late(slot, cell, rides)
    if len(one.late_slots):
        history.correct(one.late_slots, one.late_cells, one.late_counts)
    counts.close(one.slot, dict(zip(one.cells.tolist(), one.counts.tolist(), strict=True)), observed=one.observed)
    history.close(one.slot, one.cells, one.counts, observed=one.observed, whole=one.whole)


def margins(plain: PlainFeatures, cell: int) -> list[float]:
    """Log of the smooth profile of the nearest of the first, middle and last horizon, in proportion to the length, per horizon."""
    out = []
    for minutes in plain.counts.region.horizons_min:
        h = minutes // plain.counts.region.slot_min
        ahead = min(plain.ahead.values(), key=lambda a: abs(a - h))
        smooth = plain.smooth(cell, -plain.pad, ahead + plain.pad) * ahead / (ahead + 2 * plain.pad)
        out.append(math.log(smooth * h / ahead))
    return out


def labelled(rows: Sequence[Row], i: int) -> list[Row]:
    """Rows whose label of horizon i is known."""
    return [row for row in rows if row.labels[i] is not None]


def split(rows: Sequence[Row], region: Region, first: int, until: int) -> tuple[list[Row], list[Row]]:
    """(train, holdout): the last fifth of the days, at most a week, is held out; no label of the other rows reaches into it."""
    day = 24 * 60 // region.slot_min
    held = until - int(min(7, (until - first) / day / 5) * day)
    return [row for row in rows if row.slot + region.horizons[-1] < held], [row for row in rows if row.slot >= held]


def labels(rows: Sequence[Row], i: int) -> np.ndarray:
    """Known labels of horizon i."""
    return np.array([row.labels[i] for row in rows], np.float64)


def fitted(rows: Sequence[Row], i: int) -> xgboost.Booster:
    """Poisson trees on rows, from their margins."""
    data = xgboost.QuantileDMatrix(
        np.array([row.features for row in rows]),
        label=labels(rows, i),
        base_margin=np.array([row.margins[i] for row in rows], np.float32),
        nthread=1,
        max_bin=128,
    )
    return xgboost.train(PARAMETERS, data, ROUNDS)


def means(booster: xgboost.Booster, rows: Sequence[Row], i: int) -> np.ndarray:
    """What the trees say of rows, between 1/10,000 and 100,000 rides."""
    data = xgboost.DMatrix(np.array([row.features for row in rows]), base_margin=np.array([row.margins[i] for row in rows], np.float32))
    return np.clip(booster.predict(data).astype(np.float64), 1e-4, 1e5)


def plain_dispersion(truth: Sequence[float], said: Sequence[float]) -> int:
    """Thousandths d, for which errors squared add up to mean + d x mean^2; none below 0 and none above 20."""
    excess = sum((t - m) ** 2 - m for t, m in zip(truth, said, strict=True))
    squares = sum(m * m for m in said)
    return max(0, min(20_000, round(1000 * excess / squares))) if squares else 0


def plain_median(mean: float, dispersion_milli: int) -> float:
    """Median of the negative binomial, or of Poisson without dispersion."""
    return plain_quantile(mean, dispersion_milli, 0.5)


def plain_quantile(mean: float, dispersion_milli: int, probability: float) -> float:
    """Least count that is not exceeded with a probability."""
    if not dispersion_milli:
        return float(stats.poisson.ppf(probability, mean))
    size = 1000 / dispersion_milli
    return float(stats.nbinom.ppf(probability, size, size / (size + mean)))
