"""`ridecast`, also `python -m ridecast`: finds the command, turns errors into one line and an exit code."""

import importlib
import logging
import os
import sys
import traceback

import click

from ridecast import __version__
from schemas.errors import RidecastError

# Name -> (module, one line for the overview). A command's module is imported only when it is used.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "The whole pipeline on a simulated city, or on your own trips, with a page to look at."),
    "simulate": ("simulate", "Write the ride events of a seeded city."),
    "import": ("importing", "Turn trip files (Parquet or CSV) into ride events."),
    "bootstrap": ("bootstrap", "Turn history into counts, once, up to a date."),
    "train": ("train", "Train a model on what has been counted, and promote it."),
    "run": ("run", "Forecast: read rides, close slots, record, publish, answer."),
    "backtest": ("backtest", "Hold served forecasts against honest baselines on past rides."),
    "status": ("status", "What a home holds: regions, slots, models, logs."),
    "ledger": ("ledger", "Look into the ledger: tail, show, verify, export."),
    "rejects": ("rejects", "Look at events that were not accepted."),
    "settings": ("settings", "Every setting: value, default, unit, bound, and where it came from."),
    "worker": ("worker", ""),
}
HIDDEN = ("worker",)


class LazyCommands(click.Group):
    """A group whose commands are modules of `ridecast.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if name not in HIDDEN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"ridecast.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items() if name not in HIDDEN])


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ridecast")
def cli() -> None:
    """Forecasts of ride demand per geohash cell, which can be proved and replayed.

    \b
    First steps, without any server:
      ridecast demo                                    a simulated city, then http://127.0.0.1:8000
    Your own trips:
      ridecast import trips.parquet --region nyc --out rides
      ridecast bootstrap --rides rides --region nyc --until 2014-05-01 --home home
      ridecast train --home home --promote
      ridecast run --rides rides --region nyc --home home

    Exit codes: 0 done, 1 failure, 2 wrong usage or settings.
    """


def main() -> None:
    """Entry point: a known error is one line on stderr; RIDECAST_TRACEBACK=1 shows where it came from."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except RidecastError as error:
        if os.environ.get("RIDECAST_TRACEBACK"):
            traceback.print_exc()
        click.echo(f"ridecast: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        # A full disk, a missing right, a port in use: the system's own words name the file or the address.
        if os.environ.get("RIDECAST_TRACEBACK"):
            traceback.print_exc()
        click.echo(f"ridecast: {error}", err=True)
        sys.exit(1)
