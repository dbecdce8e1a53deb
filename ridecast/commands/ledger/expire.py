"""`ridecast ledger expire`: records blobs past their retention time as expired, then removes them."""

import time

import click
from rich.table import Table

from ridecast import options
from ridecast.screen import output_console, progress_bars


@click.command()
@options.home
@click.option(
    "--forecasts-days",
    type=click.IntRange(1, 36_500),
    metavar="N",
    help="Days of event time that forecast chunks are kept. [RIDECAST_KEEP_FORECASTS_DAYS, default: 400]",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
def command(home: str | None, forecasts_days: int | None, dry_run: bool) -> None:
    """Remove chunks of old forecasts, snapshots that have a newer one, and blobs that no entry names.

    All entries, counts and models stay, so the inputs of a forecast are still known and `ledger replay` can rebuild
    its chunks. `ledger verify` reports expired blobs as expired.

    Example: ridecast ledger expire --home home --forecasts-days 90 --dry-run
    """
    from dataflows.jobs.retention import expire, plan_expiry
    from dataflows.stream.stores import open_stores

    settings = options.settings_of_home(home=home, keep_forecasts_days=forecasts_days)
    stores = open_stores(settings)
    try:
        plan = plan_expiry(stores, settings.keep_forecasts_days, time.time())
        table = Table("class", "region", "until slot", "blobs", title="would expire" if dry_run else "expired")
        for found in plan:
            record = found.record
            table.add_row(record.retention, record.region, str(record.until_slot or ""), f"{len(found.digests):,}")
        if not dry_run:
            with progress_bars() as progress:
                task = progress.add_task("removing", total=sum(len(found.digests) for found in plan))
                expire(stores, plan, lambda count: progress.update(task, completed=count))
    finally:
        stores.close()
    if plan:
        output_console().print(table)
    total = sum(len(found.digests) for found in plan)
    click.echo(f"{total:,} blobs {'would be removed' if dry_run else 'removed'}; forecasts of {settings.keep_forecasts_days} days are kept")
