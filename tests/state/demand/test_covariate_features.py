"""Features of covariates: their values, none of the future, the same bits on every path, and nothing at all without covariates."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, strategies as st

from schemas.events.covariates import COVARIATES, NAMES as COVARIATE_NAMES
from schemas.events.rides import Float32s, Int64s
from schemas.records.records import CovariatesKnown
from state.counting.slots import NO_COUNTS, ClosedSlot, CountColumns
from state.demand.calendar import Calendar
from state.demand.covariate_features import COVARIATE_FEATURES
from state.demand.covariates import DAY_S, STALE_S, Covariates
from state.demand.feature_table import FeatureTable
from state.demand.features import build
from state.demand.groups import Group
from state.demand.history import CountHistory
from state.demand.tables import TABLES
from state.forecast.region import RegionFold
from state.forecast.sampling import KnownSlot, SamplePlan, Sampler
from state.forecast.training import train_model
from state.models.chain import Chain, margin, unpack
from state.models.glm import fit_glm
from tests.state.model_city import CELLS, FIRST_SLOT, HOURLY, town_slots

TABLE = TABLES[4]
NAMES = tuple(feature.name for feature in COVARIATE_FEATURES)
PLACES = [TABLE.names.index(name) for name in NAMES]
START_S = FIRST_SLOT * HOURLY.slot_min * 60
Row = tuple[str, int, int, int]  # name, valid_s, known_s, value_milli


def record(rows: Sequence[Row]) -> CovariatesKnown:
    """A record of these values."""
    names = tuple(sorted({row[0] for row in rows}))
    return CovariatesKnown(
        region=HOURLY.id,
        source=b"s" * 32,
        names=names,
        name=tuple(names.index(row[0]) for row in rows),
        valid_s=tuple(row[1] for row in rows),
        known_s=tuple(row[2] for row in rows),
        values_milli=tuple(row[3] for row in rows),
    )


def weather(first_s: int, hours: int, seed: int = 1) -> list[Row]:
    """Observations known ten minutes late, and a forecast of each hour three hours before, all in whole units."""
    rng = np.random.default_rng(seed)
    rows = []
    for name in COVARIATE_NAMES:
        for hour in range(hours):
            valid_s = first_s + 3_600 * hour
            observed, forecast = (int(value) * 1_000 for value in rng.integers(1, 20, 2))
            rows += [(name, valid_s, valid_s + 600, observed), (name, valid_s, valid_s - 3 * 3_600, forecast)]
    return rows


def known(rows: Sequence[Row]) -> Covariates:
    """The covariates of these values."""
    covariates = Covariates()
    covariates.follow((record(rows),))
    return covariates


# --- values ----------------------------------------------------------------------------------------------


def plain(rows: Sequence[Row], name: str, from_s: int, until_s: int, at_s: int) -> dict[int, float]:
    """The value for each time in [from, until), as known at a time, by going through all rows."""
    found: dict[int, tuple[int, float]] = {}
    for row_name, valid_s, known_s, value_milli in rows:
        usable = row_name == name and from_s <= valid_s < until_s and known_s <= at_s
        if usable and (valid_s not in found or found[valid_s][0] < known_s):
            found[valid_s] = known_s, value_milli / 1_000
    return {valid_s: value for valid_s, (_, value) in sorted(found.items())}


@given(
    st.dictionaries(st.tuples(st.integers(0, 30), st.integers(-4, 34)), st.integers(0, 99_999), max_size=40),
    st.integers(0, 34 * 4),
    st.integers(0, 3),
)
def test_each_value_is_the_newest_that_was_known(hours: dict[tuple[int, int], int], quarter: int, split: int) -> None:
    """Now, the last day and ahead are those of a search through all values, however the records split them."""
    rows = [("wind_m_s", 3_600 * valid, 3_600 * at, value) for (valid, at), value in hours.items()]
    covariates, at_s = Covariates(), 900 * quarter
    parts = [part for part in (rows[:split], rows[split:]) if part]
    for count in range(len(parts) + 1):
        covariates.follow(tuple(record(part) for part in parts[:count]))
    newest = list(plain(rows, "wind_m_s", at_s - STALE_S + 1, at_s + 1, at_s).values())
    day = list(plain(rows, "wind_m_s", at_s - DAY_S + 1, at_s + 1, at_s).values())
    ahead = list(plain(rows, "wind_m_s", at_s + 1_800, at_s + 5_400, at_s).values())
    now = newest[-1] if newest else math.nan
    assert covariates.now("wind_m_s", at_s) == pytest.approx(now, nan_ok=True)
    assert covariates.day("wind_m_s", at_s) == pytest.approx(sum(day) / len(day) if day else math.nan, nan_ok=True)
    assert covariates.ahead("wind_m_s", at_s, 1_800) == pytest.approx(ahead[0] if ahead else now, nan_ok=True)


def matrix(slots: Sequence[KnownSlot], covariates: Covariates) -> Float32s:
    """The newest table after the last of these slots."""
    history = CountHistory(HOURLY, tracked=True)
    for one in slots:
        one.add_to(history)
    slot = history.next_slot - 1
    return build(history, Calendar(HOURLY), slot, history.universe(slot), TABLE, covariates)


def test_the_columns_say_what_their_rows_say() -> None:
    """Rain is a logarithm, temperature is as it is, and each horizon reads the hour that its middle lies in."""
    slots = town_slots(30)
    end_s = START_S + 30 * 3_600
    rows = [
        ("precipitation_mm", end_s, end_s, 4_000),
        ("precipitation_mm", end_s - 3_600, end_s - 3_600, 2_000),
        *(("precipitation_mm", end_s + 3_600 * hour, end_s, 1_000 * hour) for hour in range(1, 6)),
        ("temperature_c", end_s, end_s, -3_500),
    ]
    found = dict(zip(NAMES, matrix(slots, known(rows))[0, PLACES].tolist(), strict=True))
    middles = [-(-h // 2) for h in (HOURLY.horizons[0], HOURLY.horizons[len(HOURLY.horizons) // 2], HOURLY.horizons[-1])]
    assert found["weather_precipitation_mm_now"] == pytest.approx(math.log(5))
    assert found["weather_precipitation_mm_day"] == pytest.approx(math.log(4))
    for name, middle in zip(("first", "middle", "last"), middles, strict=True):
        assert found[f"weather_precipitation_mm_ahead_{name}"] == pytest.approx(math.log(1 + middle))
    assert -3.5 == found["weather_temperature_c_now"] == found["weather_temperature_c_ahead_last"]
    assert math.isnan(found["weather_wind_m_s_now"])


def test_a_feed_that_stops_becomes_unknown() -> None:
    """An observation says something about now for three hours, and the last day is unknown after a day; nothing raises."""
    covariates = known([("temperature_c", 0, 0, 9_000)])
    assert [9.0, 9.0] == [covariates.now("temperature_c", at_s) for at_s in (0, STALE_S - 1)]
    assert math.isnan(covariates.now("temperature_c", STALE_S))
    assert 9.0 == covariates.day("temperature_c", DAY_S - 1)
    assert math.isnan(covariates.day("temperature_c", DAY_S))


def test_a_log_that_was_set_back_is_followed() -> None:
    """Fewer records, or others in their place, are held instead of those before."""
    one, two, three = (record([("wind_m_s", 0, 0, milli)]) for milli in (1_000, 2_000, 3_000))
    covariates = Covariates()
    for records, expected in (((one,), 1.0), ((two, three), 3.0), ((), math.nan), ((one,), 1.0)):
        covariates.follow(records)
        assert covariates.now("wind_m_s", 60) == pytest.approx(expected, nan_ok=True)


# --- the same bits on every path, and nothing of the future ----------------------------------------------


def test_the_records_of_years_are_sorted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resume takes all records together: each covariate is sorted once, and its values are those of records that come one by one."""
    rows = weather(START_S, 40)
    records = tuple(record(rows[first::20]) for first in range(20))
    live, resumed = Covariates(), Covariates()
    for count in range(1, len(records) + 1):
        live.follow(records[:count])
    sorts, lexsort = list[int](), np.lexsort

    def counted(keys: tuple[Int64s, Int64s]) -> Int64s:
        sorts.append(len(keys[0]))
        return lexsort(keys)

    monkeypatch.setattr(np, "lexsort", counted)
    resumed.follow(records)
    assert len(sorts) == len(COVARIATE_NAMES)
    for name in COVARIATE_NAMES:
        for at_s in range(START_S, START_S + 36 * 3_600, 1_700):
            came, told = ([found.now(name, at_s), found.day(name, at_s), found.ahead(name, at_s, 1_800)] for found in (live, resumed))
            assert np.array_equal(came, told, equal_nan=True)


