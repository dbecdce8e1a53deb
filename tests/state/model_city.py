"""A small seeded city with hourly slots, so that weeks of history fold within a second."""

from functools import cache

import numpy as np

from schemas.events.cells import encode
from schemas.events.rides import Float64s, Int64s, UInt64s
from schemas.regions import Region, RegionId
from state.demand.history import CountHistory
from state.demand.tables import newest_table
from state.forecast.forecast import Forecaster
from state.forecast.region import FOLD_VERSION
from state.forecast.sampling import KnownSlot
from state.forecast.training import TrainedModel, network_columns, sample_history, train_model
from state.models.chain import margin, pack, unpack
from state.models.chain_fitting import Lesson
from state.models.chain_network import add_network, some_of
from state.models.fit_parameters import AS_SHIPPED

HOURLY = Region(
    id=RegionId("town"),
    timezone="America/New_York",
    polygon=((40.0, -75.0), (41.0, -75.0), (41.0, -73.0)),
    slot_min=60,
    horizons_min=(60, 120, 180),
    measures=("pickups",),
    holidays=("2014-04-18",),
    settle_lateness_s=7200,
)
FIRST_SLOT = 388_000  # hours since 1970: 6 April 2014
LAT: Float64s = 40.5 + 0.006 * np.repeat(np.arange(6.0), 6)
LON: Float64s = -74.0 + 0.012 * np.tile(np.arange(6.0), 6)
CELLS: UInt64s = np.unique(encode(LAT, LON, 30))


def town_slots(n: int, *, seed: int = 1, late: bool = False, outage: range = range(0)) -> list[KnownSlot]:
    """n slots of a town with a daily pattern: busy cells, quiet cells, some that appear only later."""
    rng = np.random.default_rng(seed)
    rates = 4.0 * np.exp(-0.2 * np.arange(len(CELLS)))
    starts = np.where(np.arange(len(CELLS)) % 7 == 3, n // 2, 0)
    slots = []
    for i in range(n):
        hour = i % 24
        counts = rng.poisson(rates * (1.2 + np.sin(2 * np.pi * hour / 24)) * (i >= starts))
        counts[rng.random(len(CELLS)) < 0.02] += 1
        observed = i not in outage
        cells, rides = (CELLS[counts > 0], counts[counts > 0]) if observed else (CELLS[:0], counts[:0])
        known = KnownSlot(FIRST_SLOT + i, cells, rides.astype(np.int64), observed)
        if late and i > 3 and i % 5 == 0:
            picks = np.sort(rng.choice(len(CELLS), 3, replace=False))
            back: Int64s = np.array([known.slot - 2, known.slot - 1, known.slot - 1], np.int64)
            known = KnownSlot(known.slot, cells, known.counts, observed, back, CELLS[picks], np.ones(3, np.int64))
        slots.append(known)
    return slots


def fold(history: CountHistory, known: KnownSlot) -> None:
    """Take one slot into a history, as the region's fold does."""
    if len(known.late_slots):
        history.correct(known.late_slots, known.late_cells, known.late_counts)
    history.close(known.slot, known.cells, known.counts, observed=known.observed)


def run_slot(history: CountHistory, forecaster: Forecaster, known: KnownSlot) -> tuple[object, ...]:
    """One whole close; everything that it says."""
    fold(history, known)
    scored = forecaster.score(history, known.slot, 2)
    draft = forecaster.issue(history, known.slot)
    forecaster.learn(history, known.slot)
    numbers = (draft.columns.mean, draft.columns.median, draft.columns.lower, draft.columns.upper, draft.columns.baseline)
    said = tuple(column.tobytes() for column in (draft.columns.cells, draft.columns.fallback, *numbers))
    return (*said, draft.features_digest, tuple(draft.weights_milli.items()), scored)


@cache
def town_model() -> TrainedModel:
    """A model trained on six weeks of the town."""
    slots = town_slots(1000)
    return train_model(HOURLY, slots, FIRST_SLOT, FIRST_SLOT + len(slots), threads=1, most_rows=6_000)


@cache
def town_chain() -> TrainedModel:
    """A chain for the newest feature table, trained on the same weeks."""
    slots = town_slots(1000)
    table = newest_table(FOLD_VERSION)
    return train_model(HOURLY, slots, FIRST_SLOT, FIRST_SLOT + len(slots), threads=1, table=table, most_rows=6_000)


@cache
def town_network_chain() -> bytes:
    """The artefact of the town's chain with a network beside its trees, fitted to the same weeks; a trial would leave it out."""
    slots, trained = town_slots(1000), town_chain()
    rows = sample_history(HOURLY, slots, FIRST_SLOT, FIRST_SLOT + len(slots), table=trained.table, most_rows=6_000).rows
    about, _, links = unpack(trained.artefact)
    whole, even = np.asarray(~np.isnan(rows.truth).any(axis=1)), np.ones(len(rows.slots))
    lessons = [
        Lesson(rows.features, rows.truth[:, i], margin(rows.features, trained.table, HOURLY.horizons, i), even) for i in range(len(links))
    ]
    columns = network_columns(rows.features, trained.table, HOURLY.horizons)
    return pack(about, trained.table, add_network(some_of(lessons, whole), links, columns, AS_SHIPPED))
