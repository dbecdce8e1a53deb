"""Local changes of demand are found within minutes, and a plain calculation of one cell agrees."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.special import gammaln  # type: ignore[import-untyped]

from schemas.events.rides import Float64s
from state.models import surges
from state.models.surges import Seen, Surges, of_whole

SLOT_MIN = 5
CELLS = 7


odd = st.sampled_from([0.5, 5e3, -1.0, math.nan, math.inf])


@given(st.lists(st.integers(0, 30).map(float), max_size=60), st.lists(odd, max_size=1))
def test_a_table_of_whole_numbers_has_the_bits_of_each(counts: list[float], more: list[float]) -> None:
    """Whole or not, many or few, large, negative or unknown: as the function says of each."""
    values = np.array(counts + more, np.float64)
    assert gammaln(values + 0.25).tobytes() == of_whole(values, lambda some: gammaln(some + 0.25)).tobytes()


def slots_of(seed: int, count: int, factor: float = 1.0) -> list[Seen]:
    """Slots of some cells, each with a neighbourhood of itself and more; demand is `factor` times what was expected."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        expected = rng.uniform(0.0, 4.0, CELLS)
        around = expected + rng.uniform(0.0, 20.0, CELLS)
        rides = rng.poisson(factor * expected).astype(np.float64)
        more = rng.poisson(factor * (around - expected)).astype(np.float64)
        out.append(Seen(rides, expected, rides + more, around, around * rng.uniform(0.9, 1.1, CELLS)))
    return out


def seen_by(slots: list[Seen]) -> Surges:
    """The state after some slots."""
    state = Surges(CELLS, SLOT_MIN)
    for seen in slots:
        state.observe(seen)
    return state


def log_likelihood(rides: float, mean: float, dispersion: float) -> float:
    """As in the model, from the textbook."""
    size = 1 / dispersion
    return math.lgamma(rides + size) - math.lgamma(size) + size * math.log(size / (size + mean)) + rides * math.log(mean / (size + mean))


def plainly(slots: list[Seen], cell: int) -> tuple[float, float]:
    """Chance of being normal and factor of one cell, by lists of hypotheses (chance, rides, expected, rides and expected of the cell)."""
    end, normal = SLOT_MIN / surges.END_MIN, 1.0
    runs: list[tuple[float, float, float]] = []
    own: list[tuple[float, float]] = []
    shape = surges.FACTOR_SHAPE
    for seen in slots:
        rides, expected = float(seen.rides_around[cell]), max(float(seen.expected_around[cell]), surges.TINY)
        forecast = max(float(seen.forecast_around[cell]), surges.TINY)
        changed = sum(run[0] for run in runs)
        stays = log_likelihood(rides, forecast, surges.NORMAL_DISPERSION)
        begins = log_likelihood(rides, expected, 1 / shape + surges.CHANGED_DISPERSION)
        grows = [
            log_likelihood(rides, (shape + y) / (shape + e) * expected, 1 / (shape + y) + surges.CHANGED_DISPERSION) for _, y, e in runs
        ]
        most = max([stays, begins, *grows])
        weights = [chance * (1 - end - surges.BEGIN) * math.exp(grow - most) for (chance, _, _), grow in zip(runs, grows, strict=True)]
        first = (normal + changed) * surges.BEGIN * math.exp(begins - most)
        normal = (normal * (1 - surges.BEGIN) + changed * end) * math.exp(stays - most)
        y, e = rides, float(seen.expected_around[cell])
        runs = [(first, y, e), *((w, before + y, past + e) for w, (_, before, past) in zip(weights, runs, strict=True))]
        total = normal + sum(run[0] for run in runs)
        normal = max(normal / total, surges.LEAST_CHANCE)
        runs = [(max(chance / total, surges.LEAST_CHANCE), a, b) for chance, a, b in runs]
        own.insert(0, (float(seen.rides[cell]), float(seen.expected[cell])))
    weighted = 0.0
    for number, (chance, y, e) in enumerate(runs, start=1):
        around = (shape + y) / (shape + e)
        mine = [sum(column) for column in zip(*own[:number], strict=True)]
        weighted += chance * around * (surges.CELL_RIDES + mine[0]) / (surges.CELL_RIDES + mine[1] * around)
    return normal, weighted / sum(run[0] for run in runs)


