"""`ridecast worker`: the processes that `ridecast run` starts; internal."""

import os

import click

from ridecast.children import end_with_parent
from ridecast.endings import in_child, mark_faults
from ridecast.heartbeat import heartbeat_of
from ridecast.logs import begin_logs
from schemas.configuration.settings import Settings


@click.group(hidden=True)
@click.option("--tied", is_flag=True, help="End when standard input closes: with the supervisor.")
@click.pass_context
def command(ctx: click.Context, tied: bool) -> None:
    """Run one process; settings come from the environment."""
    if tied:
        end_with_parent()
    settings = Settings.from_env(os.environ)
    begin_logs(ctx.invoked_subcommand or "worker", settings.log_level, settings.log_format)


@command.command()
@click.option("--regions", required=True)
@click.option("--processes", type=int, default=1)
@click.option("--process", type=int, default=None)
@click.option("--addresses", default="")
@click.option("--until-end", is_flag=True)
@click.option("--beside", is_flag=True, help="Other forecasters of the home report on the intake.")
def forecast(regions: str, processes: int, process: int | None, addresses: str, until_end: bool, beside: bool) -> None:
    """Read rides, close slots, record forecasts."""
    from dataflows.stream.forecast import run_process
    from dataflows.stream.stopping import stop_on_signals
    from ridecast.main import report_error

    def leave(error: Exception) -> None:
        os._exit(report_error(in_child(error)))

    stop = stop_on_signals(heartbeat_of(os.environ))
    with mark_faults():
        settings = Settings.from_env(os.environ)
        run_process(settings, regions.split(","), processes, process, addresses, stop, bounded=until_end, leave=leave, tallies=not beside)


@command.command()
@click.option("--regions", required=True)
@click.option("--drain", is_flag=True, help="Publish everything recorded so far, then end.")
def publish(regions: str, drain: bool) -> None:
    """Follow the regions' logs; publish forecasts to their topic and the online store."""
    from dataflows.stream.publish_process import run_publisher
    from dataflows.stream.stopping import stop_on_signals

    stop = stop_on_signals(heartbeat_of(os.environ))
    with mark_faults():
        run_publisher(Settings.from_env(os.environ), regions.split(","), stop, drain=drain)


@command.command()
@click.option("--regions", required=True)
def learn(regions: str) -> None:
    """Follow the regions' logs; train, shadow challengers, promote and roll back."""
    from dataflows.jobs.learn_process import run_learner
    from dataflows.stream.stopping import stop_on_signals

    stop = stop_on_signals(heartbeat_of(os.environ))
    with mark_faults():
        run_learner(Settings.from_env(os.environ), regions.split(","), stop)


@command.command()
@click.option("--regions", required=True)
def watch(regions: str) -> None:
    """Follow the regions' logs; append to the log of alerts, and tell receivers."""
    from dataflows.stream.stopping import stop_on_signals
    from dataflows.watch.detecting import detectors_of
    from dataflows.watch.watching import run_watch

    stop = stop_on_signals(heartbeat_of(os.environ))
    with mark_faults():
        run_watch(Settings.from_env(os.environ), regions.split(","), None, stop, detectors_of)


@command.command()
@click.option("--regions", required=True)
def jobs(regions: str) -> None:
    """Run jobs that are due; of all regions of the home, whichever this run has."""
    from dataflows.jobs.scheduler import Scheduler
    from dataflows.stream.stopping import stop_on_signals
    from dataflows.stream.stores import open_stores
    from ridecast.commands.jobs import surroundings

    stop = stop_on_signals(heartbeat_of(os.environ))
    with mark_faults():
        stores = open_stores(Settings.from_env(os.environ))
        try:
            Scheduler(stores.ledger, surroundings(stores)).run(stop)
        finally:
            stores.close()


@command.command()
@click.option("--regions", required=True)
def api(regions: str) -> None:
    """Serve the REST API."""
    from api.serve import serve
    from dataflows.stream.stopping import stop_on_signals

    stop = stop_on_signals(heartbeat_of(os.environ))
    with mark_faults():
        serve(Settings.from_env(os.environ), regions.split(","), stop)


@command.command()
@click.option("--regions", required=True)
def feed(regions: str) -> None:
    """Copy a past log into the live one in step with the clock, for demonstrations."""
    from dataflows.connectors.feed import run_feed
    from dataflows.stream.stopping import stop_on_signals

    settings = Settings.from_env(os.environ)
    stop = stop_on_signals(heartbeat_of(os.environ))
    with mark_faults():
        run_feed(os.environ["RIDECAST_FEED_FROM"], settings.rides, float(os.environ["RIDECAST_FEED_SPEEDUP"]), stop)


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def job(words: tuple[str, ...]) -> None:
    """Run one attempt of a scheduled job: the command of these words, ended with its scheduler."""
    import sys

    from ridecast.children import end_group_with_parent
    from ridecast.main import cli

    end_group_with_parent()
    status = cli.main(list(words), prog_name="ridecast", standalone_mode=False)
    sys.exit(status if isinstance(status, int) else 0)
