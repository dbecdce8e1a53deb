"""`ridecast run`: forecaster, publisher and API under one supervisor."""

import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click
from rich.console import Console

from ridecast import options
from ridecast.home_lock import lock_home
from ridecast.logs import Reporter, begin_logs
from ridecast.notify import VARIABLES
from ridecast.screen import StatusLine
from schemas.errors import RidecastError, StoreUnavailable
from schemas.events.tally import Totals
from schemas.regions import Region
from schemas.settings import SETTINGS, Settings

if TYPE_CHECKING:
    from ridecast.intake_report import IntakeReport

REPLAYING_FROM = timedelta(days=3)  # a run that was stopped over a weekend still shows its lag


@click.command()
@options.rides
@options.region
@options.home
@click.option("--until-end", is_flag=True, help="Process the available rides at full speed, close all slots that they complete, exit 0.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Forecaster processes (a Bytewax cluster).")
@click.option("--accept-source", is_flag=True, help="Go on with another ride log than that of the last run, from its lowest offsets.")
@options.port
@click.option("--no-api", is_flag=True, help="Do not start the API.")
def command(
    rides: str | None,
    region_name: str,
    home: str | None,
    until_end: bool,
    processes: int,
    accept_source: bool,
    api_port: int | None,
    no_api: bool,
) -> None:
    """Read rides, close slots, record and publish forecasts, serve the API.

    Without servers all data is in --home; with RIDECAST_KAFKA, RIDECAST_DATABASE and
    RIDECAST_REDIS the same code uses Kafka, PostgreSQL and Redis. Ctrl-C stops cleanly; the next
    run resumes where the ledger ends, with any number of processes.

    \b
    Examples:
      ridecast run --rides rides --region nyc --home home
      ridecast run --rides rides --region nyc --home home --until-end
      ridecast run --rides kafka://127.0.0.1:9092/rides.raw --region nyc --processes 2
    """
    settings = options.settings_of_home(home=home, rides=rides, api_port=api_port)
    companions = [] if until_end else ["publish", *([] if no_api else ["api"])]
    if until_end and settings.publish_backlog == "all":
        companions = ["publish"]
    begin_logs("run", form=settings.log_format)
    with lock_home(settings.home, "ridecast run") as lock:
        run_region(settings, region_name, bounded=until_end, processes=processes, companions=companions, lock=lock, accept=accept_source)


