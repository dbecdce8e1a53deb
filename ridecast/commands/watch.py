"""`ridecast watch`: what is unusual in the logs of a home, as signals and as alerts."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from ridecast import options
from ridecast.commands import watch_evaluate
from ridecast.screen import output_console, progress_bars
from schemas.errors import UsageError
from schemas.regions import Region
from schemas.times import local_iso

if TYPE_CHECKING:
    from schemas.forecasts.watched import WatchedSlot
    from state.detect.signals import Signal

ALL = 2**40  # a slot after all others
CELLS_SHOWN = 3


@click.group()
def command() -> None:
    """What is unusual in the events and counts of regions, and who is told. See docs/watching.md and docs/alerts.md."""


@command.command()
@options.home
@click.option("--region", "name", metavar="NAME", help="A region that is bootstrapped here. [default: the only one]")
@click.option("--measure", metavar="NAME", help="A measure of the region. [default: its first]")
@click.option("--from", "since", metavar="TIME", help="First slot, an ISO time; UTC if it has no zone. [default: the first closed one]")
@click.option("--to", "until", metavar="TIME", help="End of the slots, an ISO time. [default: the newest closed one]")
@click.option("--json", "as_json", is_flag=True, help="Print one signal per line as JSON.")
def replay(home: str | None, name: str | None, measure: str | None, since: str | None, until: str | None, as_json: bool) -> None:
    """Fold a region's log through all detectors and print what they say.

    Depends on the log alone: a repetition prints the same. Detectors know nothing of slots before --from.

    Example: ridecast watch replay --home home --region nyc --from 2014-05-01T04:00Z
    """
    from dataflows.jobs.learn import only_region
    from dataflows.stream.stores import open_stores
    from dataflows.watch.detecting import thresholds_of
    from ledger.views.regions import region_of
    from ledger.views.watched import watched_slots
    from state.detect.signals import fields_of
    from state.detect.table import signals_of

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        region = region_of(stores.ledger, name or only_region(stores))
        chosen = measure or region.measures[0]
        if chosen not in region.measures:
            raise UsageError(f"--measure: expected one of {', '.join(region.measures)}, got {measure!r}")
        first, end = _slot("--from", since, region, 0), _slot("--to", until, region, ALL)
        slots = watched_slots(stores.ledger, stores.blobs, region, chosen, first, end)
        with progress_bars() as progress:
            task = progress.add_task("watching slots", total=None)
            found = list(signals_of(region, _counted(slots, lambda: progress.advance(task)), thresholds_of(stores.ledger, region)))
            closed = int(progress.tasks[task].completed)
    finally:
        stores.close()
    if as_json:
        for signal in found:
            click.echo(json.dumps(fields_of(signal)))
        return
    if found:
        output_console().print(_table(found, region))
    begun = sum(signal.firing for signal in found)
    click.echo(f"{region.id} {chosen}: {begun} signals began or changed, {len(found) - begun} ended, in {closed:,} slots")


@command.command("run")
@options.home
@options.regions
@click.option(
    "--receivers",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="JSON file of who is told. [default: alerts/receivers.json in the home, if it is there]",
)
def run_command(home: str | None, region_names: tuple[str, ...], receivers: Path | None) -> None:
    """Follow the logs of regions beside a live run, append to the log of alerts, and tell receivers, until Ctrl-C.

    Example: ridecast watch run --home home
    """
    from dataflows.stream.stopping import stop_on_signals
    from dataflows.stream.stores import open_stores
    from dataflows.watch.detecting import detectors_of
    from dataflows.watch.watching import run_watch
    from ledger.views.regions import bootstrapped_in
    from ridecast.heartbeat import heartbeat_of
    from ridecast.logs import begin_logs

    settings = options.settings_of_home(home=home)
    begin_logs("watch", settings.log_level, settings.log_format)
    stop = stop_on_signals(heartbeat_of(os.environ))
    stores = open_stores(settings, reading=True)
    try:
        names = region_names or tuple(bootstrapped_in(stores.ledger))
    finally:
        stores.close()
    run_watch(settings, names, receivers, stop, detectors_of)


def _counted(slots: "Iterable[WatchedSlot]", on_slot: Callable[[], None]) -> "Iterator[WatchedSlot]":
    for watched in slots:
        on_slot()
        yield watched


def _slot(option: str, text: str | None, region: Region, default: int) -> int:
    """The first slot that does not begin before an ISO time."""
    if text is None:
        return default
    try:
        at = datetime.fromisoformat(text)
    except ValueError as cause:
        raise UsageError(f"{option}: expected an ISO time such as 2014-05-01T08:00Z, got {text!r}") from cause
    return -(-round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6) // region.slot_us)


def _table(found: "list[Signal]", region: Region) -> Table:
    table = Table("seen at", "detector", "subject", "severity", "", "since", "what", "cells")
    for signal in found:
        cells = ", ".join(signal.cells[:CELLS_SHOWN]) + (
            f" and {len(signal.cells) - CELLS_SHOWN} more" if len(signal.cells) > CELLS_SHOWN else ""
        )
        state = "fires" if signal.firing else "ended"
        since = local_iso(signal.since_slot * region.slot_us, region)
        seen = local_iso(signal.seen_at_us, region)
        table.add_row(seen, signal.source, signal.subject, signal.severity, state, since, Text(signal.message), cells)
    return table


command.add_command(watch_evaluate.command)
