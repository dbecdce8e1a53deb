"""Features of the region's other measures: their values, none of the future, the same bits on every path, and what they are worth."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np
import pytest

from schemas.events.measures import MEASURES, Says
from schemas.events.rides import Float32s
from schemas.regions import Region
from state.counting.slots import NO_COUNTS, ClosedSlot, CountColumns
from state.demand.calendar import Calendar
from state.demand.features import build
from state.demand.groups import Group
from state.demand.history import CountHistory
from state.demand.other_features import OTHER_FEATURES, PREFIX, USED_MIN
from state.demand.other_measures import join_measures
from state.demand.profiles import PRIOR_SLOTS
from state.demand.tables import TABLES
from state.forecast.region import FOLD_VERSION, RegionFold
from state.forecast.sampling import KnownSlot, SamplePlan, Sampler
from state.forecast.training import train_model
from state.models.chain import margin, unpack
from state.models.glm import fit_glm
from tests.differences import assert_same
from tests.state.demand.plain_levels import PlainLevels
from tests.state.demand.small_city import CELLS, HOUR, QUARTER, city
from tests.state.model_city import CELLS as TOWN, FIRST_SLOT, HOURLY, town_chain, town_slots

TABLE = TABLES[3]
NAMES = tuple(feature.name for feature in OTHER_FEATURES)
PLACES = [TABLE.names.index(name) for name in NAMES]
BOTH = dataclasses.replace(HOURLY, measures=("requests", "unserved"))
MEASURED = ("requests", "pickups", "cancellations", "unserved")


def others(history: CountHistory, calendar: Calendar, cells: Sequence[int]) -> list[dict[str, float]]:
    """The features of each cell by name."""
    matrix = build(history, calendar, history.next_slot - 1, history.columns_of(np.array(cells, np.uint64)), TABLE)
    return [dict(zip(NAMES, row, strict=True)) for row in matrix[:, PLACES].tolist()]


@pytest.mark.parametrize(("region", "slots", "outages"), [(QUARTER, 96 + 50, (96 + 20,)), (HOUR, 4 * 24 + 3, ())])
def test_each_value_is_the_level_of_the_other_measures(region: Region, slots: int, outages: tuple[int, ...]) -> None:
    """Counts and profiles of a group of measures are summed, in the cell, around it, in its parent cell and in the region."""
    made = {
        name: city(region, "2014-03-08", slots, outages=outages, seed=seed, late=False, tracked=True)
        for seed, name in enumerate(MEASURED, 3)
    }
    join_measures({name: one.history for name, one in made.items()})
    plain = {name: PlainLevels(one.counts, one.clock, PRIOR_SLOTS) for name, one in made.items()}
    mine = made["requests"]
    cells = [cell for cell in CELLS if cell in mine.counts.cells()]
    near = {cell: plain["requests"].near(cell, 0.8) for cell in cells}
    for cell, found in zip(cells, others(mine.history, mine.calendar, cells), strict=True):
        for says, names in ((Says.DEMAND, ["pickups"]), (Says.UNMET, ["cancellations", "unserved"])):
            for place, half_lives in USED_MIN.items():
                weights = near[cell] if place == "near" else {cell: 1.0}
                source = "own" if place == "near" else place
                of = [
                    (weight, plain[name].decayed((source, other), mine.history.next_slot))
                    for name in names
                    for other, weight in weights.items()
                ]
                for minutes in half_lives:
                    rides = sum(weight * levels[minutes][0] for weight, levels in of)
                    profile = sum(weight * levels[minutes][1] for weight, levels in of)
                    expected = math.log((rides + 1) / (profile + 1))
                    assert found[f"{PREFIX[says]}_{place}_{minutes:g}"] == pytest.approx(expected, rel=1e-5, abs=1e-6), (
                        cell,
                        place,
                        minutes,
                    )


def test_a_region_without_other_measures_has_none() -> None:
    """Every column is NaN, and neither linear model nor trees of a chain use one."""
    made = city(HOUR, "2014-03-08", 50, tracked=True)
    [found] = others(made.history, made.calendar, CELLS[:1])
    assert all(math.isnan(value) for value in found.values())
    assert not used(town_chain().artefact) & set(NAMES)
    assert {name for name in NAMES if name.startswith("unmet_")} == used(two_measure_chain()) & set(NAMES)


def used(artefact: bytes) -> set[str]:
    """Names of the features that a chain uses."""
    _, _, links = unpack(artefact)
    return {TABLE.names[column] for link in links for column in (*link.columns, *link.glm.columns)}


def test_a_cell_that_the_other_measure_does_not_know_is_there() -> None:
    """Where only this measure has rides, the other's level in the cell is that of nothing expected and nothing counted."""
    one, other = CountHistory(HOURLY, tracked=True), CountHistory(HOURLY, tracked=True)
    join_measures({"requests": one, "unserved": other})
    for slot in range(FIRST_SLOT, FIRST_SLOT + 30):
        one.close(slot, TOWN[:2], np.array([3, 4]), observed=True)
        other.close(slot, TOWN[1:3], np.array([5, 6]), observed=True)
    first, second = others(one, Calendar(HOURLY), TOWN[:2].tolist())
    assert (0.0, 0.0) == (first["unmet_own_60"], first["unmet_own_10080"])
    assert second["unmet_own_60"] != 0.0
    assert first["unmet_city_60"] == second["unmet_city_60"] != 0.0