def run_region(
    settings: Settings,
    region_name: str,
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
        lock: Descriptor of the home's lock, for children to inherit.
        accept: Go on with another ride log than that of the last run.
    """
    from api.serve import bind
    from dataflows.connectors.reachable import check_servers
    from dataflows.connectors.source_identity import Relation
    from dataflows.connectors.source_watch import PinnedRides
    from dataflows.connectors.sources import open_rides
    from dataflows.stream.resume import source_before
    from dataflows.stream.start import accept_source, plan_regions
    from dataflows.stream.stores import open_stores
    from ledger.views.progress import ProgressWatch
    from ledger.views.source_news import sentence
    from ridecast.intake_report import IntakeReport
    from ridecast.notify import ServiceSocket
    from ridecast.relay import Relay, traceback_wanted
    from ridecast.supervise import Supervisor
    from ridecast.watching import LastKnown
    from schemas.settings import parse_rides

    region = options.region_of(region_name)
    parse_rides(settings.rides)
    source = open_rides(settings.rides, settings.rides_client)
    check_servers(settings)
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
        if accept:
            accept_source(stores, pinned, region.id)
        [plan] = plan_regions(stores, pinned, [region.id])
        warnings = [*warnings_of(settings, region, plan.region), *map(sentence, plan.recorded)]
        before, now = source_before(stores.ledger, region.id), pinned.identity()
        if before is not None and before.relation(now) is Relation.UNSURE:
            warnings.append(
                f"region {region.id}: its last run read {before.line()}, this one reads {now.line()}; "
                "it resumes at the offsets where that one stopped"
            )
        for warning in warnings:
            reporter.warning(warning)
        bounds = {partition: source.bounds(partition) for partition in pinned.partitions()}
        ahead = {p: (max(start, plan.points[p].counted_until), end) for p, (start, end) in bounds.items()} if bounded else None
        watch = ProgressWatch(stores.ledger, [region.id])
        proven = plan.bootstrapped.rides > 0 or plan.next_slot > plan.bootstrapped.start_slot
        intake = IntakeReport(settings.home, [plan.region], reporter.warning, proven=proven)
        line = ProgressLine(region, watch, ahead, intake)
        known = LastKnown(line.text, "starting ...")
        supervisor = Supervisor(
            {**environment_of(settings), **(extra or {})},
            [region.id],
            processes,
            bounded,
            companions,
            Relay(screen.print, everything=traceback_wanted(), wrap=reporter.wrap),
            reporter,
            [lock],
            settings.hang_after_s,
            settings.wait_limit_s,
            service=ServiceSocket.from_env(os.environ),
        )
        if "api" in companions:
            bind(settings.api_host, settings.api_port).close()  # a used port is reported before anything starts
            reporter.info(
                f"API and page at http://{settings.api_host}:{settings.api_port}" if settings.api_port else "API at any free port"
            )

        def show() -> str:
            screen.show(text := known.text())
            tell()
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
            reporter.info(summary)
            intake.finish(bounded=bounded and not any(progress.rides for progress in watch.regions))
        except RidecastError as error:
            known.end(line.text)
            tell()
            reporter.error(str(error))
            sys.exit(error.exit_code)  # it is reported, in the format of all that the run reports
    finally:
        stores.close()
        source.close()


def warnings_of(settings: Settings, asked: Region, recorded: Region) -> list[str]:
    """Likely mistakes that do not prevent a run."""
    found = [f"{name} is not a Ridecast setting (typo?); see `ridecast settings`" for name in settings.unknown]
    if asked.to_json() != recorded.to_json():
        found.append(f"region {asked.id}: its definition has changed since it was bootstrapped; the recorded one still applies")
    return found


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


def lag(behind: timedelta) -> str:
    """How far a run is behind the clock; days behind means that old rides are being replayed.

    >>> lag(timedelta(seconds=65)), lag(timedelta(days=4000))
    ('lag 65 s', 'replaying')
    """
    return f"lag {behind.total_seconds():,.0f} s" if behind < REPLAYING_FROM else "replaying"


class ProgressLine:
    """events/s, slot, lag and the live error against the baseline, in one line.

    Args:
        region: The region that runs.
        watch: Source of the figures.
        ahead: The work of a bounded run: partition -> (first offset, end); else None.
        intake: What was read, also before the first slot closes.
    """

    def __init__(
        self, region: Region, watch: "object", ahead: Mapping[int, tuple[int, int]] | None, intake: "IntakeReport | None" = None
    ) -> None:
        from ledger.views.progress import ProgressWatch

        assert isinstance(watch, ProgressWatch)
        self._region, self._watch, self._ahead, self._intake = region, watch, ahead, intake
        self._started = time.monotonic()
        self._last = (self._started, 0)
        self._rate = 0.0
        self._looked = 0.0
        self._text = "starting ..."

    def text(self) -> str:
        """The current line; the ledger is read at most four times a second."""
        now = time.monotonic()
        if now - self._looked < 0.25:
            return self._text
        self._looked = now
        [progress] = self._watch.look()
        if self._intake is not None:
            self._intake.look()
        if progress.slot < 0:
            read = self._intake.words(self._region.id) if self._intake is not None else ""
            self._text = f"{self._region.id}: waiting for the first slot to close" + (f"; {read}" if read else "")
            return self._text
        at, events = self._last
        if now - at >= 2.0:
            self._rate = (progress.events - events) / (now - at)
            self._last = (now, progress.events)
        end = datetime.fromtimestamp((progress.slot + 1) * self._region.slot_min * 60, ZoneInfo(self._region.timezone))
        done = lag(datetime.now(UTC) - end) if self._ahead is None else f"{progress.share(self._ahead):4.0%}"
        error = f"  WAPE {progress.wape:.3f} (baseline {progress.baseline_wape:.3f})" if progress.wape is not None else ""
        self._text = f"{self._region.id}  {end:%a %Y-%m-%d %H:%M}  {done}  {self._rate:,.0f} events/s  {progress.cells:,} cells{error}"
        return self._text

    def news(self) -> list[str]:
        """What happened to the source since the last call, in sentences."""
        found: list[str] = []
        for progress in self._watch.regions:
            while progress.news:  # another thread may add to it
                found.append(progress.news.pop(0))
        return found

    def summary(self) -> str:
        """Summary of the run, for its last line."""
        [progress] = self._watch.look()
        seconds = time.monotonic() - self._started
        error = f"; WAPE {progress.wape:.3f} (baseline {progress.baseline_wape:.3f})" if progress.wape is not None else ""
        lost = f"; {progress.lost:,} offsets lost before they were read" if progress.lost else ""
        read = self._intake.totals(self._region.id) if self._intake is not None else Totals()
        # What was read counts, not only what is in closed slots: where everything is rejected, no slot closes.
        events, rejected = max(progress.events, read.received), max(progress.rejected, read.refused)
        return (
            f"{self._region.id}: {progress.slots:,} slots closed, {events:,} events ({progress.rides:,} rides counted, "
            f"{progress.corrections:,} of them corrections, {rejected:,} rejected) in {seconds:.1f} s{error}{lost}"
        )
