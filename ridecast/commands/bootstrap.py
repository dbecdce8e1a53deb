"""`ridecast bootstrap`: counts past rides."""

import click

from ridecast import options
from ridecast.screen import progress_bars
from schemas.configuration.settings import Settings
from schemas.regions import Region


@click.command()
@options.rides
@options.region
@click.option("--until", required=True, metavar="YYYY-MM-DD", help="Local midnight at which history ends and live counting starts.")
@options.home
@click.option("--no-history", is_flag=True, help="Start without history; no rides are read.")
def command(rides: str | None, region_name: str, until: str, home: str | None, no_history: bool) -> None:
    """Count past rides, once.

    Counts every ride before the local midnight --until and records the counts at the start of the region's log,
    after the record's schema. Running again with the same rides changes nothing; other rides are refused.

    Example: ridecast bootstrap --rides rides --region nyc --until 2014-05-01 --home home
    """
    settings = options.settings_of(home=home, rides=rides)
    click.echo(bootstrap_into(settings, options.new_region_of(region_name), until, history=not no_history))


def bootstrap_into(settings: Settings, region: Region, until: str, *, history: bool) -> str:
    """Bootstrap a region, and say what was counted.

    Args:
        settings: Name the home and the rides.
        history: Whether to count rides; without, the region starts with none.
    """
    from dataflows.connectors.sources import open_rides
    from dataflows.jobs.bootstrap import bootstrap_region, slot_of_midnight
    from dataflows.stream.stores import open_stores
    from schemas.configuration.settings import parse_rides

    slot_of_midnight(region, until)  # a wrong date is reported before the rides are opened
    source = None
    if history:
        parse_rides(settings.rides)
        source = open_rides(settings.rides, settings.rides_client)
        source.partitions()  # missing rides are reported before a home is created
    stores = open_stores(settings)
    try:
        with progress_bars() as progress:
            task = progress.add_task(f"counting {region.id}", total=None)
            record, fresh = bootstrap_region(
                stores, region, source, until, on_rides=lambda done, total: progress.update(task, completed=done, total=max(total, 1))
            )
    finally:
        stores.close()
    days = (record.start_slot - record.first_slot) * region.slot_min / 1440
    outcome = "bootstrapped" if fresh else "was bootstrapped already"
    return f"{region.id} {outcome}: {record.rides:,} rides in {days:,.1f} days before {until}; live counting starts there."
