"""`ridecast ledger show`: one entry, whole."""

import json

import click

from ridecast import options
from ridecast.commands.ledger.picking import log_option, pick_log, plain
from schemas.errors import NotFound
from schemas.record_codec import decode


@click.command()
@options.home
@log_option
@click.argument("index", type=click.IntRange(0))
def command(home: str | None, log_name: str | None, index: int) -> None:
    """One entry, whole, as JSON.

    Example: ridecast ledger show 0 --home home --log region/nyc
    """
    from dataflows.house import open_house

    house = open_house(options.settings_of_home(home=home), reading=True)
    try:
        log = pick_log(house.ledger, log_name)
        size = house.ledger.head(log).size
        if index >= size:
            raise NotFound(f"{log}: expected an index below {size}, got {index}")
        [stored] = house.ledger.read(log, index, index + 1)
        said = {"log": log, "index": index, "kind": stored.kind, "bytes": len(stored.payload), "record": plain(decode(stored.payload))}
        click.echo(json.dumps(said, indent=2))
    finally:
        house.close()
