"""`ridecast backtest`: compares served forecasts with simple baselines on past rides."""

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ridecast import options
from ridecast.screen import output_console, progress_bars

if TYPE_CHECKING:
    from dataflows.jobs.backtest import BacktestResult
    from state.decide.retraining import RetrainingRules

SCHEDULES = {"weekly": 7, "daily": 1}  # days


@click.command()
@options.rides
@options.region
@click.option("--train-until", required=True, metavar="YYYY-MM-DD", help="Local midnight at which training ends and the test begins.")
@click.option("--test-until", required=True, metavar="YYYY-MM-DD", help="Local midnight at which the test ends.")
@click.option(
    "--json",
    "json_path",
    type=options.OutFile(),
    metavar="FILE",
    help="Write the rows to this file; with matplotlib, a plot too.",
)
@click.option(
    "--html",
    "html_path",
    type=options.OutFile(),
    metavar="FILE",
    help="Write a report for people to this file: errors, calibration, a map, the worst cells.",
)
@click.option(
    "--areas",
    "areas_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Areas file, to compare its classes too (docs/fairness.md). [default: the region's own areas]",
)
@click.option(
    "--covariates",
    "covariates_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weather of the region (docs/covariates.md); each slot sees what was known at its end.",
)
@click.option(
    "--home", type=click.Path(path_type=Path, file_okay=False), help="Keep the ledger in this directory. [default: a temporary directory]"
)
@click.option(
    "--retrain",
    type=click.Choice(list(SCHEDULES)),
    help="Train again during the test, in step with the slots. A challenger serves when it is better for certain; one with the "
    "champion's recipe and a week more data (a refit) when it is not worse.",
)
def command(
    rides: str | None,
    region_name: str,
    train_until: str,
    test_until: str,
    json_path: Path | None,
    html_path: Path | None,
    areas_file: Path | None,
    covariates_file: Path | None,
    home: Path | None,
    retrain: str | None,
) -> None:
    """Compare served forecasts with simple baselines on past rides.

    Bootstraps and trains on the rides before --train-until, then runs the live code slot by slot.
    WAPE is over the median forecast, RMSE over the mean; errors are pooled; truth is the settled count.
    Coverage is the share of counts inside the 80 % interval, by randomised PIT (docs/accuracy.md).

    \b
    Example:
      ridecast backtest --rides rides --region nyc \\
          --train-until 2014-05-01 --test-until 2014-06-01 --html report.html
    """
    from dataflows.connectors.covariate_files import read_covariates
    from dataflows.connectors.sources import open_rides
    from dataflows.jobs.backtest import backtest
    from schemas.configuration.areas import areas_of_region, load_areas
    from schemas.configuration.settings import parse_rides
    from state.detect.fairness import sentence

    settings = options.settings_of(rides=rides)
    region = options.new_region_of(region_name)
    first, last = (options.date_of(name, day) for name, day in (("--train-until", train_until), ("--test-until", test_until)))
    asked = (last - first).days * 1440 // region.slot_min
    parse_rides(settings.rides)
    own = areas_of_region(region) if region.areas else None
    areas = load_areas(areas_file, region) if areas_file is not None else own
    covariates = read_covariates(covariates_file, region) if covariates_file is not None else None
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with progress_bars(*columns) as progress:
        task = progress.add_task("starting", total=1.0)
        result = backtest(
            settings,
            region,
            open_rides(settings.rides, settings.rides_client),
            train_until,
            test_until,
            home=home,
            retraining=None if retrain is None else rules_of(SCHEDULES[retrain]),
            areas=areas,
            covariates=covariates,
            on_step=lambda step: progress.update(task, description=step, completed=0.0),
            on_slot=lambda done, total: progress.update(task, description=f"slot {done:,} of {total:,}", completed=done / total),
            on_part=lambda share: progress.update(task, completed=min(share, 0.999)),
        )
    for measure, rows in result.rows.items():
        # Narrow enough for a terminal of 80 columns: names must not be truncated.
        title = f"{region.id} {measure}: WAPE of the median, RMSE of the mean, coverage of 80 %"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for name in ("band", "min", "model", "cells", "issues", "RMSE", "WAPE", "bias", "cover"):
            table.add_column(name, no_wrap=True, justify="left" if name in ("band", "model") else "right")
        for row in rows:
            coverage = f"{row.coverage80:.1%}" if row.coverage80 is not None else ""
            numbers = (f"{row.cells:,}", f"{row.issues:,}", f"{row.rmse_mean:.3f}", f"{row.wape_median:.3f}", f"{row.bias:+.1%}", coverage)
            table.add_row(row.band, str(row.horizon_min), row.model, *numbers, style="bold" if row.model == "served" else None)
        output_console().print(table)
        click.echo("Look at the busy cells. A WAPE near 1, in quiet cells or over all, says nothing:")
        click.echo("the best single number for a quiet cell is 0, and its WAPE is 1.")
        if result.calibration.get(measure):
            click.echo(f"{region.id} {measure}: share of counts in 80 % intervals by day, CRPS in rides")
            output_console().print(calibration_table(result, measure))
        if measure in result.fairness:
            click.echo(sentence(result.fairness[measure]))
    for decision in result.decisions:
        click.echo(decision.line())
    if html_path is not None:
        from ridecast.backtest_page import write_page

        write_page(result, html_path)
        click.echo(f"written: {html_path}")
    if asked - result.test_slots > 1440 // region.slot_min:  # a last evening without rides needs no warning
        days = result.test_slots * region.slot_min / 1440
        click.echo(f"ridecast: the rides end before --test-until {test_until}: {days:,.1f} days were tested", err=True)
    if json_path is not None:
        if write_result(result, json_path):
            click.echo(f"written: {json_path} and {json_path.with_suffix('.png')}")
        else:
            click.echo(f"written: {json_path}; for a plot beside it install matplotlib: pip install 'ridecast[plot]'")


