"""`ridecast hold`: nothing but a command promotes or rolls back the models of a region, until released."""

import click

from ridecast import options


@click.command()
@options.home
@click.option("--region", "region", metavar="ID", help="Which region. [default: the only one in this home]")
@click.option("--measure", "measure", metavar="NAME", help="Which measure. [default: all of the region]")
@click.option("--release", is_flag=True, help="End the hold.")
@options.author
@options.reason
def command(home: str | None, region: str | None, measure: str | None, release: bool, author: str, reason: str) -> None:
    """Keep the present champion: no model is promoted or rolled back but by command, until `ridecast hold --release`.

    Trials go on meanwhile. A hold is a record in the control log; it also holds for a run that is live.

    \b
    Examples:
      ridecast hold --home home --reason "marathon on Sunday"
      ridecast hold --home home --release
    """
    from dataflows.jobs.promoting import hold_models, measures_of, release_models
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home))
    try:
        name, measures = measures_of(stores, region, measure)
        for one in measures:
            held = (release_models if release else hold_models)(stores, name, one, author=author, reason=reason)
            click.echo(f"{name} {one}: {said(held.reason if held else None, release)}")
    finally:
        stores.close()


def said(before: str | None, release: bool) -> str:
    """What has changed.

    >>> said(None, False)
    'held: nothing is promoted or rolled back but by command'
    >>> said("marathon", False)
    'held already: marathon'
    """
    if release:
        return "not held; nothing to do" if before is None else f"released; it was held: {before}"
    return "held: nothing is promoted or rolled back but by command" if before is None else f"held already: {before}"
