"""`ridecast ledger upgrade`: switches a region to the newest version of the fold at a recorded slot."""

from datetime import datetime
from zoneinfo import ZoneInfo

import click

from ridecast import options


@click.command()
@options.home
@click.option("--region", "region", metavar="ID", help="Which region. [default: the only one in this home]")
def command(home: str | None, region: str | None) -> None:
    """Switch a region to the newest fold rules, one hour after its last closed slot.

    Earlier slots keep the rules under which they closed. First stop or upgrade every forecaster of an older Ridecast:
    it does not know the record. Running forecasters of this version need no restart.

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
    rules = f"version {FOLD_VERSION} of the fold: {FOLD_VERSIONS[FOLD_VERSION]}"
    if changed is None:
        click.echo(f"region {name} follows {rules}; nothing to do")
        return
    start = datetime.fromtimestamp(changed.slot * definition.slot_us / 1e6, ZoneInfo(definition.timezone))
    click.echo(f"region {name} follows, from slot {changed.slot} ({start:%Y-%m-%d %H:%M %Z}) on, {rules}")