def test_explanations_show_them_in_a_group_of_their_own() -> None:
    """A dispatcher reads that other events moved the number; every measure of the table is in one of the groups."""
    assert {Group.OTHER} == {group for name, group in zip(TABLE.names, TABLE.groups, strict=True) if name in NAMES}
    assert {row.says for row in MEASURES.values()} <= set(PREFIX)


# --- the same bits on every path -------------------------------------------------------------------------


def beside(n: int, *, seed: int = 1) -> list[KnownSlot]:
    """Slots of a town that counts requests, with its unserved requests beside them; late ones of both, and an outage."""
    requests = town_slots(n, seed=seed, late=True, outage=range(n - 30, n - 27))
    unserved = town_slots(n, seed=seed + 1, late=True, outage=range(n - 30, n - 27))
    return [dataclasses.replace(one, beside={"unserved": other}) for one, other in zip(requests, unserved, strict=True)]


def closed(known: KnownSlot) -> ClosedSlot:
    """A slot of both measures as the fold receives it."""
    both = (known, known.beside["unserved"])
    counts = tuple(CountColumns(np.full(len(one.cells), one.slot), one.cells, one.counts) for one in both)
    late = tuple(CountColumns(one.late_slots, one.late_cells, one.late_counts) if len(one.late_slots) else NO_COUNTS for one in both)
    return ClosedSlot(known.slot, (), counts, late)


def live(slots: Iterable[KnownSlot]) -> RegionFold:
    """A fold that closed these slots."""
    slots = list(slots)
    fold = RegionFold(BOTH, slots[0].slot)
    for known in slots:
        fold.fast_forward(closed(known))
    return fold


@cache
def two_measure_chain() -> bytes:
    """An artefact for requests, trained with the unserved ones beside them."""
    slots = beside(300)
    return train_model(BOTH, slots, FIRST_SLOT, FIRST_SLOT + len(slots), threads=1, table=TABLE, most_rows=6_000).artefact


def matrix(fold: RegionFold) -> Float32s:
    """The newest table of the first measure after the last slot."""
    history = fold.histories[0]
    return build(history, Calendar(BOTH), history.next_slot - 1, history.universe(history.next_slot - 1), TABLE)


def test_live_closes_snapshots_and_training_build_the_same_bits() -> None:
    """The sampled rows of a training, a stream and a stream that went on from a snapshot are equal to the last bit."""
    slots = beside(128)
    sample = Sampler(BOTH, FIRST_SLOT, FIRST_SLOT + 128, TABLE, SamplePlan(10**6, 1, 56, 60, 10**6), 0)
    fold, compared = RegionFold(BOTH, FIRST_SLOT), 0
    for i, known in enumerate(slots):
        sample.take(known)
        fold.fast_forward(closed(known))
        if i % 67 == 60:
            arrays = fold.to_arrays()
            fold = RegionFold(BOTH, FIRST_SLOT)
            fold.from_arrays(arrays, {})
            assert_same(arrays, fold.to_arrays())
        piece = sample.busy.pieces.get(known.slot)
        if piece is not None and i % 9 == 0:
            history = fold.histories[0]
            columns = history.columns_of(piece.cells)
            assert piece.features.tobytes() == build(history, Calendar(BOTH), known.slot, columns, TABLE).tobytes()
            assert np.isnan(piece.features[:, PLACES]).mean() == pytest.approx(2 / 3)  # the groups that the town does not count
            compared += len(columns)
    assert compared > 100


