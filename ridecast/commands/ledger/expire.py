"""`ridecast ledger expire`: blobs that have had their time are recorded as expired, then removed."""

import time

import click
from rich.table import Table

from ridecast import options
from ridecast.screen import answers, bars


@click.command()
@options.home
@click.option(
    "--forecasts-days",
    type=click.IntRange(1, 36_500),
    metavar="N",
    help="Days of event time that forecast chunks are kept. [RIDECAST_KEEP_FORECASTS_DAYS, default: 400]",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def command(home: str | None, forecasts_days: int | None, dry_run: bool) -> None:
    """Remove chunks of old forecasts, snapshots that have a newer one, and blobs that no entry ever named.

    Every entry stays, and so do counts and models: what a forecast was made of is still known, and `ledger replay`
    makes the same chunks again. `ledger verify` reports what expired as expired.

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
            with bars() as progress:
                task = progress.add_task("removing", total=sum(len(found.digests) for found in plan))
                expire(stores, plan, lambda count: progress.update(task, completed=count))
    finally:
        stores.close()
    if plan:
        answers().print(table)
    total = sum(len(found.digests) for found in plan)
    click.echo(f"{total:,} blobs {'would go' if dry_run else 'removed'}; forecasts of {settings.keep_forecasts_days} days stay")