def test_live_closes_snapshots_and_training_build_the_same_bits() -> None:
    """The sampled rows of a training and those of a fold, also from a snapshot, are equal to the last bit."""
    slots, records = town_slots(72, late=True), (record(weather(START_S, 90)),)
    covariates = Covariates()
    covariates.follow(records)
    sample = Sampler(HOURLY, FIRST_SLOT, FIRST_SLOT + 72, TABLE, SamplePlan(10**6, 1, 56, 60, 10**6), 0, covariates)
    fold, compared = RegionFold(HOURLY, FIRST_SLOT), 0
    for i, one in enumerate(slots):
        sample.take(one)
        fold.know(records)
        fold.fast_forward(closed(one))
        if i == 50:
            arrays = fold.to_arrays()
            fold = RegionFold(HOURLY, FIRST_SLOT)
            fold.from_arrays(arrays, {})
            fold.know(records)
        piece = sample.busy.pieces.get(one.slot)
        if piece is not None and i % 9 == 0:
            view = fold.forecasters[0]._view(fold.histories[0], one.slot)
            rows = np.flatnonzero(np.isin(view.history.cells[view.columns], piece.cells))
            assert piece.features.tobytes() == view.features(rows, TABLE).tobytes()
            assert not np.isnan(piece.features[:, PLACES]).any()
            compared += len(rows)
    assert compared > 50


