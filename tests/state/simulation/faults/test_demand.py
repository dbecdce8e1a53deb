"""Faults of demand: what is expected under them, and that the rides that are drawn follow it."""

from dataclasses import replace

import numpy as np
import pytest

from schemas.events.cells import cell_code, cell_text
from schemas.events.rides import Float64s
from state.simulation.city import Climate, Day, interpolated, local_clock, plan_day
from state.simulation.faults.kinds import Scene
from state.simulation.faults.run import FaultRun, expected_under
from state.simulation.faults.syntax import parse_faults
from state.simulation.lives import lives_of
from state.simulation.requests import draw_requests
from state.simulation.simulate import DAY_US
from tests.state.simulation.faults.logs import SEED, START_US, TEHRAN, scene

DAY_SLOTS = 288
CITY = scene().city
RIDES = 20_000


def place(days: int = 20) -> Scene:
    """The city for longer, and busier."""
    return replace(scene(), end_us=START_US + days * DAY_US, rides_per_day=RIDES)


def plan(day: int = 0) -> Day:
    """One of its days."""
    return plan_day(CITY, TEHRAN, Climate(), START_US + day * DAY_US, RIDES, np.random.default_rng([SEED, 1, day]))


def factor(*texts: str, day: int = 0) -> Float64s:
    """What is expected under some faults over what was planned: float64[slots, n], 1 where nothing was."""
    before = plan(day)
    after = expected_under(parse_faults(texts, TEHRAN, START_US, place().end_us), place(), before)
    return np.divide(after.expected, before.expected, out=np.ones_like(before.expected), where=before.expected > 0)


def test_a_surge_is_in_its_cells_and_hours() -> None:
    """A surge multiplies the demand of the cells nearest to the hub in its slots, and nothing else."""
    seen = factor("surge:factor=3,cells=12,from=+18h,hours=2")
    hub = int(CITY.hub_cells[0])
    near = np.argsort(np.hypot(CITY.lat - CITY.lat[hub], CITY.lon - CITY.lon[hub]), kind="stable")[:12]
    expected = np.ones_like(seen)
    expected[18 * 12 : 20 * 12, near] = 3.0
    np.testing.assert_allclose(seen, expected)


def test_a_surge_may_be_around_any_cell() -> None:
    """With a cell given, the surge is there, also between cells that have demand of their own."""
    text = cell_text(int(CITY.cells[50]), TEHRAN.precision)
    changed = (factor(f"surge:cells=1,from=+1h,cell={text}") != 1.0).any(axis=0)
    assert [cell_code(text)] == CITY.cells[changed].tolist()


def test_a_shift_of_the_level_is_for_good() -> None:
    """From its moment on all demand has the factor, on the same day and on later ones."""
    text = "level:factor=0.7,from=+12h"
    np.testing.assert_allclose(factor(text)[:144], 1.0)
    np.testing.assert_allclose(factor(text)[144:][plan().expected[144:] > 0], 0.7)
    later = factor(text, day=19)
    np.testing.assert_allclose(later[plan(19).expected > 0], 0.7)


def test_a_shift_of_the_mix_keeps_the_total() -> None:
    """In every slot a fifth of the demand moves from one half of the cells to the other, and the total stays."""
    before = plan()
    (fault,) = parse_faults(["mix:share=0.2,from=+0d"], TEHRAN, START_US, place().end_us)
    after = expected_under([fault], place(), before).expected
    np.testing.assert_allclose(after.sum(axis=1), before.expected.sum(axis=1))
    moved = np.abs(after - before.expected).sum(axis=1) / 2 / before.expected.sum(axis=1)
    np.testing.assert_allclose(moved, 0.2)
    assert (after >= 0).all()
    assert 0.4 < CITY.weight[(after < before.expected).any(axis=0)].sum() <= 0.5


def test_growth_and_decline_are_compounded() -> None:
    """After ten days at a percent a day, demand is 1.01 or 0.99 to the power of ten; growth ends at a hundred times."""
    for text, rate in (("growth", 1.01), ("decline", 0.99)):
        seen = factor(f"{text}:per_day=0.01,from=+0d", day=10)
        assert rate**10 == pytest.approx(float(seen[0].max() if rate > 1 else seen[0].min()))
        assert rate**11 == pytest.approx(float(seen[-1].max() if rate > 1 else seen[-1].min()), rel=1e-4)
    assert 100.0 == pytest.approx(float(factor("growth:per_day=0.5,from=+0d", day=15).max()))


def test_a_holiday_looks_like_a_day_off() -> None:
    """A working day takes the shape of a day off, times the factor; a day off only the factor."""
    hour, at, weekend = local_clock(TEHRAN, START_US, DAY_SLOTS)
    assert not weekend.any()  # Saturday is a working day in Tehran
    assert len(hour) == DAY_SLOTS
    off, on = (interpolated(at, kind) @ CITY.sort.T for kind in (weekend + 1, weekend))
    some = (on > 0) & (plan().expected > 0)
    np.testing.assert_allclose(factor("holiday:factor=0.8,from=+0d")[some], (0.8 * off / np.where(on > 0, on, 1))[some])
    seen = factor("holiday:factor=0.8,from=+5d", day=5)
    np.testing.assert_allclose(seen[plan(5).expected > 0], 0.8)


def test_a_stadium_is_a_crowd() -> None:
    """The crowd is as many rides as asked for, in its cells, half of them in the first of these, and most of them soon."""
    before = plan()
    (fault,) = parse_faults(["stadium:crowd=300,cells=3,from=+20h"], TEHRAN, START_US, place().end_us)
    more = expected_under([fault], place(), before).expected - before.expected
    assert 300 == pytest.approx(float(more.sum()))
    assert 3 == np.count_nonzero(more.any(axis=0))
    assert 0.57 == pytest.approx(float(more.sum(axis=0).max()) / 300, abs=0.01)
    assert 0.6 * 300 < float(more[240:246].sum())
    assert not more[:240].any()
    assert not more[258:].any()


@pytest.mark.parametrize("text", ["surge:factor=3,cells=100,from=+0d,hours=24", "level:factor=0.4,from=+0d", "mix:share=0.3,from=+0d"])
def test_rides_follow_what_is_expected(text: str) -> None:
    """Thinned and added rides are as many as the changed demand says, in the cells that rose and in those that fell."""
    days = 3
    run = FaultRun(place(days), parse_faults([text], TEHRAN, START_US, place(days).end_us))
    rises = falls = expected_rises = expected_falls = 0.0
    for day in range(days):
        before, rng = plan(day), np.random.default_rng(day)
        rides = draw_requests(CITY, TEHRAN, before, day * 10_000_000, rng)
        events = run.demanded(before, rides, lives_of(rides, SEED, RIDES, rng))
        after = expected_under(run.faults, run.scene, before).expected
        up, down = (after > before.expected), (after < before.expected)
        requests = events.where(events.kind == 0)
        old = np.isin(requests.ride, np.unique(lives_of(rides, SEED, RIDES, np.random.default_rng(0)).ride))
        rises += float((~old).sum())
        falls += float(len(rides.number) - old.sum())
        expected_rises += float((after - before.expected)[up].sum())
        expected_falls += float((before.expected - after)[down].sum())
    assert rises == pytest.approx(expected_rises, rel=0.03, abs=4 * np.sqrt(expected_rises) + 1)
    assert falls == pytest.approx(expected_falls, rel=0.03, abs=4 * np.sqrt(expected_falls) + 1)
    assert rises + falls > 1_000
