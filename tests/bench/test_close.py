"""How long a close of the newest fold takes, against one of version 3 without levels, in one run and in CPU time."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import pytest

from schemas.events.cells import encode
from schemas.regions import RegionId
from state.counting.slots import NO_COUNTS, ClosedSlot, CountColumns
from state.demand.features import build
from state.demand.tables import TABLES
from state.forecast.region import Champion, RegionFold
from tests.state.forecast.test_region import cut
from tests.state.model_city import HOURLY, town_model

pytestmark = pytest.mark.bench
CELLS = 3_000
DAYS = 8
REGION = dataclasses.replace(HOURLY, id=RegionId("large"), slot_min=5, horizons_min=(5, 10, 15))  # as many slots as the town's model has


def best_s(work: Callable[[], object], rounds: int = 12) -> float:
    """CPU seconds of the fastest round: other programs can only slow one down."""
    spent = []
    for _ in range(rounds):
        before = time.process_time()
        work()
        spent.append(time.process_time() - before)
    return min(spent)


def test_a_close_with_levels_costs_little_more() -> None:
    """3,000 modelled cells x 3 horizons: levels, all that version 5 adds, and the third table, at most 1.5 times a close of version 3."""
    rng = np.random.default_rng(1)
    rows, columns = np.divmod(np.arange(CELLS), 60)
    codes = np.unique(encode(40.4 + 0.0055 * rows, -74.2 + 0.011 * columns, REGION.cell_bits))
    start = 4_656_000

    def counts(slot: int) -> CountColumns:
        rides = rng.poisson(1.0, len(codes))
        there = rides > 0
        return CountColumns(np.full(int(there.sum()), slot), codes[there], rides[there].astype(np.int64))

    folds = {version: RegionFold(REGION, start + DAYS * 288, version) for version in (3, 5)}
    past = [(slot, (counts(slot),)) for slot in range(start, start + DAYS * 288)]
    for fold in folds.values():
        fold.remember(past)
        fold.use({"pickups": Champion(bytes(32), town_model().artefact)})

    def close(version: int) -> object:
        fold = folds[version]
        return fold.apply(ClosedSlot(fold.next_slot, (cut(),), (counts(fold.next_slot),), (NO_COUNTS,)))

    today, tracked = best_s(lambda: close(3)), best_s(lambda: close(5))
    [history], calendar = folds[5].histories, folds[5].forecasters[0].calendar
    slot = history.next_slot - 1
    universe = history.universe(slot)
    first, second = (best_s(lambda table=TABLES[n]: build(history, calendar, slot, universe, table)) for n in (1, 3))  # type: ignore[misc]
    total = tracked + second - first
    print(f"\n{len(universe)} cells: close {today * 1e3:.1f} ms, with levels {tracked * 1e3:.1f} ms", end="; ")
    print(f"table 1 {first * 1e3:.1f} ms, table 2 {second * 1e3:.1f} ms; in all {total / today:.2f} x")
    assert total < 1.5 * today
