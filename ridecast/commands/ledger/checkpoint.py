"""`ridecast ledger checkpoint`: prints a log's signed checkpoint."""

import click

from ridecast import options
from ridecast.commands.ledger.log_choice import log_option, pick_log
from schemas.errors import NotFound


@click.command()
@options.home
@log_option
def command(home: str | None, log_name: str | None) -> None:
    """Print the signed note of a log's checkpoint, byte for byte, with its cosignatures.

    Give it to others: with it they can check later whether the log was changed. Exit codes: 0 printed, 1 no valid
    checkpoint, 2 wrong usage.

    Example: ridecast ledger checkpoint --home home --log region/nyc
    """
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        log = pick_log(stores.ledger, log_name)
        note = stores.ledger.guard.note(log)
        if note is None:
            raise NotFound(f"{log}: no checkpoint yet: {stores.ledger.guard.path(log)} does not exist")
        click.echo(note, nl=False)
    finally:
        stores.close()
