"""The local correction: neighbourhoods by their distances, surges followed within slots, and nothing learned from holes."""

import dataclasses
import math

import numpy as np
import pytest

from schemas.events.cells import centres
from schemas.events.rides import Float64s, Int64s
from state.demand.history import CountHistory
from state.forecast.forecast import Forecaster
from state.forecast.sampling import KnownSlot
from state.models.local import REACH_KM, LocalCorrection, _Around
from state.models.protocol import Outcome
from state.models.table import MODELS, ModelTable
from tests.state.model_city import CELLS, HOURLY, fold, run_slot, town_chain, town_slots

WARM = 15 * 24
KM_PER_DEGREE = 111.32
LOCAL = ModelTable(MODELS.means, tuple(row for row in MODELS.correctors if row.name == "local"))
PLAIN = ModelTable(MODELS.means, ())
SURGE = range(WARM + 30, WARM + 40)


def surging(cells: Int64s, factor: int) -> list[KnownSlot]:
    """A town in which demand in some cells is multiplied for ten slots."""
    slots = town_slots(WARM + 60)
    for i in SURGE:
        known = slots[i]
        more = np.where(np.isin(known.cells, CELLS[cells]), factor, 1)
        slots[i] = dataclasses.replace(known, counts=known.counts * more)
    return slots


def lived(slots: list[KnownSlot], models: ModelTable) -> tuple[Forecaster, dict[int, Float64s]]:
    """A forecaster after all slots, and the means of the first horizon of every cell, by slot of the issue."""
    history, forecaster = CountHistory(HOURLY, tracked=True), Forecaster(HOURLY, "pickups", models, 5)
    forecaster.use(town_chain().artefact)
    means = {}
    for number, known in enumerate(slots):
        if number < WARM:
            fold(history, known)
            continue
        run_slot(history, forecaster, known)
        issued = forecaster._queue.at(known.slot)
        assert issued is not None
        means[number] = np.array([dict(zip(issued.columns.cells, issued.columns.mean[:, 0], strict=True)).get(cell, 0) for cell in CELLS])
    return forecaster, means


def test_a_neighbourhood_is_all_cells_within_its_reach() -> None:
    """Sums are those of a plain search by distance, over every cell of the town."""
    values = np.random.default_rng(1).poisson(3.0, (len(CELLS), 2)).astype(float)
    found = _Around(CELLS, HOURLY.cell_bits).sums(values)
    lat, lon = centres(CELLS, HOURLY.cell_bits)
    sizes = set()
    for i in range(len(CELLS)):
        east = (lon - lon[i]) * KM_PER_DEGREE * math.cos(math.radians(lat[i]))
        near = np.hypot(east, (lat - lat[i]) * KM_PER_DEGREE) <= REACH_KM
        sizes.add(int(near.sum()))
        assert values[near].sum(axis=0).tolist() == found[i].tolist()
    assert max(sizes) >= 9


def test_a_surge_is_followed_sooner() -> None:
    """Threefold demand in nine cells: from the third slot on the errors there are below those of the model alone, before it the same."""
    cells: Int64s = np.arange(9)
    slots = surging(cells, 4)
    _, followed = lived(slots, LOCAL)
    _, plain = lived(slots, PLAIN)

    def error(means: dict[int, Float64s], issues: range) -> float:
        """Absolute error in the cells of the surge."""
        total = 0.0
        for i in issues:
            truth = dict(zip(slots[i + 1].cells.tolist(), slots[i + 1].counts.tolist(), strict=True))
            total += sum(abs(1000 * truth.get(int(CELLS[c]), 0) - float(means[i][c])) for c in cells)
        return total

    during, before = range(SURGE.start + 2, SURGE.stop - 1), range(WARM, SURGE.start - 1)
    assert error(followed, during) < 0.95 * error(plain, during)
    assert error(followed, before) < 1.02 * error(plain, before)


def test_a_hole_changes_no_chance() -> None:
    """An outage says nothing about demand, and after a slot that was not watched everything begins as normal."""
    slots = town_slots(WARM + 12, outage=range(WARM + 8, WARM + 10))
    forecaster, _ = lived(slots[: WARM + 8], LOCAL)
    before = forecaster.to_arrays()["local_chance"]
    forecaster, _ = lived(slots[: WARM + 10], LOCAL)
    assert before.tobytes() == forecaster.to_arrays()["local_chance"].tobytes()
    history, jumped = CountHistory(HOURLY, tracked=True), Forecaster(HOURLY, "pickups", LOCAL, 5)
    jumped.use(town_chain().artefact)
    jumped.from_arrays(forecaster.to_arrays())
    for known in slots:
        fold(history, known)
    jumped.issue(history, slots[-1].slot)
    assert {1.0} == set(jumped.to_arrays()["local_chance"][0].tolist())


def test_steps_that_were_wrong_are_done_less() -> None:
    """After outcomes without the change that was predicted the step shrinks to nothing, after right ones all of it is done."""
    n = 50
    cells, means, steps = np.arange(n).astype(np.uint64), np.full((n, 3), 2.0), np.full((n, 3), 0.2)
    moved = {}
    for right in (False, True):
        corrector = LocalCorrection(3, 288)
        for _ in range(40):
            truth = means[:, 0] * (1 + 0.2 * right)
            corrector.learn([Outcome(i, cells, steps[:, i, None], means[:, i], steps[:, i], truth) for i in range(3)], (0, 0, 0))
        moved[right] = corrector.correct(means, steps, (0, 0, 0))
    assert float(moved[False].max()) < 2.3
    assert float(moved[True].min()) == pytest.approx(2.4)
