"""`ridecast ledger release`: lets a region that is served without models use its champions again."""

import click

from ridecast import options


@click.command()
@options.home
@click.option("--region", "region", metavar="ID", help="Which region. [default: the only one in this home]")
def command(home: str | None, region: str | None) -> None:
    """Let a region that is held use its champions again, from its next close on.

    A region is held when its fold fails with a model: it is then served by the baseline, and `ridecast status` says why.
    Remove the cause first, for instance by training and promoting another model.

    Example: ridecast ledger release --home home --region nyc
    """
    from dataflows.jobs.learn import only_region
    from dataflows.jobs.release import release_region
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home))
    try:
        name = region or only_region(stores)
        held = release_region(stores, name)
    finally:
        stores.close()
    if held is None:
        click.echo(f"region {name} is not held; nothing to do")
    else:
        click.echo(f"region {name} uses its models again from its next close on; it was held at slot {held.slot}: {held.reason}")
