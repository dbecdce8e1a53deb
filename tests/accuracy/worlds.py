"""Simulated cities at the level of counts: the true intensity of every cell and slot, rides drawn from it, and folds that live in it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from schemas.events.rides import Float64s, Int64s, UInt64s
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import PartitionCut
from schemas.regions import Region, load_region
from state.counting.slots import NO_COUNTS, ClosedSlot, CountColumns
from state.demand.calendar import Calendar
from state.demand.feature_table import FeatureTable
from state.demand.features import FIRST_TABLE
from state.forecast.region import Champion, RegionFold
from state.forecast.sampling import KnownSlot
from state.forecast.training import train_model
from state.models.table import MODELS, ModelTable
from state.simulation.city import City, Climate, Day, build_city, plan_day
from state.simulation.faults.kinds import Scene
from state.simulation.faults.run import expected_under
from state.simulation.faults.syntax import parse_faults

REGION: Region = replace(load_region("tehran"), measures=("requests",))
RIDES_PER_DAY = 40_000
FIRST_DAY = "2025-04-05"
DAY_SLOTS = 288
MOST_ROWS = 80_000
CUT = PartitionCut(partition=0, cut=0, largest_us=-1, open_from=0, excused=False, received=0, accepted=0, duplicate=0, counted=0)
UNCORRECTED = ModelTable(means=MODELS.means, correctors=())


@dataclass(frozen=True, slots=True)
class World:
    """A city and its days.

    Attributes:
        first_slot: Number of the first slot.
        expected: float64[slots, n], true mean rides of each cell of the city in each slot.
        counts: int64[slots, n], drawn from it.
    """

    city: City
    first_slot: int
    expected: Float64s
    counts: Int64s

    def slots(self, first: int, until: int) -> Iterator[KnownSlot]:
        """Slots [first, until) of the world, counted from its start, as training takes them."""
        order = np.argsort(self.city.cells)
        for i in range(first, until):
            counts = self.counts[i, order]
            some = counts > 0
            yield KnownSlot(self.first_slot + i, self.city.cells[order][some], counts[some])

    def under(self, fault: str, seed: int) -> "World":
        """The same world under a fault of demand that multiplies, as `ridecast simulate --fault` takes it."""
        start_us, slots = self.first_slot * REGION.slot_us, len(self.expected)
        scene = Scene(REGION, self.city, seed, start_us, start_us + slots * REGION.slot_us, RIDES_PER_DAY, partitions=1)
        nothing, ones = np.zeros(slots), np.ones(self.expected.shape)
        day = Day(start_us, ones, ones, nothing.astype(np.int64), nothing.astype(np.int64), nothing)
        return self.changed(expected_under(parse_faults((fault,), REGION, start_us, scene.end_us), scene, day).expected, seed)

    def changed(self, factor: Float64s, seed: int) -> "World":
        """The same world with intensities multiplied by float64[slots, n], and rides drawn again where they changed."""
        expected = self.expected * factor
        drawn = np.random.default_rng([seed, 11]).poisson(expected)
        return World(self.city, self.first_slot, expected, np.where(factor == 1.0, self.counts, drawn))


def world_of(seed: int, days: int, rides_per_day: float = RIDES_PER_DAY) -> World:
    """The world of a seed."""
    city, climate = build_city(REGION, seed), Climate()
    first = Calendar(REGION).first_slot(FIRST_DAY)
    plans = [
        plan_day(city, REGION, climate, (first + day * DAY_SLOTS) * REGION.slot_us, rides_per_day, np.random.default_rng([seed, 1, day]))
        for day in range(days)
    ]
    expected = np.concatenate([plan.expected for plan in plans])
    return World(city, first, expected, np.random.default_rng([seed, 10]).poisson(expected))


def counted(known: KnownSlot) -> CountColumns:
    """The counts of a slot."""
    return CountColumns(np.full(len(known.cells), known.slot), known.cells, known.counts)


def closed(known: KnownSlot) -> ClosedSlot:
    """A slot as the fold receives it."""
    return ClosedSlot(known.slot, (CUT,), (counted(known),), (NO_COUNTS,))


def champion_of(world: World, until: int, table: FeatureTable = FIRST_TABLE) -> dict[str, Champion]:
    """A model trained on the slots before `until`."""
    slots, first = world.slots(0, until), world.first_slot
    model = train_model(REGION, slots, first, first + until, threads=1, table=table, most_rows=MOST_ROWS)
    return {"requests": Champion(bytes(32), model.artefact)}


def fold_of(world: World, until: int, champion: dict[str, Champion], models: ModelTable = MODELS) -> RegionFold:
    """A fold that remembers the slots before `until` and serves this model."""
    fold = RegionFold(REGION, world.first_slot + until, models=models)
    fold.remember((known.slot, (counted(known),)) for known in world.slots(0, until))
    fold.use(champion)
    return fold


def lived(fold: RegionFold, world: World, first: int, until: int) -> Iterator[tuple[int, ForecastColumns]]:
    """The forecasts issued at each of the slots [first, until) of the world: (slot counted from its start, forecasts)."""
    for known in world.slots(first, until):
        yield known.slot - world.first_slot, fold.apply(closed(known)).issues[0].draft.columns


def served(columns: ForecastColumns, cells: UInt64s, horizon: int, name: str) -> Float64s:
    """One number of each of some cells, rides; 0 for a cell without a forecast: float64[n]."""
    at = np.minimum(np.searchsorted(columns.cells, cells), max(len(columns) - 1, 0))
    if not len(columns):
        return np.zeros(len(cells))
    return np.where(columns.cells[at] == cells, getattr(columns, name)[at, horizon], 0) / 1000.0
