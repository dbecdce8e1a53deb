"""`ridecast ledger checkpoint`: how far a log is, signed."""

import click

from ridecast import options
from ridecast.commands.ledger.picking import log_option, pick_log
from schemas.errors import NotFound


@click.command()
@options.home
@log_option
def command(home: str | None, log_name: str | None) -> None:
    """The signed note of a log's checkpoint, byte for byte, with cosignatures where there are any.

    Give it to others: whoever keeps it can tell later whether the log was changed. Exit 0 printed, 1 there is none
    or it cannot be believed, 2 wrong usage.

    Example: ridecast ledger checkpoint --home home --log region/nyc
    """
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        log = pick_log(stores.ledger, log_name)
        note = stores.ledger.guard.note(log)
        if note is None:
            raise NotFound(f"{log}: no checkpoint yet: {stores.ledger.guard.path(log)} is not there")
        click.echo(note, nl=False)
    finally:
        stores.close()