def closed(one: KnownSlot) -> ClosedSlot:
    """A slot as the fold receives it."""
    late = CountColumns(one.late_slots, one.late_cells, one.late_counts) if len(one.late_slots) else NO_COUNTS
    return ClosedSlot(one.slot, (), (CountColumns(np.full(len(one.cells), one.slot), one.cells, one.counts),), (late,))


def test_nothing_that_became_known_after_the_cut_moves_a_feature() -> None:
    """Whatever becomes known later, for any time, the rows of a slot stay; what was known at the cut moves the weather alone."""
    slots = town_slots(60)
    end_s = START_S + 60 * 3_600
    before = [row for row in weather(START_S, 70) if row[2] <= end_s]
    rows = matrix(slots, known(before))
    times_s = range(START_S, end_s + 36_000, 900)
    later = [(name, valid_s, end_s + 1 + i, 99_000) for name in COVARIATE_NAMES for i, valid_s in enumerate(times_s)]
    assert rows.tobytes() == matrix(slots, known([*before, *later])).tobytes()
    earlier = [(name, valid_s, end_s, value) for name, valid_s, _, value in later]
    changed = (rows != matrix(slots, known([*before, *earlier]))).any(axis=0) & ~np.isnan(rows).any(axis=0)
    moved = {TABLE.names[i] for i in np.flatnonzero(changed)}
    assert set(NAMES) == moved


# --- a region without covariates -------------------------------------------------------------------------


def test_without_covariates_everything_is_as_if_there_were_no_such_columns() -> None:
    """The model, its rounds and its forecasts are those of a table without these features, to the last bit."""
    others = tuple(feature for feature in TABLE.features if feature.name not in NAMES)
    without = FeatureTable(4, others, profile=TABLE.profile, tracked=True)
    slots = town_slots(220)
    tables = (TABLE, without)
    trained = [train_model(HOURLY, slots, FIRST_SLOT, FIRST_SLOT + 220, threads=1, table=table, most_rows=4_000) for table in tables]
    (_, _, links), (_, _, plain_links) = (unpack(model.artefact) for model in trained)
    assert trained[0].metrics == trained[1].metrics
    for link, other in zip(links, plain_links, strict=True):
        assert other.trees == link.trees
        names = [tuple(table.names[column] for column in one.columns) for table, one in ((TABLE, link), (without, other))]
        assert names[0] == names[1]
        assert dataclasses.replace(other.glm, columns=link.glm.columns) == link.glm
        assert not set(link.glm.columns) & set(PLACES)
    rows = matrix(slots, Covariates())
    assert np.isnan(rows[:, PLACES]).all()
    weathered = rows.copy()
    weathered[:, PLACES] = 3.0
    model = Chain(trained[0].artefact, HOURLY.horizons)
    assert model.means(rows).tobytes() == model.means(weathered).tobytes()


def test_explanations_show_them_as_weather() -> None:
    """A dispatcher reads that weather moved the number."""
    assert {Group.WEATHER} == {group for name, group in zip(TABLE.names, TABLE.groups, strict=True) if name in NAMES}
    assert 5 * len(COVARIATES) == len(NAMES)


# --- what they are worth ---------------------------------------------------------------------------------


def test_a_town_that_rides_in_the_rain_is_forecast_better() -> None:
    """Where rain adds rides, and is forecast, a linear model with the weather has an error smaller by a tenth or more."""
    rng = np.random.default_rng(7)
    hours, rates = 500, np.linspace(6.0, 20.0, len(CELLS))
    rain = np.where(rng.random(hours) < 0.25, rng.gamma(2.0, 2.0, hours), 0.0)
    slots, rows = [], list[Row]()
    for i in range(hours):
        counts = rng.poisson(rates * (1.0 + 0.5 * np.log1p(rain[i])))
        some = counts > 0
        slots.append(KnownSlot(FIRST_SLOT + i, CELLS[some], counts[some].astype(np.int64)))
        end_s, observed, forecast = START_S + 3_600 * (i + 1), round(1_000 * rain[i]), round(1_000 * rain[i] * rng.lognormal(0.0, 0.3))
        rows += [("precipitation_mm", end_s, end_s, observed), ("precipitation_mm", end_s, end_s - 7_200, forecast)]
    sample = Sampler(HOURLY, FIRST_SLOT, FIRST_SLOT + hours, TABLE, SamplePlan(5_000, 7, 56, 60, 5_000), 0, known(rows))
    for one in slots:
        sample.take(one)
    sampled = sample.busy.columns()
    early, late = sampled.slots < FIRST_SLOT + 350, sampled.slots >= FIRST_SLOT + 354
    start, truth = margin(sampled.features, TABLE, HOURLY.horizons, 0), sampled.truth[:, 0]
    errors = []
    for columns in (TABLE.columns(0, linear=True), tuple(i for i in TABLE.columns(0, linear=True) if i not in PLACES)):
        glm = fit_glm(sampled.features[early], columns, truth[early], start[early], np.ones(int(early.sum())))
        means = np.exp(glm.log_means(sampled.features[late], start[late]))
        errors.append(float(((truth[late] - means) ** 2).mean()))
    assert errors[0] < 0.9 * errors[1]
