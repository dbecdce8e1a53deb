"""Dispersion and levels learned from counts: they find the truth again, follow it, and can be kept at any slot."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.events.rides import Float64s, Int64s
from schemas.records.records import HorizonSpread
from state.models.predictive import predictive
from state.models.spread import BANDS_MILLI, CLIP_DEVIATIONS, CLIP_RIDES, PRIOR_SQUARES, Spread, bands_of

DAY_SLOTS = 96


def drawn(rng: np.random.Generator, means: Float64s, dispersion: float) -> Int64s:
    """Negative binomial counts."""
    size = 1 / dispersion
    return rng.negative_binomial(size, size / (size + means)).astype(np.int64)


def run(spread: Spread, rng: np.random.Generator, slots: int, dispersion: float, stated: int = 1_000, shift: float = 1.0) -> float:
    """Closes of a city whose counts have a dispersion and a factor to their means; the coverage in the last half of them."""
    inside = []
    for slot in range(slots):
        mean_milli = np.rint(1000 * rng.gamma(2.0, 3.0, 60)).astype(np.int64) + 1
        wide = spread.dispersion_milli(0, mean_milli, stated)
        bands = spread.bands()[0]
        header = HorizonSpread(
            horizon_min=15, dispersion_milli=stated, quiet_dispersion_milli=stated, lower_milli=100, upper_milli=900, bands=bands
        )
        truth = drawn(rng, shift * mean_milli / 1000, dispersion)
        below, until = predictive(header, mean_milli, wide).around(truth)
        if slot >= slots // 2:
            pits = below + rng.random(len(truth)) * (until - below)
            inside.append(((pits >= 0.1) & (pits <= 0.9)).mean())
        spread.forget()
        spread.observe(0, mean_milli, wide, truth)
    return float(np.mean(inside))


def test_a_dispersion_stated_far_too_large_is_found_again() -> None:
    """Counts with dispersion 0.2 lead away from a stated 1.0, and four of five are covered."""
    spread = Spread(1, DAY_SLOTS)
    assert 0.8 == pytest.approx(run(spread, np.random.default_rng(1), 400, 0.2), abs=0.015)
    assert 200 == pytest.approx(spread.dispersion_milli(0, np.array([9_000]), 1_000)[0], abs=20)


def test_levels_repair_what_no_dispersion_can() -> None:
    """Where the means are a quarter too high, the quantiles still cover four of five counts."""
    spread = Spread(1, DAY_SLOTS)
    assert 0.8 == pytest.approx(run(spread, np.random.default_rng(2), 600, 0.1, shift=0.8), abs=0.02)
    assert max(band.median_milli for band in spread.bands()[0][4:5]) < 450


@given(st.integers(0, 12), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_kept_at_any_slot_it_goes_on_the_same(slots: int, seed: int) -> None:
    """Restored from its arrays it serves and learns the same bits."""
    one, other = Spread(1, DAY_SLOTS), Spread(1, DAY_SLOTS)
    run(one, np.random.default_rng(seed), slots + 1, 0.3)
    other.from_arrays(one.to_arrays())
    for each in (one, other):
        run(each, np.random.default_rng(seed + 1), 3, 0.3)
    assert {name: array.tobytes() for name, array in one.to_arrays().items()} == {
        name: array.tobytes() for name, array in other.to_arrays().items()
    }


def plain_observe(state: dict[str, list[float]], rows: list[tuple[int, int, int]], rate: float) -> None:
    """One horizon's learning step, cell by cell, with a Poisson or negative binomial summed plainly."""
    moves: dict[tuple[int, int], list[float]] = {}
    for mean_milli, wide_milli, truth in rows:
        band = max(i for i, start in enumerate(BANDS_MILLI) if start <= mean_milli)
        mean, wide = mean_milli / 1000, wide_milli / 1000
        seen = min(float(truth), mean + CLIP_RIDES + CLIP_DEVIATIONS * (mean + wide * mean**2) ** 0.5)
        state["excess"][band] += (seen - mean) ** 2 - mean
        state["squares"][band] += mean**2
        each, total, below = (1 + wide * mean) ** (-1 / wide), 0.0, 0.0
        for k in range(truth + 1):
            below, total = total, total + each
            each *= (1 + wide * k) * mean / ((1 + wide * mean) * (k + 1))
        for i, probability in enumerate((0.1, 0.5, 0.9)):
            level = state[f"level{i}"][band]
            moves.setdefault((i, band), []).append(probability - (min((level - below) / (total - below), 1.0) if below < level else 0.0))
    for (i, band), missed in moves.items():
        moved = state[f"level{i}"][band] + rate * min(len(missed) / 10, 1.0) * sum(missed) / len(missed)
        state[f"level{i}"][band] = min(max(moved, (0.01, 0.31, 0.7)[i]), (0.3, 0.69, 0.99)[i])


def test_a_step_is_as_plainly() -> None:
    """Moments and levels of every band after some closes are those of the reference, one cell at a time."""
    rng, spread, n = np.random.default_rng(3), Spread(1, DAY_SLOTS), len(BANDS_MILLI)
    state = {"excess": [0.0] * n, "squares": [0.0] * n, "level0": [0.1] * n, "level1": [0.5] * n, "level2": [0.9] * n}
    for _ in range(5):
        means = np.rint(rng.choice([5, 60, 300, 1_200, 5_000, 20_000, 40_000], 40) * rng.uniform(0.8, 1.2, 40)).astype(np.int64)
        wide, truth = rng.integers(1, 900, 40), rng.poisson(1.2 * means / 1000).astype(np.int64)
        truth[0] = 500  # more than anyone believes
        spread.forget()
        spread.observe(0, means, wide, truth)
        for name in ("excess", "squares"):
            state[name] = [value * 0.5 ** (1 / (7 * DAY_SLOTS)) for value in state[name]]
        plain_observe(state, list(zip(means.tolist(), wide.tolist(), truth.tolist(), strict=True)), 1.5 / DAY_SLOTS)
    arrays = spread.to_arrays()
    assert state["excess"] == pytest.approx(arrays["spread_excess"][0].tolist())
    assert state["squares"] == pytest.approx(arrays["spread_squares"][0].tolist())
    for i in range(3):
        assert state[f"level{i}"] == pytest.approx(arrays["spread_levels"][0, :, i].tolist())
    excess, squares = state["excess"][5], state["squares"][5]
    expected = round(1000 * (excess + PRIOR_SQUARES * 0.3) / (squares + PRIOR_SQUARES))
    assert expected == spread.dispersion_milli(0, np.array([9_000]), 300)[0]


def test_before_anything_is_known_the_model_is_believed() -> None:
    """The stated dispersion is served in every band, with the plain quantile levels."""
    spread = Spread(2, DAY_SLOTS)
    assert [700] * len(BANDS_MILLI) == spread.dispersion_milli(1, np.array(BANDS_MILLI), 700).tolist()
    assert {(100, 500, 900)} == {(b.lower_milli, b.median_milli, b.upper_milli) for bands in spread.bands() for b in bands}
    assert [list(BANDS_MILLI)] * 2 == [[b.from_milli for b in bands] for bands in spread.bands()]


@given(st.integers(0, 10**6))
def test_every_mean_has_a_band(mean_milli: int) -> None:
    """A band holds the means from its start to the next start."""
    band = int(bands_of(np.array([mean_milli]))[0])
    assert BANDS_MILLI[band] <= mean_milli < [*BANDS_MILLI, 10**9][band + 1]
