"""`ridecast ledger upgrade`: a region follows the newest version of the fold from a recorded slot on."""

from datetime import datetime
from zoneinfo import ZoneInfo

import click

from ridecast import options


@click.command()
@options.home
@click.option("--region", "region", metavar="ID", help="Which region. [default: the only one in this home]")
def command(home: str | None, region: str | None) -> None:
    """Move a region to the newest rules, from an hour behind its last closed slot on.

    Slots before it keep the rules under which they closed. Stop or upgrade every forecaster of an older Ridecast
    first: it would not know the record. Running forecasters of this version need no restart.

    Example: ridecast ledger upgrade --home home --region nyc
    """
    from dataflows.jobs.learn import only_region
    from dataflows.jobs.upgrade import upgrade_fold
    from dataflows.stream.stores import open_stores
    from ledger.views.regions import region_of
    from state.forecast.region import FOLD_VERSION, FOLD_VERSIONS

    stores = open_stores(options.settings_of_home(home=home))
    try:
        name = region or only_region(stores)
        changed = upgrade_fold(stores, name)
        definition = region_of(stores.ledger, name)
    finally:
        stores.close()
    said = f"version {FOLD_VERSION} of the fold: {FOLD_VERSIONS[FOLD_VERSION]}"
    if changed is None:
        click.echo(f"region {name} follows {said}; nothing to do")
        return
    start = datetime.fromtimestamp(changed.slot * definition.slot_us / 1e6, ZoneInfo(definition.timezone))
    click.echo(f"region {name} follows, from slot {changed.slot} ({start:%Y-%m-%d %H:%M %Z}) on, {said}")
