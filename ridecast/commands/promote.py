"""`ridecast promote`: lets a trained model serve."""

import click

from ridecast import options


@click.command()
@click.argument("model", metavar="MODEL")
@options.home
@options.author
@options.reason
def command(model: str, home: str | None, author: str, reason: str) -> None:
    """Serve a trained model from the next close on. MODEL is the beginning of its digest, as `ridecast models` shows it.

    No gate is asked and a hold does not prevent it: a command decides. Model, author and reason are recorded in the control log.

    Example: ridecast promote 3f2a9c --home home
    """
    from dataflows.jobs.promoting import hindrance, promote_model
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home))
    try:
        promoted = promote_model(stores, model, author=author, reason=reason)
        but = hindrance(stores, promoted.region)
    finally:
        stores.close()
    before = promoted.replaced.hex()[:12] or "the baseline"
    click.echo(
        f"{promoted.region} {promoted.measure}: model {promoted.model.hex()[:12]} serves from the next close on, instead of {before}"
    )
    if but:
        click.echo(f"ridecast: warning: {but}", err=True)
