"""`ridecast events`: helps those who produce ride events."""

import sys
import time
from itertools import islice
from pathlib import Path

import click

from ridecast import options
from ridecast.screen import progress_bars


@click.group()
def command() -> None:
    """Check ride events before they are sent; docs/producing.md describes them."""


@command.command("validate")
@click.argument("file", metavar="FILE|-")
@click.option(
    "--region",
    "region_names",
    multiple=True,
    metavar="NAME|FILE",
    help="Region that is to be counted; may be given several times.  [default: the built-in regions]",
)
@click.option("--now", "received_now", is_flag=True, help="Check times as if the events were received now.")
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="Maximum number of bad events to show.")
def validate_command(file: str, region_names: tuple[str, ...], received_now: bool, limit: int) -> None:
    """Say what is wrong with the events in a file, event by event, by the rules of intake.

    FILE is an Avro file of events, a directory that `ridecast import` wrote, JSON lines (one event per line, with
    the names of the Avro fields), messages as hexadecimal lines, or one message; - reads standard input.

    An event needs event_id (unique; a retry repeats it), ride_id, kind (requested, accepted, started,
    completed, cancelled or unserved), occurred_at (whole microseconds since 1970, UTC), region, lat and lon.

    Ends with 0 if every event is valid and at least one would be counted, with 1 if not, and with 2 if FILE cannot be read.

    \b
    Examples:
      ridecast events validate events.avro --region nyc
      echo '{"event_id": "1", "ride_id": "1", "kind": "requested", "occurred_at": 1396310400000000,
             "region": "nyc", "lat": 40.75, "lon": -73.99}' | tr -d '\\n' | ridecast events validate -
    """
    from dataflows.jobs.validating import candidates_in, candidates_of, summary_of, validate_events
    from schemas.events.rides import NO_TIME
    from schemas.regions import shipped_regions

    regions = [options.region_of(name) for name in region_names or shipped_regions()]
    settings = options.settings_of()
    candidates = candidates_of(sys.stdin.buffer.read(), "-") if file == "-" else candidates_in(Path(file))
    now_us = int(time.time() * 1e6) if received_now else NO_TIME
    found, complaints = validate_events(candidates, regions, settings.skew_s, now_us)
    with progress_bars() as progress:
        progress.add_task("validating", total=None)
        for complaint in islice(complaints, limit):
            hint = f"; {complaint.guess}" if complaint.guess else ""
            click.echo(f"{complaint.place}: {complaint.reason}: {complaint.detail}{hint}")
        more = sum(1 for _ in complaints)
    if more:
        click.echo(f"... and {more:,} more")
    for line in summary_of(found, regions):
        click.echo(line)
    if found.rejected or not found.counted(regions):
        click.get_current_context().exit(1)
