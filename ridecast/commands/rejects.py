"""`ridecast rejects`: events that were rejected."""

import click
from rich.table import Table

from ridecast import options
from ridecast.screen import output_console
from schemas.errors import NotFound, UsageError
from schemas.events.rides import Reason
from schemas.topics import REJECTED


@click.group()
def command() -> None:
    """Show events that were rejected: their place, the reason and the original bytes."""


@command.command()
@options.home
@click.option("--partition", type=click.IntRange(0), help="Only this partition.")
@click.option("--reason", help="Only this rule's id, for example outside_region.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Maximum number of rows to show.")
@click.option("--hex", "as_hex", is_flag=True, help="One event per line: partition, offset, reason, bytes as hex.")
def show(home: str | None, partition: int | None, reason: str | None, limit: int, as_hex: bool) -> None:
    """Show rejected events, oldest first: of a home, or of the topic if outputs go to Kafka.

    Example: ridecast rejects show --home home --reason outside_region
    """
    from dataflows.connectors.rejects_at import open_rejects

    if reason is not None and reason not in tuple(Reason):
        raise UsageError(f"--reason: expected one of {', '.join(Reason)}, got {reason!r}")
    settings = options.settings_of_home(home=home)
    sink = open_rejects(settings)
    missing = ""
    try:
        chosen = (Reason(reason) if reason else None, partition, None if as_hex else limit)
        try:
            found = sink.read(*chosen)
        except NotFound as cause:
            if as_hex:
                raise
            found, missing = sink.read(*chosen, sealed=True), str(cause)
        counts = sink.counts()
        total = sum(counts.values())
    finally:
        sink.close()
    if as_hex:
        for event in found[:limit]:
            click.echo(f"{event.partition}\t{event.offset}\t{event.reason}\t{event.value.hex()}")
        return
    table = Table("partition", "offset", "reason", "detail", "bytes")
    for event in found:
        shown = "encrypted" if missing else event.value[:24].hex() + ("..." if len(event.value) > 24 else "")
        table.add_row(str(event.partition), str(event.offset), event.reason, event.detail, shown)
    output_console().print(table)
    where = f" in {REJECTED.name_of(settings.instance)} at {settings.kafka}" if settings.kafka else ""
    click.echo(f"{len(found)} shown; {total} rejected in total{where}" + "".join(f", {n} {name}" for name, n in counts.items()))
    if missing:
        raise NotFound(missing)