@pytest.mark.parametrize("factor", [1.0, 3.0, 0.3])
def test_a_plain_calculation_agrees(factor: float) -> None:
    """For as many slots as the longest run has, the chance and the factor are those of all hypotheses, listed one by one."""
    slots = slots_of(1, 5) + slots_of(2, surges.RUNS - 5, factor)
    state = seen_by(slots)
    for cell in range(CELLS):
        normal, changed = plainly(slots, cell)
        assert normal == pytest.approx(float(state.normal[cell]), rel=1e-9)
        assert changed == pytest.approx(float(state.factor[cell]), rel=1e-9)


def test_a_surge_is_found_and_forgotten() -> None:
    """Three slots of threefold demand change the forecast of busy cells, and three normal ones change it back."""
    one = np.full(1, 10.0)

    def with_rides(rides: float) -> Seen:
        return Seen(one * rides, one, one * rides, one, one)

    state = Surges(1, SLOT_MIN)
    chances = []
    for rides in [1.0] * 50 + [3.0] * 12 + [1.0] * 12:
        state.observe(with_rides(rides))
        chances.append(float(state.normal[0]))
    assert min(chances[:50]) > 0.95
    assert max(chances[52:62]) < 0.05
    assert min(chances[66:]) > 0.9


def test_calm_cells_stay_normal() -> None:
    """Where rides are what was forecast, hundreds of slots of noise give no alarm that lasts."""
    state, mean = Surges(CELLS, SLOT_MIN), np.zeros(CELLS)
    for seen in slots_of(3, 600):
        state.observe(seen)
        mean += state.normal
    assert float((mean / 600).min()) > 0.8


@given(st.integers(0, 2**32 - 1), st.integers(0, 20))
def test_a_resumed_state_is_the_same(seed: int, at: int) -> None:
    """A state restored from arrays at any slot continues bit for bit, and moving cells moves all that is known of them."""
    slots = slots_of(seed, 20, 2.0)
    whole, part = seen_by(slots), seen_by(slots[:at])
    other = Surges(CELLS, SLOT_MIN)
    other.from_arrays(part.to_arrays())
    for seen in slots[at:]:
        other.observe(seen)
    assert all(whole.to_arrays()[name].tobytes() == array.tobytes() for name, array in other.to_arrays().items())
    order = np.random.default_rng(seed).permutation(CELLS)
    other.move(np.concatenate([order, [-1]]))
    assert whole.normal[order].tobytes() == other.normal[:-1].tobytes()
    assert whole.factor[order].tobytes() == other.factor[:-1].tobytes()
    assert float(other.normal[-1]) == 1.0
    assert float(other.factor[-1]) == pytest.approx(1.0)


@given(st.integers(0, 2**32 - 1))
def test_cells_do_not_depend_on_their_company(seed: int) -> None:
    """A cell's chance and factor are the same bits whichever other cells are observed with it."""
    slots = slots_of(seed, 15, 3.0)
    whole, alone = seen_by(slots), Surges(1, SLOT_MIN)
    for seen in slots:
        alone.observe(Seen(*(getattr(seen, name)[2:3] for name in Seen.__slots__)))
    assert (whole.normal[2], whole.factor[2]) == (alone.normal[0], alone.factor[0])


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0.0, 100.0)), min_size=1, max_size=40))
def test_numbers_stay_finite(rows: list[tuple[int, float]]) -> None:
    """Whatever is counted and expected, chances add up to one and factors are positive."""
    state = Surges(1, SLOT_MIN)
    for (rides, expected), (_, forecast) in pairwise([*rows, rows[-1]]):
        seen = Seen(*(np.array([float(value)]) for value in (rides, expected, 3 * rides, 3 * expected, 3 * forecast)))
        state.observe(seen)
        total: Float64s = state.to_arrays()["chance"].sum(axis=0)
        assert float(total[0]) == pytest.approx(1.0)
        assert 0.0 <= float(state.normal[0]) <= 1.0
        assert 0.0 < float(state.factor[0]) < math.inf