def calibration_table(result: "BacktestResult", measure: str) -> Table:
    """Coverage by band, horizon and day of the week, and the CRPS."""
    table = Table(box=None, pad_edge=False)
    days = [day for day in dict.fromkeys(row.day for row in result.calibration[measure]) if day != "all"]
    for name in ("band", "min", "CRPS", "all", *(day[:3] for day in days)):
        table.add_column(name, no_wrap=True, justify="left" if name == "band" else "right")
    found = {(row.band, row.horizon_min, row.day): row.coverage80 for row in result.calibration[measure]}
    for row in result.rows[measure]:
        if row.model == "served":
            shares = [found.get((row.band, row.horizon_min, day)) for day in ("all", *days)]
            texts = [f"{share:.1%}" if share is not None else "" for share in shares]
            table.add_row(row.band, str(row.horizon_min), f"{row.crps or 0.0:.3f}", *texts)
    return table


def rules_of(every_days: int) -> "RetrainingRules":
    """The rules of a schedule, with a budget that it fits into."""
    from state.decide.retraining import DAYS_A_WEEK, RetrainingRules

    return RetrainingRules(every_days=every_days, trainings_per_week=max(3, DAYS_A_WEEK // every_days + 2))


def write_result(result: "BacktestResult", path: Path) -> bool:
    """The rows as JSON, and a plot of them beside it if matplotlib is installed; returns whether it is."""
    measure, first = next(iter(result.rows.items()))
    document = {
        "region": result.region,
        "train_until": result.train_until,
        "test_until": result.test_until,
        "train_slots": result.train_slots,
        "test_slots": result.test_slots,
        "measure": measure,
        "rows": [asdict(row) for row in first],
        "noise_floor": [asdict(row) for row in result.noise_floor.get(measure, [])],
        "calibration": [asdict(row) for row in result.calibration.get(measure, [])],
        "decisions": [asdict(one) | {"at": one.at.isoformat()} for one in result.decisions],
        "other_measures": {other: [asdict(row) for row in rows] for other, rows in list(result.rows.items())[1:]},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    if importlib.util.find_spec("matplotlib") is None:
        return False
    plot_result(result, path.with_suffix(".png"))
    return True


def plot_result(result: "BacktestResult", path: Path) -> None:
    """WAPE and RMSE by band, one group of bars per horizon."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    [(measure, rows), *_] = result.rows.items()
    bands = list(dict.fromkeys(row.band for row in rows))
    models = list(dict.fromkeys(row.model for row in rows))
    horizons = list(dict.fromkeys(row.horizon_min for row in rows))
    figure, axes = pyplot.subplots(2, len(bands), figsize=(3.4 * len(bands), 6.4), squeeze=False)
    for column, band in enumerate(bands):
        for line, (name, label) in enumerate((("wape_median", "WAPE of the median"), ("rmse_mean", "RMSE of the mean, rides"))):
            axis = axes[line][column]
            for number, model in enumerate(models):
                found = {row.horizon_min: getattr(row, name) for row in rows if (row.band, row.model) == (band, model)}
                at = [i + (number - len(models) / 2) * 0.16 for i in range(len(horizons))]
                axis.bar(
                    at,
                    [found.get(h, 0.0) for h in horizons],
                    0.15,
                    label=model,
                    color="#d1495b" if model == "served" else f"{0.35 + 0.13 * number}",
                )
            axis.set_xticks(range(len(horizons)), [f"{h} min" for h in horizons])
            axis.set_title(band if line == 0 else "")
            axis.set_ylabel(label if column == 0 else "")
            axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(models), frameon=False)
    figure.suptitle(f"{result.region}, {measure}: trained until {result.train_until}, tested until {result.test_until}")
    figure.tight_layout(rect=(0, 0.05, 1, 0.98))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
