"""`ridecast watch`: what is unusual in a home's logs becomes signals and alerts."""

import os
from pathlib import Path

import click

from ridecast import options


@click.group()
def command() -> None:
    """Watch regions: signals of detectors become alerts, and receivers are told."""


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
    run_watch(settings, names, receivers, stop)
