"""`ridecast train`: trains a model on the recorded counts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from ridecast import options
from ridecast.screen import output_console, progress_bars
from schemas.configuration.settings import Settings
from schemas.errors import UsageError
from schemas.regions import Region
from state.forecast.training import MOST_ROWS
from state.models.fit_parameters import NAMES

if TYPE_CHECKING:
    from dataflows.jobs.learn import Trained
    from state.forecast.search import TrialResult

SHOWN_TRIALS = 5


@click.command()
@options.home
@click.option(
    "--region",
    "region_names",
    multiple=True,
    metavar="NAME|FILE",
    help="Region to train for; may be given several times. [default: the only one in this home]",
)
@click.option(
    "--global",
    "for_all",
    is_flag=True,
    help="Train one model on all regions of the home, or on those of --region; it serves where a region has none of its own.",
)
@click.option("--promote", is_flag=True, help="Serve the model as champion from the next slot on.")
@click.option(
    "--most-rows",
    type=click.IntRange(10_000),
    default=MOST_ROWS,
    show_default=True,
    help="Maximum number of rows to fit (up to 1/4 more).",
)
@click.option(
    "--search",
    "trials",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="First try N sets of parameters on blocks of the history; fit with the best. The same command continues a search.",
)
@click.option(
    "--search-minutes",
    "minutes",
    type=options.Number(0, min_open=True),
    metavar="M",
    help="Begin no further trial of a search after M minutes.",
)
@click.option(
    "--parameters-of",
    "fit_of",
    default="",
    metavar="MODEL|shipped",
    help="Fit with the parameters of this model, or with those of this release. [default: those of the champion, if a search found them]",
)
def command(
    home: str | None,
    region_names: tuple[str, ...],
    for_all: bool,
    promote: bool,
    most_rows: int,
    trials: int | None,
    minutes: float | None,
    fit_of: str,
) -> None:
    """Train a model on the recorded counts and record it: as the challenger, or with --promote as the champion.

    The last part of the history is held out to compute the errors shown; the recorded model is then fitted on
    all of it. The run is in MLflow, the artefact in the blob store, the record in the control log.

    With --search, parameters are chosen by Optuna: each trial is fitted before each of four later blocks of the history and
    judged on it. Trials are kept in the home, in studies/REGION-MEASURE.db, so that a search which was stopped goes on where
    it was. A search reads whole days; with other data it is another study.

    \b
    Examples:
      ridecast train --home home --promote
      ridecast train --home home --search 50 --search-minutes 60
      ridecast train --home home --global --promote
    """
    from dataflows.jobs.learn import train_region
    from dataflows.jobs.learn_global import train_global
    from dataflows.jobs.search import SearchPlan
    from dataflows.stream.stores import open_stores

    if trials is None and minutes is not None:
        raise UsageError("--search-minutes: expected --search N with it, which says how many trials to make at most")
    if trials is not None and fit_of:
        raise UsageError("--parameters-of: expected no --search with it, which looks for parameters")
    if for_all and (trials is not None or fit_of):
        raise UsageError("--global: expected no --search and no --parameters-of with it; it is fitted with the parameters of this release")
    settings = options.settings_of_home(home=home)
    regions: list[Region | None] = [*options.regions_of(region_names)] or [None]
    stores = open_stores(settings)
    try:
        with progress_bars() as progress:
            task = progress.add_task("reading history", total=1.0)

            def say(text: str) -> None:
                progress.console.print(Text(text), soft_wrap=True)

            def on_trial(result: "TrialResult", best: "TrialResult", seconds: float) -> None:
                say(trial_line(result, best, trials or 0, seconds))

            plan = SearchPlan(trials, minutes, on_study=say, on_trial=on_trial) if trials is not None else None

            def on_progress(stage: str, share: float) -> None:
                progress.update(task, description=stage, completed=share)

            if for_all:
                names = [region.id for region in regions if region is not None]
                trained = train_global(stores, names, promote=promote, most_rows=most_rows, on_progress=on_progress)
            else:
                trained = [
                    model
                    for region in regions
                    for model in train_region(
                        stores,
                        region,
                        promote=promote,
                        most_rows=most_rows,
                        fit_of=fit_of,
                        search_plan=plan,
                        on_progress=on_progress,
                    )
                ]
    except KeyboardInterrupt:
        if trials is not None:
            click.echo("ridecast: the trials that ended are kept; the same command continues the search", err=True)
        raise
    finally:
        stores.close()
    for found in trained:
        if found.trials:
            output_console().print(table_of_trials(found.trials, f"{found.record.region} {found.record.measure}"))
        output_console().print(table_of_errors(found))
    click.echo(
        "promoted: it serves from the next slot on"
        if promote
        else "recorded as challenger: it serves nothing until it is promoted; `ridecast promote MODEL` does so"
    )


def table_of_errors(found: "Trained") -> Table:
    """The errors of a model in the holdout, beside the baseline's."""
    record = found.record
    title = f"{record.region} {record.measure}: model {record.model.hex()[:12]}, {record.rows:,} rows"
    table = Table("horizon", "WAPE of the median", "baseline", "RMSE of the mean", "baseline", title=title)
    horizons = [name.removeprefix("wape_") for name in found.model.metrics if name.startswith("wape_")]
    for horizon in horizons:
        names = (f"wape_{horizon}", f"baseline_wape_{horizon}", f"rmse_{horizon}", f"baseline_rmse_{horizon}")
        table.add_row(f"{horizon} min", *(f"{found.model.metrics[name]:.3f}" for name in names))
    return table


def trial_line(result: "TrialResult", best: "TrialResult", trials: int, seconds: float) -> str:
    """One line about a trial."""
    ended = f"stopped after {len(result.losses)} blocks at {result.loss:.4f}" if result.pruned else f"error {result.loss:.4f}"
    return f"trial {result.number + 1} of {trials}: {ended}, best {best.loss:.4f} (trial {best.number + 1}), {seconds:.0f} s; " + ", ".join(
        f"{name} {getattr(result.fit, name):g}" for name in NAMES
    )


def table_of_trials(trials: "Sequence[TrialResult]", place: str) -> Table:
    """The best trials, and the default as well; the error is a share of the profile's."""
    ended = sorted((trial for trial in trials if not trial.pruned), key=lambda trial: (trial.loss, trial.number))
    pruned = len(trials) - len(ended)
    title = f"{place}: the best of {len(trials)} trials, {pruned} of them stopped early; the model has the parameters of the first row"
    table = Table("trial", "error", *NAMES, title=title)
    shown = ended[:SHOWN_TRIALS]
    for trial in (*shown, *(trial for trial in ended if trial.number == 0 and trial not in shown)):
        number = "1 (default)" if trial.number == 0 else str(trial.number + 1)
        table.add_row(number, f"{trial.loss:.4f}", *(f"{getattr(trial.fit, name):g}" for name in NAMES))
    return table


def champion_of(settings: Settings, region: Region) -> bytes | None:
    """Digest of the champion of a region's first measure, or None."""
    from dataflows.jobs.learn import champions
    from dataflows.stream.stores import open_stores

    stores = open_stores(settings)
    try:
        return champions(stores).get((region.id, region.measures[0]))
    finally:
        stores.close()
