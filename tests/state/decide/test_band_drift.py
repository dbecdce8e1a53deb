"""Drift per band of cells: what an issue adds, what is found in one band only, and how often all series together err."""

import numpy as np
import pytest
from river.drift import PageHinkley

from schemas.errors import ContractError
from schemas.events.rides import Float64s
from schemas.forecasts.chunks import NUMBERS, ForecastColumns
from schemas.forecasts.settled import SettledIssue
from schemas.records.records import HorizonSpread
from state.decide import drift
from state.decide.band_drift import BANDS, LEAST, NAMES, SUMS, THRESHOLD, band_sums, drifts_in_bands
from state.decide.drift import ALLOWED, PARTS, REFERENCE_DAYS, Drift, sums_of
from state.models.intervals import quantiles
from tests.state.decide.test_drift import lingering

FIRST = 16_000 * PARTS
SPREAD = HorizonSpread(horizon_min=15, dispersion_milli=0, quiet_dispersion_milli=0, lower_milli=100, upper_milli=900)


def issue_of(means_milli: list[int], truth: list[int], *, whole: bool = True) -> SettledIssue:
    """An issue of one horizon; a last cell had rides and no forecast."""
    n = len(means_milli)
    numbers = dict.fromkeys(NUMBERS, np.zeros((n, 1), np.int64)) | {"mean": np.array(means_milli)[:, None]}
    columns = ForecastColumns(cells=np.arange(n, dtype=np.uint64), horizons_min=(15,), fallback=np.zeros(n, np.uint8), **numbers)
    return SettledIssue(FIRST, columns, (SPREAD,), np.arange(n + 1, dtype=np.uint64), np.array([*truth, 50])[:, None], np.array([whole]))


def test_an_issue_adds_to_the_band_of_its_forecasts() -> None:
    """Bands follow from the forecast means; the sums are rides, forecast rides, the share inside the interval, and cells."""
    means, truth = [1_000, 9_000, 250, 999, 249, 0], [1, 8, 0, 1, 0, 0]
    sums = band_sums(issue_of(means, truth))
    assert (len(BANDS), SUMS) == sums.shape
    assert [[9.0, 10.0, 2.0], [1.0, 1.249, 2.0], [0.0, 0.249, 2.0]] == [[s[0], pytest.approx(s[1]), s[3]] for s in sums]
    random = np.random.default_rng(1)
    counts = random.poisson(3.0, 4_000).tolist()
    share = band_sums(issue_of([3_000] * 4_000, counts))[0, 2] / 4_000
    assert share == pytest.approx(0.8, abs=0.02)
    upper = quantiles(np.array([3.0]), 0, 900)[0]
    assert share < np.mean(np.array(counts) <= upper)
    assert not band_sums(issue_of(means, truth, whole=False)).any()


def town_of(days: int, seed: int, *, rise: Float64s) -> Float64s:
    """Sums of the bands in some days, with more rides in each band from the tenth day on: float64[3, SUMS, parts]."""
    random, parts = np.random.default_rng(seed), days * PARTS
    forecast = np.array([40_000.0, 6_000.0, 2_000.0])[:, None] * (1.0 + 0.5 * (np.arange(parts) % PARTS))
    more = np.where(np.arange(parts) >= 9 * PARTS, rise[:, None], 1.0)
    cells = np.array([4_000.0, 8_000.0, 60_000.0])[:, None] * np.ones(parts)
    return np.stack([random.poisson(forecast * more), forecast, random.binomial(cells.astype(np.int64), 0.8), cells], axis=1)


def test_a_drift_of_one_band_is_found_there() -> None:
    """Medium cells gain 15 % while busy ones lose as many rides: the region sees nothing, the bands say which and which way."""
    sums = town_of(14, 3, rise=np.array([1 - 0.15 * 6 / 40, 1.15, 1.0]))
    found = drifts_in_bands(sums, FIRST)
    assert [(NAMES[0], False), (NAMES[2], True)] == [(one.what, one.sum > 0) for one in found]
    assert "rides against their forecast, medium cells" == NAMES[2]
    assert 0 <= found[1].part - (FIRST + 9 * PARTS) < PARTS
    assert "more than 28" in found[1].sentence()
    whole = sums.sum(axis=0)
    assert not drift.beyond(drift.SERIES, drift.values_of(whole), FIRST, drift.THRESHOLD)
    assert [] == drifts_in_bands(sums[:, :, : REFERENCE_DAYS * PARTS], FIRST)
    with pytest.raises(ContractError, match=r"expected sums of 3 bands, 4 each, got \(2, 4, 56\)"):
        drifts_in_bands(sums[:2], FIRST)


def test_a_band_with_hardly_a_ride_is_not_judged() -> None:
    """Where fewer rides or cells were forecast in a part than are needed for a ratio, nothing drifts."""
    sums = town_of(14, 3, rise=np.array([1.0, 3.0, 1.0]))
    assert [NAMES[2]] == [one.what for one in drifts_in_bands(sums, FIRST)]
    for place in (1, 3):
        few = sums.copy()
        few[1, place] = LEAST - 1
        few[1, 0] = few[1, 1] * np.where(np.arange(few.shape[2]) >= 9 * PARTS, 3.0, 1.0)
        assert [] == drifts_in_bands(few, FIRST)


def test_all_series_together_seldom_err() -> None:
    """Of 750 regions without a drift, looked at every day for eight weeks, at most 5 % have a series beyond its threshold."""
    window, days, series = 16, 56, 2 + len(NAMES)
    values = lingering(7, series * 750, (window + days) * PARTS, 0.3)
    limits = np.tile([drift.THRESHOLD] * 2 + [THRESHOLD] * len(NAMES), 750)
    over = np.zeros(series * 750, np.bool_)
    for day in range(days + 1):
        rise, fall = sums_of(values[:, day * PARTS : (day + window) * PARTS])
        over |= np.maximum(rise.max(axis=1), fall.max(axis=1)) > limits
    alarms = over.reshape(-1, series).any(axis=1).mean()
    print(f"false alarms in eight weeks, eight series: {alarms:.1%}")
    assert alarms <= 0.05


def test_the_page_hinkley_test_of_river_finds_the_same() -> None:
    """Given the same deviations and a mean that it knows, River's detector signals in the same part, or in none."""
    n, quiet = REFERENCE_DAYS * PARTS, 20_000
    values = lingering(11, 12, 16 * PARTS, 0.3)
    values[4:, 9 * PARTS :] += 3.0
    found = [drift.beyond(("x",), series[None], 0, THRESHOLD) for series in values]
    for series, ours in zip(values, found, strict=True):
        days = series[:n].reshape(REFERENCE_DAYS, PARTS)
        usual = days.mean(axis=0)
        wide = np.sqrt(((days - usual) ** 2).sum() / (n - PARTS) * (1 + 1 / REFERENCE_DAYS))
        peer = PageHinkley(min_instances=1, delta=ALLOWED, threshold=THRESHOLD, alpha=1.0, mode="up")
        for _ in range(quiet):  # so that its running mean stays at zero
            peer.update(0.0)  # type: ignore[no-untyped-call]
        at = None
        for part in range(n, len(series)):
            peer.update(float((series[part] - usual[part % PARTS]) / wide))  # type: ignore[no-untyped-call]
            if peer.drift_detected:
                at = part
                break
        assert at == (ours[0].part if ours and ours[0].sum > 0 else None)
    assert [0] * 4 + [1] * 8 == [len(ours) for ours in found]
    assert isinstance(found[-1][0], Drift)
