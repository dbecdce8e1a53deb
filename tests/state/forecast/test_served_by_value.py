"""What is served by value: means, quantiles and fallbacks of every cell against a plain account of them."""

from functools import cache

import numpy as np
import pytest
import xgboost

from schemas.records.records import FALLBACKS, Fallback
from state.demand.features import NAMES, build
from state.demand.history import CountHistory
from state.forecast.draft import Draft
from state.forecast.forecast import Forecaster
from state.models.boosted import Boosted, offset, predict, unpack
from tests.state.demand.plain_counts import PlainClock, PlainCounts
from tests.state.demand.plain_features import PlainFeatures
from tests.state.demand.plain_seasons import plain_profile, plain_quiet, plain_quiet_parts
from tests.state.forecast.plain_training import fold, margins, plain_quantile
from tests.state.model_city import CELLS, FIRST_SLOT, HOURLY, town_model, town_slots

SLOTS = 400
AT = FIRST_SLOT + SLOTS - 1


@cache
def town() -> tuple[CountHistory, PlainCounts]:
    """The same rides twice."""
    history, counts = CountHistory(HOURLY), PlainCounts(HOURLY)
    for one in town_slots(SLOTS, late=True):
        fold(counts, history, one)
    return history, counts


def issued(model: bytes | None) -> Draft:
    """The first forecast of a forecaster with or without a model."""
    forecaster = Forecaster(HOURLY, "pickups")
    forecaster.use(model)
    return forecaster.issue(town()[0], AT)


def assert_quantiles(draft: Draft, row: int, i: int, mean: float, dispersion_milli: int) -> None:
    """Mean, dispersion, median and the bounds of an 80 % interval of one cell and horizon."""
    columns = draft.columns
    assert 1000 * mean == pytest.approx(columns.mean[row, i], abs=0.51)
    assert dispersion_milli == columns.dispersion[row, i]
    for probability, column in ((0.1, columns.lower), (0.5, columns.median), (0.9, columns.upper)):
        assert 1000 * plain_quantile(mean, dispersion_milli, probability) == column[row, i]


def test_without_a_model_the_baseline_is_served() -> None:
    """Every cell has the baseline, or a quiet forecast where it is quiet, and quantiles around it."""
    _, counts = town()
    clock, draft = PlainClock(HOURLY), issued(None)
    assert counts.universe(AT) == draft.columns.cells.tolist()
    quiet_cells = 0
    for row, cell in enumerate(draft.columns.cells.tolist()):
        baseline = plain_profile(counts, clock, AT, cell, HOURLY.horizons)
        quiet = plain_quiet(counts, AT, cell)
        quiet_cells += quiet
        assert (Fallback.QUIET if quiet else Fallback.BASELINE) == FALLBACKS[draft.columns.fallback[row]]
        parts = plain_quiet_parts(counts, clock, AT, cell, HOURLY.horizons)
        for i in range(3):
            assert 1000 * baseline[i] == pytest.approx(draft.columns.baseline[row, i], abs=0.51)
            mean = 0.9 * parts[0][i] + 0.02 * parts[1][i] + 0.08 * parts[2][i] if quiet else baseline[i]
            assert_quantiles(draft, row, i, mean, 1500 if quiet else 150)
    assert 5 < quiet_cells < len(draft.columns) - 5