def test_nothing_of_the_other_measures_after_the_cut_moves_a_feature() -> None:
    """Whatever the other measure counts in later slots, the rows of a slot stay; a ride of the slot itself moves them."""
    slots = beside(100)
    rows = matrix(live(slots[:90]))
    for known in slots[90:]:
        seen: Mapping[str, KnownSlot] = {
            "unserved": dataclasses.replace(known.beside["unserved"], counts=known.beside["unserved"].counts * 9)
        }
        slots[known.slot - FIRST_SLOT] = dataclasses.replace(known, beside=seen)
    assert rows.tobytes() == matrix(live(slots[:90])).tobytes()
    last = slots[88].beside["unserved"]
    slots[88] = dataclasses.replace(slots[88], beside={"unserved": dataclasses.replace(last, counts=last.counts + 1)})
    moved = {TABLE.names[i] for i in np.flatnonzero((rows != matrix(live(slots[:90]))).any(axis=0) & ~np.isnan(rows).any(axis=0))}
    assert moved
    assert moved <= {name for name in NAMES if name.startswith("unmet_")}


def test_older_tables_and_folds_see_one_measure() -> None:
    """Beside another measure, the first two tables have the bits of a history alone."""
    fold = live(beside(128))
    history, alone = fold.histories[0], CountHistory(BOTH, tracked=True)
    for known in beside(128):
        known.add_to(alone)
    columns = history.universe(history.next_slot - 1)
    for version in (1, 2):
        one, two = (build(each, Calendar(BOTH), each.next_slot - 1, columns, TABLES[version]) for each in (history, alone))
        assert one.tobytes() == two.tobytes()
    assert {1, 2, 3} <= set(TABLES)
    assert FOLD_VERSION == fold.version


# --- what they are worth ---------------------------------------------------------------------------------


def test_unserved_requests_tell_of_the_requests_to_come() -> None:
    """Where riders who were not served ask again, a linear model with the features of `unserved` has the smaller error."""
    rng = np.random.default_rng(5)
    rates = np.linspace(3.0, 9.0, len(TOWN))
    slots, again = [], np.zeros(len(TOWN))
    for i in range(700):
        unserved = rng.poisson(np.where(rng.random(len(TOWN)) < 0.1, rates, 0.2))
        requests = rng.poisson(rates) + rng.binomial(again.astype(np.int64), 0.9)
        again = unserved.astype(np.float64)
        some, others_ = requests > 0, unserved > 0
        other = KnownSlot(FIRST_SLOT + i, TOWN[others_], unserved[others_].astype(np.int64))
        slots.append(KnownSlot(FIRST_SLOT + i, TOWN[some], requests[some].astype(np.int64), beside={"unserved": other}))
    sample = Sampler(BOTH, FIRST_SLOT, FIRST_SLOT + 700, TABLE, SamplePlan(9_000, 7, 56, 60, 9_000), 0)
    for known in slots:
        sample.take(known)
    rows = sample.busy.columns()
    early, late = rows.slots < FIRST_SLOT + 500, rows.slots >= FIRST_SLOT + 502
    start, truth = margin(rows.features, TABLE, BOTH.horizons, 0), rows.truth[:, 0]
    errors = []
    for columns in (TABLE.columns(0, linear=True), tuple(i for i in TABLE.columns(0, linear=True) if i not in PLACES)):
        glm = fit_glm(rows.features[early], columns, truth[early], start[early], np.ones(int(early.sum())))
        means = np.exp(glm.log_means(rows.features[late], start[late]))
        errors.append(float(((truth[late] - means) ** 2).mean()))
    assert errors[0] < 0.9 * errors[1]
