"""How long a close of the newest fold takes, against one of version 3 without levels, in one run and in CPU time."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from schemas.events.cells import encode
from schemas.regions import RegionId
from state.counting.slots import NO_COUNTS, ClosedSlot, CountColumns
from state.demand.tables import TABLES
from state.forecast.region import FOLD_VERSION, Champion, RegionFold
from state.models.chain import MOST_ROUNDS, pack, unpack
from tests.state.forecast.test_region import cut
from tests.state.model_city import HOURLY, town_model, town_network_chain

pytestmark = pytest.mark.bench
CELLS = 3_000
DAYS = 8
REGION = replace(HOURLY, id=RegionId("large"), slot_min=5, horizons_min=(5, 10, 15))  # as many slots as the town's model has


def best_s(*works: Callable[[], object], rounds: int = 40) -> list[float]:
    """CPU seconds of the fastest round of each: other programs can only slow one down.

    Rounds take turns: a load that lasts for seconds then slows all of them, not one, and leaves their ratio as it is.
    """
    spent: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, seconds in zip(works, spent, strict=True):
            before = time.process_time()
            work()
            seconds.append(time.process_time() - before)
    return [min(seconds) for seconds in spent]


def chain() -> bytes:
    """The town's chain with a network whose output hardly counts: it was not kept by a trial, and its larger means would cost quantiles."""
    about, version, links = unpack(town_network_chain())
    weak = [replace(link, network=replace(link.network, share=0.001)) for link in links if link.network is not None]
    assert len(weak) == len(links)
    return pack(about, TABLES[version], weak)


def test_a_close_of_the_newest_fold_costs_little_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """3,000 modelled cells x 3 horizons, everything on: at most 1.5 times a close of version 3 with trees on the first table."""
    monkeypatch.setattr("state.models.chain_fitting.LEAST_ROUNDS", MOST_ROUNDS)  # as many trees as a chain may have
    rng = np.random.default_rng(1)
    rows, columns = np.divmod(np.arange(CELLS), 60)
    codes = np.unique(encode(40.4 + 0.0055 * rows, -74.2 + 0.011 * columns, REGION.cell_bits))
    start = 4_656_000

    def counts(slot: int) -> CountColumns:
        rides = rng.poisson(1.0, len(codes))
        there = rides > 0
        return CountColumns(np.full(int(there.sum()), slot), codes[there], rides[there].astype(np.int64))

    folds = {version: RegionFold(REGION, start + DAYS * 288, version) for version in (3, FOLD_VERSION)}
    past = [(slot, (counts(slot),)) for slot in range(start, start + DAYS * 288)]
    for version, fold in folds.items():
        fold.remember(past)
        fold.use({"pickups": Champion(bytes(32), town_model().artefact if version == 3 else chain())})

    def close(version: int) -> object:
        fold = folds[version]
        return fold.apply(ClosedSlot(fold.next_slot, (cut(),), (counts(fold.next_slot),), (NO_COUNTS,)))

    before, now = best_s(lambda: close(3), lambda: close(FOLD_VERSION))
    print(f"\n{len(codes)} cells: version 3 {before * 1e3:.1f} ms, version {FOLD_VERSION} {now * 1e3:.1f} ms, {now / before:.2f} x")
    assert now < 1.5 * before
