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
    from dataflows.house import open_house

    house = open_house(options.settings_of_home(home=home), reading=True)
    try:
        log = pick_log(house.ledger, log_name)
        note = house.ledger.guard.note(log)
        if note is None:
            raise NotFound(f"{log}: no checkpoint yet: {house.ledger.guard.path(log)} is not there")
        click.echo(note, nl=False)
    finally:
        house.close()
