"""Experiments: a stable assignment by hash, block differences, and the error rates of the interval by simulation."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, strategies as st

from schemas.errors import UsageError
from schemas.events.rides import Bools, Float64s
from state.decide.experiments import EFFECT_SD, ERROR_RATE, ConfidenceSequence, Finding, confidence_sequence, differences
from state.decide.sequential import half_width, valid_interval
from state.forecast.arms import Design

WORD = 2**64 - 1
BLOCKS, CLUSTERS, TRIALS = 168, 40, 1_000  # a week of hours


def plain(design: Design, cell: int, slot: int) -> bool:
    """The arm of one cell, in Python's own numbers."""

    def mix(number: int) -> int:
        number = (number + 0x9E3779B97F4A7C15) & WORD
        number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & WORD
        number = ((number ^ number >> 27) * 0x94D049BB133111EB) & WORD
        return number ^ number >> 31

    key = int.from_bytes(hashlib.sha256(design.name.encode()).digest()[:8], "big")
    unit = mix(cell >> 5 * design.levels ^ mix(key ^ slot // design.block_slots)) >> 11
    return unit * 1000 < design.share_milli * 2**53


designs = st.builds(
    Design,
    name=st.text(min_size=1, max_size=9),
    share_milli=st.integers(1, 999),
    block_slots=st.integers(1, 2_016),
    levels=st.integers(0, 3),
)


@given(designs, st.lists(st.integers(0, 2**60 - 1), max_size=20), st.integers(0, 2**31))
def test_the_assignment_is_that_of_the_plain_version(design: Design, cells: list[int], slot: int) -> None:
    """The vectorised hash gives every cell the arm that the plain one does."""
    assert [plain(design, cell, slot) for cell in cells] == design.challenged(np.array(cells, np.uint64), slot).tolist()


@given(designs, st.integers(0, 2**60 - 1), st.integers(0, 2**25))
def test_a_cluster_keeps_its_arm_for_a_block(design: Design, cell: int, block: int) -> None:
    """All cells of a cluster have one arm, at every slot of a block."""
    first = block * design.block_slots
    cluster = (np.uint64(cell >> 5 * design.levels) << np.uint64(5 * design.levels)) + np.arange(1 << 5 * design.levels, dtype=np.uint64)
    arms = [design.challenged(cluster, slot) for slot in (first, first + design.block_slots - 1)]
    assert 1 == len({bool(arm) for some in arms for arm in some[:64]})


@pytest.mark.parametrize("share_milli", [100, 500, 900])
def test_the_share_is_kept_over_cells_and_over_blocks(share_milli: int) -> None:
    """The challenger serves its share of the cells in a block, and of the blocks in a cell."""
    design = Design(name="share", share_milli=share_milli)
    cells = np.arange(2**20, 2**20 + 20_000, dtype=np.uint64)
    deviation = np.sqrt(0.25 / 20_000)
    assert share_milli / 1000 == pytest.approx(design.challenged(cells, 5_000_000).mean(), abs=4 * deviation)
    over_blocks = [design.challenged(cells[:20], block * design.block_slots).mean() for block in range(1_000)]
    assert share_milli / 1000 == pytest.approx(np.mean(over_blocks), abs=4 * deviation)


def test_two_experiments_and_two_blocks_are_assigned_independently() -> None:
    """Another name or the next block says nothing about who serves a cell."""
    cells = np.arange(20_000, dtype=np.uint64)
    one = Design(name="one").challenged(cells, 0)
    for other in (Design(name="two").challenged(cells, 0), Design(name="one").challenged(cells, 12)):
        assert 0.5 == pytest.approx((one == other).mean(), abs=0.015)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "experiment: expected a name, got an empty text"),
        ({"share_milli": 0}, "experiment a: share_milli: expected 1 to 999, got 0"),
        ({"share_milli": 1000}, "share_milli: expected 1 to 999, got 1000"),
        ({"block_slots": 0}, "block_slots: expected 1 to 2016, got 0"),
        ({"levels": 4}, "levels: expected 0 to 3, got 4"),
    ],
)
def test_a_design_that_cannot_be_is_refused(changes: dict[str, object], said: str) -> None:
    """The text names the experiment, the field and its bounds."""
    with pytest.raises(UsageError, match=said):
        Design(**{"name": "a", **changes})  # type: ignore[arg-type]


@given(st.lists(st.lists(st.tuples(st.floats(-9, 9), st.booleans()), min_size=4, max_size=4), min_size=1, max_size=5))
def test_differences_are_those_of_two_plain_means(blocks: list[list[tuple[float, bool]]]) -> None:
    """Each block's difference is the mean of one arm less that of the other, and none where an arm is empty."""
    losses = np.array([[loss for loss, _ in block] for block in blocks])
    found = differences(losses, np.array([[arm for _, arm in block] for block in blocks]))
    for value, block in zip(found.tolist(), blocks, strict=True):
        ours, theirs = ([loss for loss, arm in block if arm is side] for side in (True, False))
        if ours and theirs:
            assert sum(ours) / len(ours) - sum(theirs) / len(theirs) == pytest.approx(value, abs=1e-9)
        else:
            assert np.isnan(value)


