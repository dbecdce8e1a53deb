"""`ridecast ledger continue`: go on with a log whose checkpoint and database do not belong together."""

import click

from ridecast import options


@click.command()
@options.home
@click.option("--log", "log_name", required=True, metavar="NAME", help="A log: region/<id>, control or runs.")
@click.option("--reason", required=True, metavar="TEXT", help="Why the loss is accepted; it is recorded for ever.")
def command(home: str | None, log_name: str, reason: str) -> None:
    """Record that a loss is accepted, and go on under a new origin. Stop everything that writes the log first.

    For a log that is refused because its checkpoint is ahead of the database, contradicts it, or is another
    instance's or another key's. The old checkpoint is kept beside as evidence. Whoever holds one of the old origin
    will not take the new log for its continuation: tell them.

    Example: ridecast ledger continue --home home --log region/nyc --reason "restored from Monday's copy"
    """
    from dataflows.stream.stores import open_stores
    from ledger.store.continuing import continue_log

    stores = open_stores(options.settings_of_home(home=home))
    try:
        done = continue_log(stores.ledger, log_name, reason)
        click.echo(f"{log_name}: continued as {done.origin} from size {done.record.database_size:,}")
        click.echo(f"the old checkpoint (size {done.record.checkpoint_size:,}) is kept as {done.evidence}")
        click.echo(stores.ledger.guard.note(log_name) or "", nl=False)
    finally:
        stores.close()
