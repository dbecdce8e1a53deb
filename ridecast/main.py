"""`ridecast`, also `python -m ridecast`: finds the command, turns errors into one line and an exit code."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator

import click

from ridecast.lazy import LazyCommands
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


@click.group(
    cls=LazyCommands,
    package="ridecast.commands",
    table=COMMANDS,
    hidden_names=HIDDEN,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="ridecast", prog_name="ridecast")  # from the metadata, read only when it is asked for
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

    Exit codes: 0 done, 1 failure, 2 wrong usage or settings, 130 Ctrl-C before the end.
    """


def main() -> None:
    """Entry point: an error is one line on stderr; RIDECAST_TRACEBACK=1 shows where it came from."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        # A command that ends with ctx.exit(1) returns its status here.
        status = cli.main(prog_name="ridecast", standalone_mode=False)
        if sys.stdout is not None:  # closed by whoever started us
            sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:  # Bytewax's panics are no Exception
        status = say(error)
    sys.exit(status if isinstance(status, int) else 0)


def say(error: BaseException) -> int:
    """Say an error in one line on stderr; returns the exit code that it asks for."""
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        return 130
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if os.environ.get("RIDECAST_TRACEBACK"):
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):
        # Whoever read our output, `head` perhaps, has seen enough; the interpreter must not write the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    known = next((cause for cause in chain(error) if isinstance(cause, RidecastError)), None)
    if known is not None:
        click.echo(f"ridecast: {known}", err=True)
        return known.exit_code
    if isinstance(error, OSError) and error.strerror:
        # A full disk, a missing right: the system's own words, and the file that it names.
        click.echo(f"ridecast: {error.filename or 'system'}: {error.strerror}", err=True)
        return 1
    text = " ".join(str(error).split())[:300]
    click.echo(f"ridecast: unexpected {type(error).__name__}: {text}; this is a fault of ours: RIDECAST_TRACEBACK=1 shows where", err=True)
    return 1


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from: others' code wraps what ours raises."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
