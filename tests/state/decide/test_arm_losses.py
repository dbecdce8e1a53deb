"""Losses of the two arms: what is summed, which blocks are compared, and the error rates of what is said."""

import dataclasses

import numpy as np
import pytest

from schemas.errors import ContractError
from schemas.events.rides import Float64s
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import FALLBACKS, ExperimentStarted, Fallback
from schemas.regions import load_region
from state.counting.slots import NO_COUNTS, ClosedSlot, CountColumns
from state.decide.arm_losses import CHALLENGER, CHAMPION, PARTS, ArmLosses
from state.decide.experiments import Finding
from state.forecast.arms import challenged_rows, design_of
from tests.state.decide.trials import columns_of
from tests.state.forecast.test_region import cut

REGION = load_region("nyc")
CELLS = np.arange(2**29, 2**29 + 40, dtype=np.uint64)
START = 1_200
STARTED = ExperimentStarted(
    region="nyc",
    measure="pickups",
    experiment="trees",
    champion=b"a",
    challenger=b"b",
    seed="trees",
    share_milli=500,
    block_slots=12,
    levels=0,
    washout_slots=0,
    start_slot=START,
    until_slot=START + 2_000,
    loss="absolute",
    until_decided=False,
    author="",
    reason="",
)


def closed(slot: int, rides: int, late: CountColumns = NO_COUNTS) -> ClosedSlot:
    """A slot in which every cell has so many rides."""
    counts = CountColumns(np.full(len(CELLS), slot), CELLS, np.full(len(CELLS), rides))
    return ClosedSlot(slot, (cut(),), (counts if rides else NO_COUNTS,), (late,))


def served(slot: int, *, worse: int, started: ExperimentStarted = STARTED) -> ForecastColumns:
    """Forecasts of 3, 6 and 12 rides; the challenger's medians are so much higher."""
    columns = columns_of(CELLS.tolist(), [0.0] * len(CELLS), [0] * len(CELLS), baseline=[4.0] * len(CELLS))
    challenged = challenged_rows(started, columns, slot)
    truth = np.array([3.0, 6.0, 12.0])
    columns.mean[:] = 1000 * truth
    columns.median[:] = 1000 * (truth + worse * challenged[:, None])
    columns.baseline[:] = 1000 * (truth + 1)
    return columns


def taken(slots: int, *, worse: int, started: ExperimentStarted = STARTED, rides: int = 1) -> ArmLosses:
    """The losses after some slots with one ride each per cell."""
    losses = ArmLosses(REGION, 0, started)
    for slot in range(START, START + slots):
        losses.take(closed(slot, rides), "observed", 5, served(slot, worse=worse, started=started))
    return losses


def test_the_totals_are_those_of_the_served_numbers() -> None:
    """Per horizon and arm: forecasts, rides, errors of the served numbers and of the baseline."""
    losses = taken(30, worse=2)
    totals = losses.compared().totals
    for i, h in enumerate(REGION.horizons):
        scored = range(START, START + 30 - h)
        challenged = sum(int(design_of(STARTED).challenged(CELLS, slot).sum()) for slot in scored)
        for arm, count, error in ((CHALLENGER, challenged, 2.0), (CHAMPION, len(CELLS) * len(scored) - challenged, 0.0)):
            wanted = dict(zip(PARTS, (count, count * h, count * error, count, 0.0, count), strict=True))
            assert wanted == dict(zip(PARTS, totals[i, arm].tolist(), strict=True))


