"""`ridecast train`: trains a model on the recorded counts."""

import click
from rich.table import Table

from ridecast import options
from ridecast.screen import output_console, progress_bars
from schemas.configuration.settings import Settings
from schemas.regions import Region
from state.forecast.training import MOST_ROWS


@click.command()
@options.home
@click.option(
    "--region",
    "region_names",
    multiple=True,
    metavar="NAME|FILE",
    help="Region to train for; may be given several times. [default: the only one in this home]",
)
@click.option("--promote", is_flag=True, help="Serve the model as champion from the next slot on.")
@click.option(
    "--most-rows",
    type=click.IntRange(10_000),
    default=MOST_ROWS,
    show_default=True,
    help="Maximum number of rows to fit (up to 1/4 more).",
)
def command(home: str | None, region_names: tuple[str, ...], promote: bool, most_rows: int) -> None:
    """Train a model on the recorded counts and record it: as the challenger, or with --promote as the champion.

    The last part of the history is held out to compute the errors shown; the recorded model is then fitted on
    all of it. The run is in MLflow, the artefact in the blob store, the record in the control log.

    Example: ridecast train --home home --promote
    """
    from dataflows.jobs.learn import train_region
    from dataflows.stream.stores import open_stores

    settings = options.settings_of_home(home=home)
    regions: list[Region | None] = [*options.regions_of(region_names)] or [None]
    stores = open_stores(settings)
    try:
        with progress_bars() as progress:
            task = progress.add_task("reading history", total=1.0)
            trained = [
                model
                for region in regions
                for model in train_region(
                    stores,
                    region,
                    promote=promote,
                    most_rows=most_rows,
                    on_progress=lambda stage, share: progress.update(task, description=stage, completed=share),
                )
            ]
    finally:
        stores.close()
    for found in trained:
        record = found.record
        title = f"{record.region} {record.measure}: model {record.model.hex()[:12]}, {record.rows:,} rows"
        table = Table("horizon", "WAPE of the median", "baseline", "RMSE of the mean", "baseline", title=title)
        horizons = [name.removeprefix("wape_") for name in found.model.metrics if name.startswith("wape_")]
        for horizon in horizons:
            names = (f"wape_{horizon}", f"baseline_wape_{horizon}", f"rmse_{horizon}", f"baseline_rmse_{horizon}")
            table.add_row(f"{horizon} min", *(f"{found.model.metrics[name]:.3f}" for name in names))
        output_console().print(table)
    click.echo(
        "promoted: it serves from the next slot on"
        if promote
        else "recorded as challenger: it serves nothing until it is promoted; `ridecast promote MODEL` does so"
    )


def champion_of(settings: Settings, region: Region) -> bytes | None:
    """Digest of the champion of a region's first measure, or None."""
    from dataflows.jobs.learn import champions
    from dataflows.stream.stores import open_stores

    stores = open_stores(settings)
    try:
        return champions(stores).get((region.id, region.measures[0]))
    finally:
        stores.close()
