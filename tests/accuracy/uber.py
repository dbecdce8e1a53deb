"""New York's rides of April and May 2014: trained on April, live through May; or any other months, by the same rules."""

from pathlib import Path

from tests.accuracy.backtests import Rows, backtest, ridecast
from tests.accuracy.results import Result

BASELINES = ("last_value", "mean_last_hour", "same_slot_last_week", "weekday_slot_mean")
# (band, minutes): RMSE and WAPE that must, and should, be reached. The first row is by ratio to weekday x slot, below.
BOUNDS: dict[tuple[str, int], tuple[tuple[float, float], tuple[float, float]]] = {
    ("busy", 30): ((3.36, 0.327), (3.32, 0.3235)),
    ("busy", 60): ((5.50, 0.258), (5.41, 0.2535)),
    ("medium", 15): ((0.812, 0.850), (0.805, 0.844)),
    ("medium", 30): ((1.21, 0.688), (1.199, 0.682)),
    ("medium", 60): ((1.85, 0.530), (1.82, 0.523)),
}
FIRST_RATIOS = ((0.848, 0.857), (0.840, 0.849))  # busy, 15 min, to the mean of weekday x slot


def months_of(data: Path) -> list[Path]:
    """The files of rides."""
    return [data / f"uber_nyc_2014-{month}.parquet" for month in ("04", "05")]


def import_rides(data: Path, folder: Path) -> Path:
    """A ride log of both months."""
    rides = folder / "rides"
    if not rides.exists():
        ridecast("import", *months_of(data), "--region", "nyc", "--out", rides)
    return rides


def april(data: Path, folder: Path) -> list[Result]:
    """Trained until 22 April, tested on the rest of the month: for choosing, where May is for counting."""
    rows = backtest(import_rides(data, folder), "nyc", "2014-04-22", "2014-05-01", folder / "april.json")["pickups"]
    return _ratios(rows) + _coverage(rows) + _against_baselines(rows)


def may(data: Path, folder: Path) -> list[Result]:
    """Trained on April, live through May, with weekly trainings that are promoted or not, as in a live region."""
    return _may(data, folder, "--retrain", "weekly")


def frozen(data: Path, folder: Path) -> list[Result]:
    """May with the model of April alone: what trainings in May are worth is the difference."""
    return _may(data, folder)


def _may(data: Path, folder: Path, *more: str) -> list[Result]:
    rows = backtest(import_rides(data, folder), "nyc", "2014-05-01", "2014-06-01", folder / "may.json", *more)["pickups"]
    found = _ratios(rows)
    for (band, minutes), (floor, aim) in BOUNDS.items():
        served = rows[band, minutes, "served"]
        found.append(Result(f"{band}, {minutes} min: RMSE", served.rmse, floor[0], aim[0]))
        found.append(Result(f"{band}, {minutes} min: WAPE", served.wape, floor[1], aim[1]))
    return found + _coverage(rows) + _against_baselines(rows)


def _ratios(rows: Rows) -> list[Result]:
    served, base = rows["busy", 15, "served"], rows["busy", 15, "weekday_slot_mean"]
    (floor_rmse, floor_wape), (aim_rmse, aim_wape) = FIRST_RATIOS
    return [
        Result("busy, 15 min: RMSE, ratio to weekday x slot", served.rmse / base.rmse, floor_rmse, aim_rmse),
        Result("busy, 15 min: WAPE, ratio to weekday x slot", served.wape / base.wape, floor_wape, aim_wape),
        *(Result(f"busy, {minutes} min: RMSE itself", rows["busy", minutes, "served"].rmse) for minutes in (15, 30, 60)),
        *(Result(f"busy, {minutes} min: WAPE itself", rows["busy", minutes, "served"].wape) for minutes in (15, 30, 60)),
    ]


def _coverage(rows: Rows) -> list[Result]:
    return [
        Result(f"{band}, {minutes} min: coverage of 80 %", row.coverage80)
        for (band, minutes, model), row in rows.items()
        if model == "served" and row.coverage80 is not None
    ]


def _against_baselines(rows: Rows) -> list[Result]:
    """Largest ratio to the best baseline over the horizons, where every baseline must be beaten."""
    found = []
    for band in ("quiet", "new"):
        minutes = [minutes for name, minutes, model in rows if (name, model) == (band, "served")]
        for error in ("rmse", "wape"):
            worst = max(
                getattr(rows[band, m, "served"], error) / min(getattr(rows[band, m, model], error) for model in BASELINES) for m in minutes
            )
            found.append(Result(f"{band}: {error.upper()}, worst ratio to the best baseline", worst, 1.0))
    return found
