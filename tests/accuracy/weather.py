"""What weather is worth: in simulated cities whose riders react to rain, and in New York with the daily observations of Central Park."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np

from dataflows.connectors.covariate_files import read_covariates
from dataflows.jobs.covariates import record_covariates
from dataflows.jobs.learn import known_slots
from dataflows.stream.stores import open_stores
from ledger.views.control import ControlView
from ledger.views.regions import bootstrap_of
from schemas.configuration.settings import Settings
from schemas.events.rides import Float64s
from schemas.records.records import CovariatesKnown
from schemas.regions import Region, load_region
from state.demand.calendar import Calendar
from state.demand.covariates import Covariates
from state.demand.fourth_table import FOURTH_TABLE
from state.demand.groups import Group
from state.forecast.region import Champion, RegionFold
from state.forecast.sampling import KnownSlot
from state.forecast.search import check_folds, fold_loss
from state.forecast.training import SampledHistory, fit_sampled, sample_history
from state.models.fit_parameters import AS_SHIPPED
from state.simulation.city import Climate, build_city, plan_day
from tests.accuracy.backtests import ridecast
from tests.accuracy.results import Result
from tests.accuracy.uber import import_rides
from tests.accuracy.worlds import FIRST_DAY, closed, counted, served

CITY: Region = replace(load_region("tehran"), measures=("requests",), slot_min=15, horizons_min=(15, 30, 60))
DAY_SLOTS, DAYS, TRAIN_DAYS, RIDES_PER_DAY, BUSIEST = 96, 35, 28, 40_000, 50
STARTS, LASTS_H, REACTION, MM = 1 / 24, 4.0, 0.6, 8.0  # a shower a day, of four hours; the strongest rain brings 60 % more rides
AHEAD_S, SPREAD = 3 * 3_600, 0.35  # a forecast is known three hours before the end of its hour, and wrong by a third
WEATHER = [i for i, group in enumerate(FOURTH_TABLE.groups) if group is Group.WEATHER]
PLACES = {name: FOURTH_TABLE.names.index(name) for name in FOURTH_TABLE.names}
HOURS, KNOWN_HOUR = 24, 6
COLUMNS = {"precipitation_mm": ["PRCP"], "snow_mm": ["SNOW"], "temperature_c": ["TMAX", "TMIN"], "wind_m_s": ["AWND"]}
CONVERSIONS: dict[str, Callable[[float], float]] = {
    "precipitation_mm": lambda inches: inches * 25.4 / HOURS,
    "snow_mm": lambda inches: inches * 25.4 / HOURS,
    "temperature_c": lambda fahrenheit: (fahrenheit - 32) / 1.8,
    "wind_m_s": lambda mph: mph * 0.44704,
}


def rain(data: Path, folder: Path) -> list[Result]:
    """Rainy cities, trained on four weeks, live through one: RMSE of the busiest cells, with observations, and with forecasts too."""
    squares: dict[tuple[str, int], float] = {}
    for seed in (1, 2):
        _live_through(seed, squares)
    found = []
    for horizon, minutes in enumerate(CITY.horizons_min):
        without = squares["without", horizon]
        for name in ("observed", "forecast"):
            change = 100 * (np.sqrt(squares[name, horizon] / without) - 1)
            found.append(Result(f"{minutes} min, change of the RMSE by rain {name}, %", float(change), 0.0 if name == "forecast" else None))
        floor = 100 * (np.sqrt(squares["truth", horizon] / without) - 1)
        found.append(Result(f"{minutes} min, change if the true intensity were known, %", float(floor)))
    return found


def _live_through(seed: int, squares: dict[tuple[str, int], float]) -> None:
    """Add the squared errors of one city."""
    city, first = build_city(CITY, seed), Calendar(CITY).first_slot(FIRST_DAY)
    rng, climate = np.random.default_rng([seed, 43]), Climate()
    days = [plan_day(city, CITY, climate, (first + day * DAY_SLOTS) * CITY.slot_us, RIDES_PER_DAY, rng) for day in range(DAYS)]
    strength = _showers(rng)
    usual = np.concatenate([day.expected / (1.0 + 0.35 * day.rain)[:, None] for day in days])
    expected = usual * (1.0 + REACTION * np.repeat(strength, DAY_SLOTS // HOURS))[:, None]
    order = np.argsort(city.cells)
    cells, expected = city.cells[order], expected[:, order]
    counts = rng.poisson(expected)
    slots = [KnownSlot(first + i, cells[row > 0], row[row > 0]) for i, row in enumerate(counts)]
    observed, both = _told(first * CITY.slot_min * 60, strength, rng)
    until, covariates = TRAIN_DAYS * DAY_SLOTS, Covariates()
    covariates.follow((both,))
    sampled = sample_history(CITY, slots[:until], first, first + until, table=FOURTH_TABLE, most_rows=80_000, covariates=covariates)
    ways: tuple[tuple[str, Sequence[CovariatesKnown]], ...] = (("without", ()), ("observed", (observed,)), ("forecast", (both,)))
    busiest = np.sort(np.argsort(-expected[:until].mean(axis=0), kind="stable")[:BUSIEST])
    for name, records in ways:
        model = fit_sampled(_as_known(sampled, name), threads=1)
        fold = RegionFold(CITY, first + until)
        fold.remember((known.slot, (counted(known),)) for known in slots[:until])
        fold.use({"requests": Champion(bytes(32), model.artefact)})
        fold.know(records)
        for i in range(until, len(slots) - CITY.horizons[-1]):
            columns = fold.apply(closed(slots[i])).issues[0].draft.columns
            for horizon, h in enumerate(CITY.horizons):
                truth = counts[i + 1 : i + 1 + h, busiest].sum(axis=0)
                mean = served(columns, cells[busiest], horizon, "mean")
                _add(squares, (name, horizon), mean - truth)
                if name == "without":
                    _add(squares, ("truth", horizon), expected[i + 1 : i + 1 + h, busiest].sum(axis=0) - truth)


def _add(squares: dict[tuple[str, int], float], place: tuple[str, int], errors: Float64s) -> None:
    squares[place] = squares.get(place, 0.0) + float((errors**2).sum())


def _showers(rng: np.random.Generator) -> Float64s:
    """Strength of the rain in each hour, 0 to 1."""
    strength, now = np.zeros(DAYS * HOURS), 0.0
    for hour in range(len(strength)):
        if now == 0.0:
            now = float(rng.beta(2.0, 3.0)) if rng.random() < STARTS else 0.0
        elif rng.random() < 1 / LASTS_H:
            now = 0.0
        strength[hour] = now
    return strength


def _told(first_s: int, strength: Float64s, rng: np.random.Generator) -> tuple[CovariatesKnown, CovariatesKnown]:
    """The rain as a feed tells it: observations at the end of each hour, and these with forecasts before."""
    valid = first_s + 3_600 * np.arange(1, len(strength) + 1)
    observed = np.round(1_000 * MM * strength).astype(np.int64)
    forecast = np.round(observed * rng.lognormal(0.0, SPREAD, len(strength))).astype(np.int64)
    one = CovariatesKnown(
        region=CITY.id,
        source=b"",
        names=("precipitation_mm",),
        name=(0,) * len(valid),
        valid_s=tuple(valid.tolist()),
        known_s=tuple(valid.tolist()),
        values_milli=tuple(observed.tolist()),
    )
    both = replace(
        one,
        name=one.name * 2,
        valid_s=one.valid_s * 2,
        known_s=(*one.known_s, *(valid - AHEAD_S).tolist()),
        values_milli=(*one.values_milli, *forecast.tolist()),
    )
    return one, both


def _as_known(sampled: SampledHistory, name: str) -> SampledHistory:
    """The same rows with what was known: without weather, or without its forecasts, for which the weather of now stands then."""
    features = sampled.rows.features.copy()
    if name == "without":
        features[:, WEATHER] = np.nan
    if name == "observed":
        for ahead in ("first", "middle", "last"):
            features[:, PLACES[f"weather_precipitation_mm_ahead_{ahead}"]] = features[:, PLACES["weather_precipitation_mm_now"]]
    return replace(sampled, rows=replace(sampled.rows, features=features))


def weather(data: Path, folder: Path) -> list[Result]:
    """New York, April: deviance of a model with the daily observations of Central Park, each known on the next morning, on four blocks."""
    rides, file, home = import_rides(data, folder), folder / "central_park.csv", folder / "weather_home"
    file.write_text("valid_at,known_at,name,value\n" + "".join(_central_park(data / "central_park_weather_2014.csv")), "utf-8")
    ridecast("bootstrap", "--rides", rides, "--region", "nyc", "--until", "2014-05-01", "--home", home)
    stores = open_stores(Settings.from_env({}, {"home": home}))
    try:
        region, boot, covariates = load_region("nyc"), bootstrap_of(stores.ledger, "nyc"), Covariates()
        record_covariates(stores, "nyc", read_covariates(file, region))
        covariates.follow(ControlView(stores.ledger).latest().covariates_of("nyc"))
        slots = known_slots(stores, region, boot, 0, stores.ledger.head("region/nyc").size)
        sampled = sample_history(
            region, slots, boot.first_slot, boot.start_slot, table=FOURTH_TABLE, most_rows=60_000, covariates=covariates
        )
    finally:
        stores.close()
    found = []
    for number, fold in enumerate(check_folds(sampled), 1):
        without, known = (fold_loss(_as_known(sampled, name), fold, AS_SHIPPED, 1) for name in ("without", "day before"))
        found.append(Result(f"block {number}: deviance as a share of the profile's, without", without))
        found.append(Result(f"block {number}: change by the weather of the day before, %", 100 * (known / without - 1)))
    return found


def _central_park(file: Path) -> Iterator[str]:
    """Rows of covariates from the daily file of NOAA, in inches, Fahrenheit and miles per hour: for each hour the day's mean, if known."""
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            day = datetime.combine(date.fromisoformat(row["DATE"]), datetime.min.time())
            known = day + timedelta(days=1, hours=KNOWN_HOUR)
            wanted = {name: [float(row[column]) for column in columns if row[column]] for name, columns in COLUMNS.items()}
            means = {name: CONVERSIONS[name](sum(values) / len(values)) for name, values in wanted.items() if values}
            for hour in range(3, HOURS):  # clocks change before three
                for name, value in means.items():
                    yield f"{(day + timedelta(hours=hour)).isoformat()},{known.isoformat()},{name},{value:.3f}\n"
