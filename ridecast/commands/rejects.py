"""`ridecast rejects`: events that were rejected."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from ridecast import options
from ridecast.screen import output_console, progress_bars
from schemas.configuration.settings import Settings
from schemas.errors import NotFound, RidecastError, UsageError
from schemas.events.rides import NO_TIME, Reason, Rejected
from schemas.regions import Region
from schemas.topics import REJECTED

if TYPE_CHECKING:
    from dataflows.connectors.rejects import RejectSink

SHOWN_BYTES = 24
DUMPED_BYTES = 256
BYTES_PER_LINE = 32


@click.group()
def command() -> None:
    """Show events that were rejected: their place, the reason and the original bytes."""


@command.command()
@options.home
@click.option("--partition", type=click.IntRange(0), help="Only this partition.")
@click.option("--reason", help="Only this rule's id, for example outside_region.")
@click.option("--region", "region_name", metavar="NAME", help="Only events that name this region.")
@click.option("--from", "since", metavar="TIME", help="Only events logged at or after this ISO time; UTC if it has no zone.")
@click.option("--to", "until", metavar="TIME", help="Only events logged before this ISO time.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Maximum number of rows to show.")
@click.option("--decoded", is_flag=True, help="Every field of each event, what is wrong with it, and the likely mistake.")
@click.option("--hex", "as_hex", is_flag=True, help="One event per line: partition, offset, reason, bytes as hex.")
def show(
    home: str | None,
    partition: int | None,
    reason: str | None,
    region_name: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    decoded: bool,
    as_hex: bool,
) -> None:
    """Show rejected events, oldest first: of a home, or of the topic if outputs go to Kafka.

    \b
    Examples:
      ridecast rejects show --home home --reason outside_region
      ridecast rejects show --home home --decoded --from 2014-05-01T08:00Z
    """
    from dataflows.connectors.rejects import Choice
    from dataflows.connectors.rejects_at import open_rejects
    from dataflows.connectors.sealing import is_sealed

    if reason is not None and reason not in tuple(Reason):
        raise UsageError(f"--reason: expected one of {', '.join(Reason)}, got {reason!r}")
    choice = Choice(
        Reason(reason) if reason else None,
        partition,
        _time("--from", since),
        _time("--to", until),
        _naming(region_name) if region_name else None,
        limit,
    )
    settings = options.settings_of_home(home=home)
    sink = open_rejects(settings)
    try:
        found = list(_read(sink.scan(choice)))
        sealed = [event for event in found if is_sealed(event.value)]
        counts = {} if as_hex else sink.counts()
        missing = _missing(sink, sealed[0]) if sealed else None
    finally:
        sink.close()
    if as_hex:
        if missing is not None:
            raise missing
        for event in found:
            click.echo(f"{event.partition}\t{event.offset}\t{event.reason}\t{event.value.hex()}")
        return
    if decoded:
        regions, skew_s = _regions(settings)
        for event in found:
            click.echo("\n".join(_decoded(event, regions, skew_s)) + "\n")
    else:
        output_console().print(_table(found))
    total = sum(counts.values())
    where = f" in {REJECTED.name_of(settings.instance)} at {settings.kafka}" if settings.kafka else ""
    click.echo(f"{len(found)} shown; {total} rejected in total{where}" + "".join(f", {n} {name}" for name, n in counts.items()))
    if missing is not None:
        raise missing


@command.command("replace-key")
@options.home
def replace_key(home: str | None) -> None:
    """Encrypt with a new key from the next run on; the old key stays beside it until you delete it.

    Rejected events are kept for seven days: after that the old key is no longer needed. A run that is going on uses the
    old key until it ends.

    Example: ridecast rejects replace-key --home home
    """
    from dataflows.connectors.sealing import seals_of

    older = seals_of(options.settings_of_home(home=home)).replace_key()
    click.echo(f"the old key is in {older}" if older else "there is no key yet: the first rejected event makes one")


def _time(option: str, text: str | None) -> int | None:
    """An ISO time in microseconds; UTC if it has no zone."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as cause:
        raise UsageError(f"{option}: expected an ISO time such as 2014-05-01T08:00Z, got {text!r}") from cause
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6)


