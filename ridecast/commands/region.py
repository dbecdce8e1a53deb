"""`ridecast region`: adds regions to a home, also while it runs, and lists them."""

import time

import click
from rich.table import Table

from ridecast import options
from ridecast.home_lock import holder_of
from ridecast.screen import output_console
from schemas.configuration.settings import Settings

TAKEN_UP_WITHIN_S = 60.0
LOOK_EVERY_S = 0.2


@click.group()
def command() -> None:
    """Add a region to a home, also while it runs; list its regions."""


@command.command("add")
@click.argument("region_name", metavar="NAME|FILE")
@click.option(
    "--history", metavar="DIR|kafka://HOST:PORT/TOPIC", help="Past rides of the region.  [default: the rides that the home reads]"
)
@click.option("--no-history", is_flag=True, help="Start without history; no rides are read.")
@click.option("--until", required=True, metavar="YYYY-MM-DD", help="Local midnight at which history ends and live counting starts.")
@options.home
def add_command(region_name: str, history: str | None, no_history: bool, until: str, home: str | None) -> None:
    """Bootstrap a region from its own history, and let live runs of the home run it from now on.

    NAME is a built-in region, FILE a JSON or GeoJSON file. A run that is live takes the region up within seconds: the
    region has a forecaster of its own until it has caught up, so the others go on meanwhile; the API starts again, with
    one more region. Later runs of the home include it, whether they name it or not. The same command again changes nothing,
    and completes an addition that was interrupted.

    Example: ridecast region add city.json --history past --until 2025-03-22 --home home
    """
    from ridecast.added_regions import added_in, note_added
    from ridecast.commands.bootstrap import bootstrap_into

    settings = options.settings_of_home(home=home, rides=history)
    region = options.new_region_of(region_name)
    click.echo(bootstrap_into(settings, region, until, history=not no_history))
    again = region.id in added_in(settings.home)
    starts, runs = _runs_of(settings, region.id)
    note_added(settings.home, region)
    click.echo(f"{region.id} was added already" if again else f"{region.id} added")
    pid = holder_of(settings.home)
    if pid is None:
        click.echo("no run of this home is live here; the next `ridecast run` includes it")
    elif runs:
        click.echo(f"the live run (pid {pid}) has it")
    else:
        _await(settings, region.id, starts, pid)


def _await(settings: Settings, region: str, starts: int, pid: int) -> None:
    """Wait until a run has started to forecast the region."""
    give_up_at_s = time.monotonic() + TAKEN_UP_WITHIN_S
    while time.monotonic() < give_up_at_s and holder_of(settings.home) == pid:
        if _runs_of(settings, region)[0] > starts:
            click.echo(f"the live run (pid {pid}) has taken it up")
            return
        time.sleep(LOOK_EVERY_S)
    click.echo(f"the live run (pid {pid}) has not taken it up; its output says why, or its next start includes it", err=True)


def _runs_of(settings: Settings, region: str) -> tuple[int, bool]:
    """How often runs of the region have started, and whether the last of them has not ended."""
    from dataflows.stream.stores import open_stores
    from schemas.records.records import RUNS_LOG, RunStarted, RunStopped

    stores = open_stores(settings, reading=True)
    try:
        runs = [started.run for started in stores.ledger.records(RUNS_LOG, RunStarted) if started.command == f"run {region}"]
        return len(runs), bool(runs) and runs[-1] not in {stopped.run for stopped in stores.ledger.records(RUNS_LOG, RunStopped)}
    finally:
        stores.close()


@command.command("list")
@options.home
def list_command(home: str | None) -> None:
    """List the regions of a home: their zones and parents, since when they are counted live, and how far they are.

    Example: ridecast region list --home home
    """
    from dataflows.stream.stores import open_stores
    from ledger.views.regions import bootstrap_of, bootstrapped_in, defined_by
    from ridecast.added_regions import added_in
    from schemas.records.records import SlotClosed, region_log
    from schemas.times import slot_end

    settings = options.settings_of_home(home=home)
    stores = open_stores(settings, reading=True)
    table = Table("region", "time zone", "parent", "measures", "live from", "newest slot ends", "added")
    added = added_in(settings.home)
    try:
        for name in bootstrapped_in(stores.ledger):
            boot = bootstrap_of(stores.ledger, name)
            region = defined_by(boot)
            closed = stores.ledger.find(region_log(name), SlotClosed)
            end = f"{slot_end(region, closed.slot):%Y-%m-%d %H:%M %Z}" if closed is not None else ""
            table.add_row(
                name, region.timezone, region.parent or "", ", ".join(region.measures), boot.until, end, "yes" if name in added else ""
            )
    finally:
        stores.close()
    output_console().print(table)
