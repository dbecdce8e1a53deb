"""`ridecast covariates`: records what is known of a region from outside, such as its weather, and lists it."""

from pathlib import Path

import click
from rich.table import Table

from ridecast import options
from ridecast.screen import output_console, progress_bars

US_PER_S = 1_000_000


@click.group()
def command() -> None:
    """Record the weather of a region, observed or forecast, and list what is recorded."""


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--region", "region", metavar="ID", help="Which region. [default: the only one in this home]")
@options.home
def import_command(file: Path, region: str | None, home: str | None) -> None:
    """Record the values of a CSV or Parquet file; a live run uses them from its next close on.

    The columns are valid_at, the time that a value is for; known_at, when it became known; name, and value. Times are
    ISO 8601; one without an offset is local. A close uses a value only if it was known by the end of its slot. Importing the
    same file again, or one with more rows, adds what is new; a value that contradicts a recorded one is refused, and then
    nothing is imported. docs/covariates.md lists the names.

    Example: ridecast covariates import weather.csv --region nyc --home home
    """
    from dataflows.connectors.covariate_files import read_covariates
    from dataflows.jobs.covariates import record_covariates
    from dataflows.jobs.learn import only_region
    from dataflows.stream.stores import open_stores
    from ledger.views.regions import region_of

    stores = open_stores(options.settings_of_home(home=home))
    try:
        name = region or only_region(stores)
        definition = region_of(stores.ledger, name)
        with progress_bars() as progress:
            task = progress.add_task("reading", total=1.0)
            rows = read_covariates(file, definition, lambda share: progress.update(task, completed=share))
            progress.update(task, description="recording", completed=0.0)
            imported = record_covariates(stores, name, rows, lambda share: progress.update(task, completed=share))
    finally:
        stores.close()
    click.echo(f"{name}: {imported.new:,} values recorded, {imported.held:,} were recorded already")


@command.command("list")
@options.home
def list_command(home: str | None) -> None:
    """List what is recorded: names, for which times, and when the newest value became known.

    Example: ridecast covariates list --home home
    """
    from dataflows.jobs.covariates import held_covariates
    from dataflows.stream.stores import open_stores
    from ledger.views.regions import region_of
    from schemas.events.covariates import covariate_named
    from schemas.times import local_iso

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    table = Table()
    for column in ("region", "covariate", "unit", "values", "for times from", "until", "newest known at"):
        table.add_column(column, overflow="fold")
    try:
        for held in held_covariates(stores.ledger):
            region, row = region_of(stores.ledger, held.region), covariate_named(held.name)
            times = [local_iso(at_s * US_PER_S, region) for at_s in (held.valid_from_s, held.valid_until_s, held.known_s)]
            table.add_row(held.region, held.name, row.unit if row is not None else "not used", f"{held.values:,}", *times)
    finally:
        stores.close()
    if not table.rows:
        click.echo("no covariates are recorded; `ridecast covariates import` records some")
        return
    output_console().print(table)
