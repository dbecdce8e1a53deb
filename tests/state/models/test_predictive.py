"""Predictive distributions against SciPy and against plain sums, and the laws of their quantiles."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats  # type: ignore[import-untyped]

from schemas.records.records import BandLevels, HorizonSpread
from state.models.predictive import NOMINAL, Predictive, cumulative, negative_binomial, predictive, recalibrated, stepped, tabulated

means = st.one_of(st.just(0.0), st.floats(1e-3, 3.0), st.floats(3.0, 400.0), st.floats(400.0, 5_000.0))
dispersions = st.sampled_from((0.0, 0.001, 0.05, 0.4, 3.0, 20.0))
levels = st.tuples(st.floats(0.01, 0.3), st.floats(0.31, 0.69), st.floats(0.7, 0.99))
laws = st.lists(st.tuples(means, dispersions, levels), min_size=1, max_size=8)


def law_of(rows: list[tuple[float, float, tuple[float, float, float]]]) -> Predictive:
    """Distributions of some means, dispersions and levels."""
    return Predictive(*(np.array([row[i] for row in rows], np.float64) for i in range(3)))


def scipy_law(mean: float, dispersion: float) -> "stats.rv_frozen":
    """The same distribution, before recalibration, by SciPy."""
    return stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean)) if dispersion else stats.poisson(mean)


@given(laws, st.integers(-1, 2_000))
@settings(max_examples=60, deadline=None)
def test_probabilities_are_those_of_scipy(rows: list[tuple[float, float, tuple[float, float, float]]], count: int) -> None:
    """F(y) of a negative binomial, Poisson or nothing at all, for counts far below and above the mean."""
    law = law_of(rows)
    found = negative_binomial(np.full(len(rows), count), law.means, law.dispersion)
    expected = [float(scipy_law(mean, dispersion).cdf(count)) if mean else float(count >= 0) for mean, dispersion, _ in rows]
    assert expected == pytest.approx(found.tolist(), abs=1e-9)


@given(laws)
@settings(max_examples=60, deadline=None)
def test_a_quantile_is_the_least_count_that_reaches_its_level(rows: list[tuple[float, float, tuple[float, float, float]]]) -> None:
    """Lower, median and upper ascend; F reaches the level at each of them and not one ride before."""
    law = law_of(rows)
    found = law.quantiles()
    assert (np.diff(found, axis=1) >= 0).all()
    for i in range(3):
        at, before = (negative_binomial(counts, law.means, law.dispersion) for counts in (found[:, i], found[:, i] - 1))
        assert (at >= law.levels[:, i] - 1e-9).all()
        assert (before < law.levels[:, i] + 1e-9).all()


@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.sampled_from((0.0, 0.05, 0.4)), levels), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_stepping_finds_what_tables_say(rows: list[tuple[float, float, tuple[float, float, float]]]) -> None:
    """Adding up one count after the other gives the quantiles of a table that holds every count."""
    law = law_of(rows)
    none = negative_binomial(np.zeros(len(rows), np.int64), law.means, law.dispersion)
    assert tabulated(law, 512).tolist() == stepped(law, none).tolist()


@given(dispersions, levels)
@settings(max_examples=30, deadline=None)
def test_a_larger_mean_has_no_smaller_quantile(dispersion: float, at: tuple[float, float, float]) -> None:
    """Within a band quantiles rise with the mean, also where the size of the table and the way to find them change."""
    rising = np.geomspace(0.01, 3_000.0, 400)
    found = Predictive(rising, np.full(400, dispersion), np.tile(np.array(at), (400, 1))).quantiles()
    assert (np.diff(found, axis=0) >= 0).all()


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20), levels)
def test_recalibration_is_a_map_onto_all_probabilities(values: list[float], at: tuple[float, float, float]) -> None:
    """It never falls, keeps 0 and 1, takes the levels to 10, 50 and 90 %, and changes nothing where they are these already."""
    low, middle, high = at
    probabilities = np.sort(np.array([0.0, *values, low, middle, high, 1.0]))
    found = recalibrated(probabilities, np.tile(np.array(at), (len(probabilities), 1)))
    plain = np.interp(probabilities, [0.0, *at, 1.0], [0.0, *NOMINAL, 1.0])
    assert plain.tolist() == pytest.approx(found.tolist(), abs=1e-12)
    assert (np.diff(found) >= -1e-12).all()
    same = recalibrated(probabilities, np.tile(np.array(NOMINAL), (len(probabilities), 1)))
    assert probabilities.tolist() == pytest.approx(same.tolist(), abs=1e-12)


def test_a_table_of_probabilities_is_summed_as_plainly() -> None:
    """Each entry is the one before and one more probability; a row does not depend on the others or on the table's size."""
    some, wide = np.array([0.0, 0.3, 7.0, 40.0]), np.array([0.5, 2.0, 0.0, 0.1])
    table = cumulative(some, wide, 16)
    for row, (mean, dispersion) in enumerate(zip(some.tolist(), wide.tolist(), strict=True)):
        plain = scipy_law(mean, dispersion).cdf(np.arange(16)) if mean else np.ones(16)
        assert plain.tolist() == pytest.approx(table[row].tolist(), abs=1e-12)
    assert table[1, :4].tobytes() == cumulative(some[1:2], wide[1:2], 4)[0].tobytes()


def test_the_band_of_a_mean_decides_its_levels() -> None:
    """A band begins at its least mean, in 1/1000 ride; without bands the levels are those of the horizon."""
    bands = tuple(
        BandLevels(from_milli=start, lower_milli=low, median_milli=500, upper_milli=900) for start, low in ((0, 50), (2_000, 150))
    )
    spread = HorizonSpread(horizon_min=15, dispersion_milli=1, quiet_dispersion_milli=1, lower_milli=100, upper_milli=900, bands=bands)
    some, wide = np.array([0, 1_999, 2_000, 9_000]), np.array([100, 0, 250, 100])
    law = predictive(spread, some, wide)
    assert [0.05, 0.05, 0.15, 0.15] == law.levels[:, 0].tolist()
    assert ([0.0, 1.999, 2.0, 9.0], [0.1, 0.0, 0.25, 0.1]) == (law.means.tolist(), law.dispersion.tolist())
    plain = HorizonSpread(horizon_min=15, dispersion_milli=1, quiet_dispersion_milli=1, lower_milli=100, upper_milli=900)
    assert [NOMINAL] * 4 == [tuple(row) for row in predictive(plain, some, wide).levels.tolist()]