def test_blocks_are_compared_when_their_last_window_has_ended() -> None:
    """The first block of an hour can be said something about an hour after it, not a slot before."""
    losses = taken(23, worse=1)
    assert [] == losses.compared().blocks.tolist()
    assert "no block has been compared yet" == losses.compared().sentence()
    assert [START // 12] == taken(24, worse=1).compared().blocks.tolist()


def test_the_change_is_relative_to_the_champions_loss() -> None:
    """Twice the error of the champion is a change of 100 %, at any scale of the horizons."""
    losses = ArmLosses(REGION, 0, STARTED)
    for slot in range(START, START + 60):
        columns = served(slot, worse=1)
        columns.median[:] += 1000
        losses.take(closed(slot, 1), "observed", 5, columns)
    found = losses.compared()
    assert [1.0] * 4 == pytest.approx(found.sequence.mean.tolist())
    assert 4 == len(found.blocks)


@pytest.mark.parametrize(("change", "blocks"), [("outage", 1), ("unserved", 2), ("washout", 3)])
def test_what_says_too_little_is_left_out(change: str, blocks: int) -> None:
    """An outage spoils every window that it is in; slots without arms leave their block out; a washout is not scored."""
    started = dataclasses.replace(STARTED, washout_slots=3 if change == "washout" else 0)
    losses = ArmLosses(REGION, 0, started)
    for slot in range(START, START + 48):
        status = "unobserved" if change == "outage" and slot == START + 20 else "observed"
        gone = change == "unserved" and slot in (START + 14, START + 15)
        losses.take(closed(slot, 1), status, 5, None if gone else served(slot, worse=1))
    found = losses.compared()
    assert blocks == len(found.blocks)
    if change == "washout":
        assert (3 * 9 + 6) * len(CELLS) == found.totals[0, :, 0].sum()
    with pytest.raises(ContractError, match=f"expected slot {START + 48}, got {START + 50}"):
        losses.take(closed(START + 50, 1), "observed", 5, None)


def test_rides_that_come_late_count_if_the_window_is_open() -> None:
    """A correction of a slot is part of the truth of windows that end after it came."""
    losses = ArmLosses(REGION, 0, STARTED)
    late = CountColumns(np.array([START + 1]), CELLS[:1], np.array([5]))
    for slot in range(START, START + 4):
        losses.take(closed(slot, 1, late if slot == START + 2 else NO_COUNTS), "observed", 5, served(slot, worse=0))
    assert 3 * len(CELLS) + 5 == losses.totals[0, :, 1].sum()


def test_only_cells_with_a_model_of_their_own_are_compared() -> None:
    """Forecasts of fallbacks are in neither arm."""
    losses = ArmLosses(REGION, 0, STARTED)
    for slot in range(START, START + 4):
        columns = served(slot, worse=1)
        columns.fallback[:10] = FALLBACKS.index(Fallback.QUIET)
        losses.take(closed(slot, 1), "observed", 5, columns)
    assert len(CELLS) - 10 == losses.totals[0, :, 0].sum()


# --- error rates -----------------------------------------------------------------------------------


def noisy(seed: int, *, spread: tuple[float, float], carry: float, blocks: int = 72) -> ArmLosses:
    """An experiment in which errors of cells persist from block to block, and those of one arm linger after a change.

    Args:
        spread: Of the errors of (champion, challenger).
        carry: Share of the last block's errors in those of the next, whichever arm serves.
    """
    random = np.random.default_rng(seed)
    started = dataclasses.replace(STARTED, seed=f"{seed}", block_slots=1)
    region = dataclasses.replace(REGION, horizons_min=(5,))
    losses = ArmLosses(region, 0, started)
    busy = 1 + 10 * random.pareto(2.0, len(CELLS))
    error: Float64s = np.zeros(len(CELLS))
    day = random.normal(0, 1, blocks + 1).cumsum() * 0.2
    for n in range(blocks + 1):
        slot = START + n
        rides = random.poisson(busy * np.exp(0.3 * np.sin(n / 4) + 0.1 * day[n]))
        arm = design_of(started).challenged(CELLS, slot)
        error = carry * error + random.normal(0, 1, len(CELLS)) * np.where(arm, spread[1], spread[0])
        milli = np.rint(1000 * busy * np.exp(error)).astype(np.int64)[:, None]
        base = np.rint(1000 * busy * np.exp(random.normal(0, 0.3, len(CELLS)))).astype(np.int64)[:, None]
        columns = ForecastColumns(CELLS, (5,), milli, milli, milli, milli, milli * 0, base, np.zeros(len(CELLS), np.uint8))
        some = rides > 0
        counts = CountColumns(np.full(int(some.sum()), slot), CELLS[some], rides[some])
        losses.take(ClosedSlot(slot, (cut(),), (counts,), (NO_COUNTS,)), "observed", 5, columns)
    return losses


@pytest.mark.parametrize(("carry", "most"), [(0.0, 7), (0.8, 7)])
def test_equal_arms_raise_few_false_alarms_with_lingering_errors(carry: float, most: int) -> None:
    """Of 60 experiments with equal arms, 3 may find something; more than 7 would be a chance of 2 in 100, also if errors linger."""
    alarms = sum(noisy(seed, spread=(0.3, 0.3), carry=carry).compared().finding is not Finding.UNDECIDED for seed in range(60))
    print(f"false alarms with a carry-over of {carry}: {alarms} of 60")
    assert alarms <= most


def test_a_lingering_error_hides_a_difference_and_does_not_turn_it() -> None:
    """With errors that linger after a change of the arm a better challenger looks less good, never worse."""
    found = {carry: [noisy(seed, spread=(0.5, 0.2), carry=carry).compared() for seed in range(12)] for carry in (0.0, 0.6)}
    means = {carry: np.mean([one.sequence.mean[-1] for one in some]) for carry, some in found.items()}
    print(means)
    assert means[0.0] < means[0.6] < 0.0
    assert 9 <= sum(one.finding is Finding.BETTER for one in found[0.0])
    assert not any(one.finding is Finding.WORSE for one in found[0.6])
