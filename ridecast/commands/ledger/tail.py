"""`ridecast ledger tail`: prints the newest entries of a log, and follows it."""

import threading
from datetime import UTC, datetime

import click

from ledger.store.log import Stored
from ridecast import options
from ridecast.commands.ledger.log_choice import log_option, pick_log
from schemas.records.kinds import kind_of_record
from schemas.records.record_codec import decode_if_known
from schemas.records.records import Record

POLL_S = 0.25
UNKNOWN = "(a record that this version does not know)"


@click.command()
@options.home
@log_option
@click.option("--limit", type=click.IntRange(0, 10_000), default=20, show_default=True, help="Number of newest entries.")
@click.option("-f", "--follow", "live", is_flag=True, help="Then print new entries until Ctrl-C (exit code 0).")
def command(home: str | None, log_name: str | None, limit: int, live: bool) -> None:
    """Print the newest entries of a log, one line each.

    Example: ridecast ledger tail --home home --log control -f
    """
    from dataflows.stream.stores import open_stores
    from ledger.views.follow import follow

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        log = pick_log(stores.ledger, log_name)
        head = stores.ledger.head(log)
        for stored in stores.ledger.read(log, max(0, head.size - limit), head.size):
            click.echo(line_of(stored))
        if not live:
            click.echo(f"{log}: {head.size:,} entries, root {head.root.hex()}")
            return
        for batch in follow(stores.ledger, log, head.size, threading.Event(), POLL_S):
            for stored in batch:
                click.echo(line_of(stored))
    except KeyboardInterrupt:
        if not live:
            raise
    finally:
        stores.close()


def line_of(stored: Stored[Record]) -> str:
    """An entry in one line."""
    record = decode_if_known(stored.payload)
    summary = _summary(record) if record is not None else UNKNOWN
    return f"{stored.index:>8}  {stored.kind:<18} {summary}"


def _summary(record: Record) -> str:
    return " ".join(_shown(name, getattr(record, name)) for name in kind_of_record(type(record)).shown)


def _shown(name: str, value: object) -> str:
    if name == "target_us" and isinstance(value, int):
        return f"target={datetime.fromtimestamp(value / 1e6, UTC):%Y-%m-%dT%H:%M}Z"
    if name == "partitions" and isinstance(value, tuple):
        return f"counted={sum(cut.counted for cut in value)}"
    return f"{name}={value.hex()[:12] if isinstance(value, bytes) else value}"
