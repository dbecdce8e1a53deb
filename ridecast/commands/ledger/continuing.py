"""`ridecast ledger continue`: continues a log whose checkpoint and database do not match."""

import click

from ridecast import options


@click.command()
@options.home
@click.option("--log", "log_name", required=True, metavar="NAME", help="A log: region/<id>, control or runs.")
@click.option("--reason", required=True, metavar="TEXT", help="Why the loss is accepted; it is recorded permanently.")
def command(home: str | None, log_name: str, reason: str) -> None:
    """Record that a loss is accepted, and continue under a new origin. First stop everything that writes the log.

    For a log that is refused because its checkpoint is ahead of the database, contradicts it, or belongs to another
    instance or key. The old checkpoint file is kept as evidence. Holders of checkpoints of the old origin will not
    accept the new log as its continuation: inform them.

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
