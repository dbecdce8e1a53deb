"""The entry point of `ridecast`: finds the command, turns errors into one line and an exit code."""

import os
import sys
from collections.abc import Iterator

import click

from ridecast.clean_output import clean_errors
from ridecast.file_modes import owner_only
from ridecast.lazy import LazyCommands
from schemas.errors import RidecastError
from schemas.secrets import clean

# Name -> (module, one line for the overview). A command's module is imported only when it is used.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Run the whole pipeline on a simulated city, or on your own trips, with a web page."),
    "simulate": ("simulate", "Write the ride events of a simulated city."),
    "import": ("importing", "Convert trip files (Parquet or CSV) to ride events."),
    "bootstrap": ("bootstrap", "Count past rides, once, up to a date."),
    "train": ("train", "Train a model on the recorded counts, as challenger or champion."),
    "models": ("models", "Show the trained models: champion, challenger, and what was decided."),
    "promote": ("promote", "Serve a trained model."),
    "rollback": ("rollback", "Serve the model before the present champion again."),
    "hold": ("hold", "Keep the present champion until released."),
    "experiment": ("experiment", "Let a challenger serve some cells at times, and compare it with the champion."),
    "run": ("run", "Read rides, close slots, record and publish forecasts, serve the API."),
    "region": ("region", "Add a region to a home, also while it runs; list its regions."),
    "covariates": ("covariates", "Record the weather of a region, observed or forecast; list it."),
    "backtest": ("backtest", "Compare served forecasts with simple baselines on past rides."),
    "fairness": ("fairness", "Compare how good forecasts were for the classes of a region's areas."),
    "explain": ("explain", "Show why a forecast is what it is, in rides."),
    "reconcile": ("reconcile", "Compare the online store, topic, MLflow and snapshots with the ledger; repair them."),
    "status": ("status", "Show what a home holds: regions, slots, models, logs."),
    "watch": ("watch", "Watch regions: what is unusual becomes alerts, and receivers are told."),
    "alerts": ("alerts", "List, show, acknowledge and silence alerts."),
    "jobs": ("jobs", "Run jobs by a schedule: retrain, verify, expire and others; what became of each run."),
    "ledger": ("ledger", "Inspect the ledger: tail, show, verify, export."),
    "events": ("events", "Check ride events before they are sent."),
    "rejects": ("rejects", "Show events that were rejected."),
    "params": ("params", "Show and change parameters while a home runs."),
    "flags": ("flags", "Define and evaluate feature flags."),
    "settings": ("settings", "Show every setting: value, default, unit, bounds and source."),
    "worker": ("worker", ""),
}
HIDDEN = ("worker",)
BUG = "This is a bug in Ridecast; set RIDECAST_TRACEBACK=1 for a traceback"


@click.group(
    cls=LazyCommands,
    package="ridecast.commands",
    table=COMMANDS,
    hidden_names=HIDDEN,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="ridecast", prog_name="ridecast")  # from the metadata, read only when it is asked for
def cli() -> None:
    """Forecast ride demand per geohash cell, with forecasts that can be proved and replayed.

    \b
    First steps, without any server:
      ridecast demo                                    a simulated city, then http://127.0.0.1:8000
    Your own trips:
      ridecast import trips.parquet --region nyc --out rides
      ridecast bootstrap --rides rides --region nyc --until 2014-05-01 --home home
      ridecast train --home home --promote
      ridecast run --rides rides --region nyc --home home

    Exit codes: 0 success, 1 failure, 2 wrong usage or settings, 130 Ctrl-C before the end.
    """
    from ridecast.logs import begin_logs

    begin_logs("ridecast")


def main() -> None:
    """Entry point: prints an error as one line on stderr; RIDECAST_TRACEBACK=1 adds a traceback."""
    with clean_errors():
        run_command()


def run_command() -> None:
    """Run the command that the words of the command line name; exits with its status."""
    if os.getpid() == 1:
        import signal

        # The system ignores signals to process 1 that it does not handle.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    owner_only()
    try:
        # A command that ends with ctx.exit(1) returns its status here.
        status = cli.main(prog_name="ridecast", standalone_mode=False)
        if sys.stdout is not None:  # closed by the parent process
            sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:  # Bytewax's panics are not Exceptions
        status = report_error(error)
    sys.exit(status if isinstance(status, int) else 0)


def report_error(error: BaseException) -> int:
    """Print an error as one line on stderr; returns its exit code."""
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        click.echo("ridecast: stopped by Ctrl-C before the end", err=True)
        return 130
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if os.environ.get("RIDECAST_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):
        # The reader of our output, perhaps `head`, has closed it; the interpreter must not flush the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    known = next((cause for cause in cause_chain(error) if isinstance(cause, RidecastError)), None)
    if known is not None:
        click.echo(f"ridecast: {shown(str(known))}", err=True)
        return known.exit_code
    if isinstance(error, OSError) and error.strerror:
        # A full disk or a missing permission: the system's message and the file that it names.
        from ridecast.denied import denied

        remedy = f"; {why}" if isinstance(error, PermissionError) and (why := denied(error.filename)) else ""
        click.echo(f"ridecast: {shown(str(error.filename or 'system'))}: {error.strerror}{remedy}", err=True)
        return 1
    text = clean(" ".join(str(error).split()))[:300]
    click.echo(f"ridecast: unexpected {type(error).__name__}: {text}. {BUG}", err=True)
    return 1


def shown(text: str) -> str:
    """A text that may quote a file or a word of the command line, as one line that sends no commands to a terminal.

    >>> shown("column \\x1b[31mred")
    'column \\\\x1b[31mred'
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def cause_chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes: third-party code wraps the errors that ours raises."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