def test_the_sequence_is_the_interval_of_each_look() -> None:
    """After each block that compared something the sequence holds what a single look would give."""
    values = np.random.default_rng(1).normal(0.2, 1.0, 40)
    values[[0, 7]] = np.nan
    known = values[~np.isnan(values)]
    sequence = confidence_sequence(values)
    assert 38 == len(sequence.mean)
    for look in range(38):
        one = valid_interval(known[: look + 1], error_rate=ERROR_RATE, effect_sd=EFFECT_SD)
        assert (one.mean, one.lower, one.upper) == pytest.approx((sequence.mean[look], sequence.lower[look], sequence.upper[look]))


def test_a_finding_is_not_taken_back() -> None:
    """The first interval without 0 decides, and a sequence without blocks is undecided."""
    ends = np.array([-np.inf, -2.0, -3.0]), np.array([np.inf, -0.1, 1.0])
    assert Finding.BETTER == ConfidenceSequence(np.zeros(3), *ends).finding
    assert Finding.WORSE == ConfidenceSequence(np.zeros(3), -ends[1], -ends[0]).finding
    assert Finding.UNDECIDED == confidence_sequence(np.empty(0)).finding == confidence_sequence(np.array([np.nan, 1.0])).finding


# --- error rates -----------------------------------------------------------------------------------


def findings(values: Float64s) -> list[Finding]:
    """What each of many experiments says after its last block, looked at after every one: float64[trials, blocks]."""
    looks = np.arange(1, values.shape[1] + 1)
    sums, squares = np.cumsum(values, axis=1), np.cumsum(values**2, axis=1)
    mean = sums / looks
    deviation = np.sqrt(np.maximum(squares - sums * mean, 0.0) / np.maximum(looks - 1, 1))
    unit = np.array([np.inf, *(half_width(int(n), 1.0, error_rate=ERROR_RATE, effect_sd=EFFECT_SD) for n in looks[1:])])
    with np.errstate(invalid="ignore"):
        half = np.where(np.isinf(unit), np.inf, deviation * unit)
    return [ConfidenceSequence(*parts).finding for parts in zip(mean, mean - half, mean + half, strict=True)]


def simulated(seed: int, *, noise: tuple[float, float], trials: int) -> Float64s:
    """Block differences of experiments in a city of unequal clusters, hours and shocks: float64[trials, blocks].

    Args:
        noise: Of the log of each arm's forecasts, (champion, challenger); the better the smaller.
    """
    random = np.random.default_rng(seed)
    hours = 1 + 0.8 * np.sin(2 * np.pi * np.arange(BLOCKS) / 24)
    rate = 40.0 * np.sort(random.pareto(1.5, CLUSTERS) + 0.1)[None, :] / CLUSTERS * hours[:, None]
    rate = 1.0 + np.minimum(rate, 60.0)
    arms: Bools = np.array([assigned(f"experiment {seed}/{trial}") for trial in range(trials)])
    truth = random.poisson(rate * np.exp(random.normal(0, 0.1, (trials, BLOCKS, 1))), (trials, BLOCKS, CLUSTERS))
    spread = np.where(arms, noise[1], noise[0])
    served = rate * np.exp(random.normal(0, 1, arms.shape) * spread - spread**2 / 2)
    baseline = rate * np.exp(random.normal(0, 0.3, arms.shape))
    scale = 1 / np.sqrt(rate)  # busy clusters would otherwise decide alone
    return differences((np.abs(served - truth) - np.abs(baseline - truth)) * scale, arms)


def assigned(name: str) -> Bools:
    """The arms of one experiment: bool[blocks, clusters]."""
    design, clusters = Design(name=name), np.arange(CLUSTERS, dtype=np.uint64)
    return np.array([design.challenged(clusters, block * design.block_slots) for block in range(BLOCKS)])


def test_equal_arms_raise_few_false_alarms() -> None:
    """Of 1,000 experiments with two equal arms, looked at after every block, at most 5 % ever find a difference."""
    found = findings(simulated(1, noise=(0.2, 0.2), trials=TRIALS))
    alarms = sum(one is not Finding.UNDECIDED for one in found)
    print(f"false alarms: {alarms} of {TRIALS}")
    assert alarms <= 0.05 * TRIALS


def test_a_better_challenger_is_found() -> None:
    """Of 150 experiments with a challenger whose error is 7 % smaller, at least 80 % say so within a week, and none says worse."""
    found = findings(simulated(2, noise=(0.35, 0.2), trials=150))
    print({finding.value: found.count(finding) for finding in Finding})
    assert found.count(Finding.BETTER) >= 120
    assert 0 == found.count(Finding.WORSE)


def test_a_worse_challenger_is_found() -> None:
    """Of 150 experiments with a challenger whose error is 7 % larger, at least 80 % say so within a week, and none says better."""
    found = findings(simulated(3, noise=(0.2, 0.35), trials=150))
    assert found.count(Finding.WORSE) >= 120
    assert 0 == found.count(Finding.BETTER)
