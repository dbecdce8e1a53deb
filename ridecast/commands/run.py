"""`ridecast run`: forecaster, publisher and API under one supervisor."""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import click
from rich.console import Console

from ridecast import options
from ridecast.home_lock import lock_home
from ridecast.logs import Reporter, begin_logs
from ridecast.notify import VARIABLES
from ridecast.screen import StatusLine
from schemas.configuration.settings import SETTINGS, Settings
from schemas.errors import RidecastError, StoreUnavailable, UsageError
from schemas.regions import Region, as_recorded, unknown_holidays

if TYPE_CHECKING:
    from ledger.store.log import Ledger


@click.command()
@options.rides
@options.regions
@options.home
@click.option(
    "--until-end", is_flag=True, help="Process the available rides at full speed, close all slots that they complete, exit. No API."
)
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Forecaster processes (a Bytewax cluster).")
@click.option("--accept-source", is_flag=True, help="Continue with a different ride log from the last run, from its lowest offsets.")
@options.port
@click.option("--no-api", is_flag=True, help="Do not start the API.")
@click.option("--learn", is_flag=True, help="Train when it is due, try challengers beside the champion, promote and roll back.")
@click.option("--watch", is_flag=True, help="Look for what is unusual, open alerts and tell receivers, as `ridecast watch run` does.")
@click.option("--jobs", is_flag=True, help="Run jobs that are due, as `ridecast jobs scheduler` does.")
def command(
    rides: str | None,
    region_names: tuple[str, ...],
    home: str | None,
    until_end: bool,
    processes: int,
    accept_source: bool,
    api_port: int | None,
    no_api: bool,
    learn: bool,
    watch: bool,
    jobs: bool,
) -> None:
    """Read rides, close slots, record and publish forecasts, serve the API.

    Without servers all data is in --home; with RIDECAST_KAFKA, RIDECAST_DATABASE and
    RIDECAST_REDIS the same code uses Kafka, PostgreSQL and Redis. Ctrl-C stops cleanly; the next
    run resumes where the ledger ends, with any number of processes.

    Without --region all regions of the home run; `ridecast region add` adds one while it runs.

    \b
    Examples:
      ridecast run --rides rides --region nyc --home home
      ridecast run --rides rides --region nyc --home home --until-end
      ridecast run --rides rides --region nyc --region tehran --home home
      ridecast run --rides rides --region nyc --home home --learn --watch --jobs
      ridecast run --rides kafka://127.0.0.1:9092/rides.raw --region nyc --processes 2
    """
    settings = options.settings_of_home(warn=False, home=home, rides=rides, api_port=api_port)
    if until_end and learn:
        raise UsageError("--learn: expected a live run, got --until-end; `ridecast backtest --retrain weekly` learns in a bounded run")
    if until_end and (watch or jobs):
        option, instead = ("--watch", "ridecast watch run") if watch else ("--jobs", "ridecast jobs scheduler")
        raise UsageError(f"{option}: expected a live run, got --until-end", remedy=f"use `{instead}` beside it")
    optional = {"api": not no_api, "learn": learn, "watch": watch, "jobs": jobs}
    companions = [] if until_end else ["publish", *(role for role, wanted in optional.items() if wanted)]
    if until_end and settings.publish_backlog == "all":
        companions = ["publish"]
    begin_logs("run", form=settings.log_format)
    with lock_home(settings.home, "ridecast run") as lock:
        run_regions(settings, region_names, bounded=until_end, processes=processes, companions=companions, lock=lock, accept=accept_source)


