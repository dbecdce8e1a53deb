"""`ridecast rollback`: lets the champion before the present one serve again."""

import click

from ridecast import options


@click.command()
@options.home
@click.option("--region", "region", metavar="ID", help="Which region. [default: the only one in this home]")
@click.option("--measure", "measure", metavar="NAME", help="Which measure. [default: all of the region]")
@options.author
@options.reason
def command(home: str | None, region: str | None, measure: str | None, author: str, reason: str) -> None:
    """Serve the model before the present champion again, from the next close on.

    The present champion is recorded as rejected, so that it is not promoted again but by command.

    Example: ridecast rollback --home home --reason "too low at the airport"
    """
    from dataflows.jobs.promoting import hindrance, measures_of, roll_back
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home))
    try:
        name, measures = measures_of(stores, region, measure)
        for one in measures:
            promoted = roll_back(stores, name, one, author=author, reason=reason)
            now, before = promoted.model.hex()[:12], promoted.replaced.hex()[:12]
            click.echo(f"{name} {one}: model {now} serves again from the next close on, instead of {before}")
        if but := hindrance(stores, name):
            click.echo(f"ridecast: warning: {but}", err=True)
    finally:
        stores.close()
