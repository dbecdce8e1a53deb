"""What weather is worth: in a simulated city whose riders react to rain, and in New York with the daily observations of Central Park."""

import csv
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

from tests.accuracy.backtests import Rows, backtest, ridecast
from tests.accuracy.results import Result
from tests.accuracy.uber import import_rides

CITY = ("--region", "tehran", "--days", 35, "--seed", 7)
CITY_DATES = ("2025-05-03", "2025-05-10")
# Folds of April 2014: with and without the week of Easter, in which schools were closed.
FOLDS = (("2014-04-19", "2014-04-23"), ("2014-04-22", "2014-04-26"), ("2014-04-25", "2014-05-01"))
HEADING = "valid_at,known_at,name,value\n"
MM_PER_INCH, M_S_PER_MPH = 25.4, 0.44704
HOURS = 24
KNOWN_HOUR = 6  # of the next day


def rain(data: Path, folder: Path) -> list[Result]:
    """A simulated city, trained on four weeks and tested on one, without and with its rain; RMSE relative to that without."""
    rides, file = folder / "rainy_rides", folder / "rain.csv"
    ridecast("simulate", *CITY, "--out", rides, "--weather", file)
    return _compared("", *(_errors(rides, "tehran", CITY_DATES, folder / f"rain_{name}.json", more) for name, more in _ways(file)))


def weather(data: Path, folder: Path) -> list[Result]:
    """New York, folds of April, without and with the daily observations of Central Park, each known on the next morning."""
    rides, file = import_rides(data, folder), folder / "central_park.csv"
    file.write_text(HEADING + "".join(_central_park(data / "central_park_weather_2014.csv")), "utf-8")
    found = []
    for until, end in FOLDS:
        both = (_errors(rides, "nyc", (until, end), folder / f"weather_{name}_{until}.json", more) for name, more in _ways(file))
        found += _compared(f"{until} to {end}, ", *both)
    return found


def _ways(file: Path) -> tuple[tuple[str, tuple[object, ...]], ...]:
    return ("without", ()), ("with", ("--covariates", file))


def _errors(rides: Path, region: str, dates: tuple[str, str], out: Path, more: tuple[object, ...]) -> Rows:
    [rows] = backtest(rides, region, *dates, out, *more).values()
    return rows


def _compared(name: str, without: Rows, known: Rows) -> list[Result]:
    """Change of the RMSE of served forecasts in busy and medium cells by the weather, percent; and the RMSE without it."""
    found = []
    for band, minutes in ((band, minutes) for band in ("busy", "medium") for minutes in (15, 30, 60)):
        before, after = (rows[band, minutes, "served"].rmse for rows in (without, known))
        found.append(Result(f"{name}{band}, {minutes} min: RMSE without", before))
        found.append(Result(f"{name}{band}, {minutes} min: change by weather, %", 100 * (after / before - 1)))
    return found


def _central_park(file: Path) -> Iterator[str]:
    """Rows of covariates from the daily file of NOAA, in inches, degrees Fahrenheit and miles per hour: a day's mean for each hour."""
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            day = datetime.combine(date.fromisoformat(row["DATE"]), datetime.min.time())
            known = day + timedelta(days=1, hours=KNOWN_HOUR)
            means = {
                "precipitation_mm": float(row["PRCP"]) * MM_PER_INCH / HOURS,
                "snow_mm": float(row["SNOW"]) * MM_PER_INCH / HOURS,
                "temperature_c": ((float(row["TMAX"]) + float(row["TMIN"])) / 2 - 32) / 1.8,
                "wind_m_s": float(row["AWND"]) * M_S_PER_MPH,
            }
            for hour in range(3, HOURS):  # clocks change before three
                for name, value in means.items():
                    yield f"{(day + timedelta(hours=hour)).isoformat()},{known.isoformat()},{name},{value:.3f}\n"