def run_regions(
    settings: Settings,
    names: Iterable[str],
    *,
    bounded: bool,
    processes: int,
    companions: list[str],
    lock: int,
    accept: bool = False,
    extra: Mapping[str, str] | None = None,
) -> None:
    """Check the inputs, then supervise with a progress line.

    Args:
        names: Values of `--region`; without any, all regions that are bootstrapped run. A live run also has those that
            `ridecast region add` adds, before or while it runs.
        lock: Descriptor of the home's lock, for children to inherit.
        accept: Go on with another ride log than that of the last run.
    """
    from api.serve import bind
    from dataflows.connectors.reachable import check_servers
    from dataflows.connectors.source_identity import Relation
    from dataflows.connectors.source_watch import PinnedRides
    from dataflows.connectors.sources import open_rides
    from dataflows.stream.resume import source_before
    from dataflows.stream.start import accept_source, check_rules, plan_regions
    from dataflows.stream.stores import open_stores
    from ledger.views.progress import ProgressWatch
    from ledger.views.source_news import sentence
    from ridecast.added_regions import Additions, far_behind
    from ridecast.intake_report import IntakeReport
    from ridecast.notify import ServiceSocket
    from ridecast.progress_line import ProgressLine
    from ridecast.relay import Relay, traceback_wanted
    from ridecast.supervise import Supervisor
    from ridecast.watching import LastKnown
    from schemas.configuration.settings import parse_rides

    asked = options.regions_of(names)
    parse_rides(settings.rides)
    source = open_rides(settings.rides, settings.rides_client)
    check_servers(settings)
    if "api" in companions:
        bind(settings.api_host, settings.api_port).close()  # a used port is reported before anything starts or changes
    try:
        stores = open_stores(settings)
    except StoreUnavailable as cause:
        source.close()
        if settings.database:
            raise StoreUnavailable(f"RIDECAST_DATABASE: {cause}") from cause
        raise
    screen: StatusLine
    reporter = Reporter("run", settings.log_format, lambda text: screen.print(text))
    screen = StatusLine(Console(stderr=True), plain=reporter.text)
    try:
        pinned = PinnedRides(source)
        chosen = [region.id for region in asked] or all_regions(stores.ledger, settings)
        if not asked:
            reporter.info(f"regions: {', '.join(chosen)} (all of this home; --region names some of them)")
        elif more := [] if bounded else added_beside(chosen, settings, stores.ledger):
            chosen += more
            reporter.info(f"regions: {', '.join(chosen)} ({', '.join(more)} added with `ridecast region add`)")
        if accept:
            for name in chosen:
                accept_source(stores, pinned, name)
        plans = plan_regions(stores, pinned, chosen)
        check_rules([plan.bootstrapped for plan in plans])
        recorded: dict[str, Region] = {plan.region.id: plan.region for plan in plans}
        warnings = options.unknown_settings(settings) + changed_definitions(asked, recorded)
        warnings += [sentence(record) for plan in plans for record in plan.recorded]
        warnings += filter(None, (unknown_holidays(plan.region, plan.bootstrapped.first_slot, plan.next_slot) for plan in plans))
        now = pinned.identity()
        for name in chosen:
            before = source_before(stores.ledger, name)
            if before is not None and before.relation(now) is Relation.UNSURE:
                warnings.append(
                    f"region {name}: its last run read {before.line()}, this one reads {now.line()}; "
                    "it resumes at the offsets where that one stopped"
                )
        for warning in warnings:
            reporter.warning(warning)
        bounds = {partition: source.bounds(partition) for partition in pinned.partitions()}
        ahead: dict[str, dict[int, tuple[int, int]]] = {
            plan.region.id: {p: (max(start, plan.points[p].counted_until), end) for p, (start, end) in bounds.items()} for plan in plans
        }
        watch = ProgressWatch(stores.ledger, chosen)
        proven = [plan.region.id for plan in plans if plan.bootstrapped.rides > 0 or plan.next_slot > plan.bootstrapped.start_slot]
        intake = IntakeReport(settings.home, list(recorded.values()), reporter.warning, proven=proven)
        line = ProgressLine(list(recorded.values()), watch, ahead if bounded else None, intake)
        beside = [] if bounded else far_behind(plans)
        together = [name for name in chosen if name not in beside]
        additions = Additions(settings.home, stores, source, together, beside, line.add, reporter.warning)

        def look() -> str:
            if not bounded:
                additions.look()
            return line.text()

        known = LastKnown(look, "starting ...")
        supervisor = Supervisor(
            {**environment_of(settings), **(extra or {})},
            together,
            processes,
            bounded,
            companions,
            Relay(screen.print, everything=traceback_wanted(), wrap=reporter.wrap),
            reporter,
            [lock],
            settings.hang_after_s,
            settings.wait_limit_s,
            beside=beside,
            service=ServiceSocket.from_env(os.environ),
        )
        if "api" in companions:
            reporter.info(
                f"API and page at http://{settings.api_host}:{settings.api_port}" if settings.api_port else "API at any free port"
            )

        def show() -> str:
            screen.show(text := known.text())
            tell()
            additions.apply(supervisor)
            return text

        def tell() -> None:
            for news in line.news():
                reporter.warning(news)

        known.start()
        try:
            with screen:
                supervisor.run(show)
            summary = known.end(line.summary)
            tell()  # what only the last look found
            for said in summary.splitlines():
                reporter.info(said)
            intake.finish(bounded=bounded and not any(progress.rides for progress in watch.regions))
        except RidecastError as error:
            known.end(line.text)
            tell()
            reporter.error(str(error))
            sys.exit(error.exit_code)  # it is reported, in the format of all that the run reports
    finally:
        stores.close()
        source.close()


def all_regions(ledger: "Ledger", settings: Settings) -> list[str]:
    """The regions of a home.

    Raises:
        UsageError: none is bootstrapped.
    """
    from ledger.views.regions import bootstrapped_in

    found = bootstrapped_in(ledger)
    if not found:
        raise UsageError(
            f"home {settings.home}: expected at least one bootstrapped region, found none",
            remedy="run `ridecast bootstrap --region NAME --until DATE` first",
        )
    return list(found)


def added_beside(chosen: Iterable[str], settings: Settings, ledger: "Ledger") -> list[str]:
    """The regions that were added to the home, beside those that were chosen."""
    from ledger.views.regions import bootstrapped_in
    from ridecast.added_regions import added_in

    ready = set(bootstrapped_in(ledger)) - set(chosen)
    return [name for name in added_in(settings.home) if name in ready]


def changed_definitions(asked: Iterable[Region], recorded: Mapping[str, Region]) -> list[str]:
    """Warnings of regions that are recorded with another definition than the one that was given."""
    return [
        f"region {region.id}: its definition has changed since it was bootstrapped; the recorded one still applies"
        for region in asked
        if as_recorded(region, recorded[region.id]).to_json() != recorded[region.id].to_json()
    ]


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment that gives children the same settings."""
    # Who gave a secret in a file does not want it in an environment: children read the file again.
    rows = [setting for setting, source in zip(SETTINGS, settings.sources, strict=True) if source != setting.file_variable]
    chosen = {setting.variable: str(getattr(settings, setting.name)) for setting in rows}
    ours = {*chosen, *VARIABLES}  # the service manager hears from this process alone
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    fixed = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    if not os.environ.get("RIDECAST_TRACEBACK"):
        fixed["RUST_BACKTRACE"] = "0"  # Bytewax's own stack trace does not help users
    return {**kept, **{name: value for name, value in chosen.items() if value}, **fixed}