def test_with_a_model_its_trees_and_mixes_are_served() -> None:
    """Busy cells have what the trees say from the log of their smooth profile on; quiet cells the model's mix of parts."""
    history, counts = town()
    clock, artefact = PlainClock(HOURLY), town_model().artefact
    draft, (about, trees) = issued(artefact), unpack(artefact)
    boosters = [xgboost.Booster(model_file=bytearray(tree)) for tree in trees]
    features = PlainFeatures(counts, clock, AT)
    matrix = build(history, Forecaster(HOURLY, "pickups").calendar, AT, history.columns_of(draft.columns.cells))
    for row, cell in enumerate(draft.columns.cells.tolist()):
        quiet = plain_quiet(counts, AT, cell)
        assert (Fallback.QUIET if quiet else Fallback.NONE) == FALLBACKS[draft.columns.fallback[row]]
        parts = plain_quiet_parts(counts, clock, AT, cell, HOURLY.horizons)
        margin = margins(features, cell)
        for i, booster in enumerate(boosters):
            if quiet:
                mean = sum(weight * part[i] for weight, part in zip(about.quiet_mix[i], parts, strict=True))
            else:
                data = xgboost.DMatrix(matrix[row : row + 1], base_margin=np.array([margin[i]], np.float32))
                mean = float(booster.predict(data)[0])
            milli = about.quiet_dispersion_milli[i] if quiet else about.dispersion_milli[i]
            assert 1000 * mean == pytest.approx(draft.columns.mean[row, i], abs=0.6)
            assert milli == draft.columns.dispersion[row, i]
            served = draft.columns.mean[row, i] / 1000
            for probability, column in ((0.1, draft.columns.lower), (0.5, draft.columns.median), (0.9, draft.columns.upper)):
                near = {1000 * plain_quantile(served + step, milli, probability) for step in (-0.001, 0.0, 0.001)}
                assert column[row, i] in near


@pytest.mark.parametrize(("rides", "fallback"), [(99, Fallback.QUIET), (100, Fallback.BASELINE)])
def test_the_quiet_rule_is_exact(rides: int, fallback: Fallback) -> None:
    """In slots of an hour a cell with fewer than one ride in five observed slots is quiet, with exactly that it is not."""
    history = CountHistory(HOURLY)
    one, busy = CELLS[:1], CELLS[1:2]
    for i in range(510):
        seen = i >= 10  # Ten slots that were not observed: the mean is over the others.
        here = np.concatenate([one, busy]) if i - 10 in range(rides) else busy
        history.close(FIRST_SLOT + i, here if seen else one[:0], np.ones(len(here) if seen else 0, np.int64), observed=seen)
    draft = Forecaster(HOURLY, "pickups").issue(history, FIRST_SLOT + 509)
    assert fallback == FALLBACKS[draft.columns.fallback[0]]


# --- margins and bounds --------------------------------------------------------------------------------


def rows_with_smooth(logs: list[float]) -> np.ndarray:
    """Matrices in which every smooth profile is this one, for every horizon."""
    features = np.zeros((len(logs), len(NAMES)), np.float32)
    for ahead in ("first", "middle", "last"):
        features[:, NAMES.index(f"log_smooth_{ahead}")] = logs
    return features


def test_means_are_bounded() -> None:
    """Whatever trees and profile say, a mean is at least 1/10,000 ride and at most 100,000."""
    artefact = town_model().artefact
    features = rows_with_smooth([-30.0, 30.0])
    assert [[1e-4] * 3, [1e5] * 3] == Boosted(artefact, HOURLY.horizons).means(features).tolist()
    _, trees = unpack(artefact)
    assert [1e-4, 1e5] == predict(trees[0], features, np.array([-30.0, 30.0], np.float32)).tolist()


@pytest.mark.parametrize(
    ("horizons", "i", "name", "factor"),
    [
        ((3, 6, 12), 0, "first", 1.0),
        ((3, 6, 12), 1, "middle", 1.0),
        ((3, 6, 12), 2, "last", 1.0),
        ((2, 4, 9, 18), 1, "first", 2.0),  # 4 is nearer to 2 than to 9
        ((2, 4, 9, 18), 2, "middle", 1.0),
        ((2, 7, 9, 18), 1, "middle", 7 / 9),
        ((4,), 0, "first", 1.0),
    ],
)
def test_a_horizon_starts_from_the_nearest_profile(horizons: tuple[int, ...], i: int, name: str, factor: float) -> None:
    """The margin is the log of the smooth profile of the nearest declared horizon, in proportion to their lengths."""
    features = np.zeros((1, len(NAMES)), np.float32)
    for place, ahead in enumerate(("first", "middle", "last")):
        features[0, NAMES.index(f"log_smooth_{ahead}")] = place + 0.25
    expected = ("first", "middle", "last").index(name) + 0.25 + np.log(factor)
    assert expected == pytest.approx(offset(features, horizons, i)[0], abs=1e-6)