def _naming(name: str) -> Callable[[Rejected], bool]:
    """Whether an event names a region; a sealed one never does."""
    from schemas.events.codec import decode_slow

    text = name.encode()

    def names(event: Rejected) -> bool:
        if text not in event.value:  # cheaper than decoding each of a million events
            return False
        fields = decode_slow(event.value)
        return isinstance(fields, dict) and fields["region"] == name

    return names


def _read(events: Iterator[Rejected]) -> Iterator[Rejected]:
    with progress_bars() as progress:
        task = progress.add_task("reading rejected events", total=None)
        for event in events:
            progress.advance(task)
            yield event


def _missing(sink: "RejectSink", event: Rejected) -> NotFound | None:
    """Why an event cannot be opened."""
    try:
        list(sink.read(event.reason, event.partition, 1))
    except NotFound as cause:
        return cause
    return NotFound(f"rejects: {event.partition}/{event.offset}: the key that it was encrypted with is missing")


def _table(found: Sequence[Rejected]) -> Table:
    from dataflows.connectors.sealing import is_sealed

    several = len({event.source for event in found}) > 1  # then the same offset may be there more than once
    table = Table("partition", "offset", "reason", "detail", "bytes", *["source"] * several)
    for event in found:
        more = "..." if len(event.value) > SHOWN_BYTES else ""
        shown = "encrypted" if is_sealed(event.value) else event.value[:SHOWN_BYTES].hex() + more
        sources = [Text(_source(event))] if several else []
        table.add_row(str(event.partition), str(event.offset), event.reason, Text(event.detail), shown, *sources)  # Text: it may quote
    return table


def _source(event: Rejected) -> str:
    from dataflows.connectors.source_identity import SourceIdentity

    return SourceIdentity.from_text(event.source).line() if event.source else "unknown"


def _regions(settings: Settings) -> tuple[list[Region], int]:
    """The regions of the ledger, and how far their events may be ahead; without a ledger that opens, none."""
    from dataflows.stream.stores import open_stores
    from ledger.views.regions import bootstrap_of, defined_by, regions_of

    try:
        stores = open_stores(settings, reading=True)
    except RidecastError as cause:
        click.echo(f"ridecast: texts do not name regions: {cause}", err=True)
        return [], settings.skew_s
    try:
        boots = [bootstrap_of(stores.ledger, name) for name in regions_of(stores.ledger)]
    except NotFound:
        boots = []
    finally:
        stores.close()
    return [defined_by(boot) for boot in boots], boots[0].skew_s if boots else settings.skew_s


def _decoded(event: Rejected, regions: Sequence[Region], skew_s: int) -> list[str]:
    """Lines that show one event whole."""
    from dataflows.connectors.sealing import is_sealed
    from schemas.events.codec import decode_slow
    from schemas.regions import load_region, shipped_regions
    from state.counting.explain import explain, time_of
    from state.counting.guess import guess

    logged = f", logged {time_of(event.logged_at_us)}" if event.logged_at_us != NO_TIME else ""
    lines = [f"partition {event.partition}, offset {event.offset}{logged}: {event.reason}"]
    if event.source:
        lines.append(f"  source {_source(event)}")
    if is_sealed(event.value):
        return [*lines, "  encrypted with a key that is missing"]
    others = [load_region(name) for name in shipped_regions() if all(region.id != name for region in regions)]
    lines.append(f"  {event.detail or explain(event, regions, skew_s)}")
    if hint := guess(event, regions, others):
        lines.append(f"  {hint}")
    fields = decode_slow(event.value)
    if isinstance(fields, dict):
        times = {"occurred_at", "logged_at"}
        rows = {
            name: f"{value} ({time_of(value)})" if name in times and isinstance(value, int) else value for name, value in fields.items()
        }
        return lines + [f"    {name:<14}{'none' if value is None else value}" for name, value in rows.items()]
    data = event.value[:DUMPED_BYTES]
    for start in range(0, len(data), BYTES_PER_LINE):
        part = data[start : start + BYTES_PER_LINE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"    {part.hex():<{2 * BYTES_PER_LINE}}  {text}")
    return [*lines, f"    ... {len(event.value) - DUMPED_BYTES:,} more bytes"] if len(event.value) > DUMPED_BYTES else lines
