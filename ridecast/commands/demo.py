"""`ridecast demo`: the whole pipeline without servers, from rides to a web page."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from ledger.store.files import write_durably
from ridecast import options
from ridecast.home_lock import lock_home
from schemas.errors import UsageError
from schemas.regions import Region

if TYPE_CHECKING:
    from dataflows.connectors.trips.time_formats import TimeRules

HISTORY_DAYS = 21
FAST_DAYS = 2
PACED_DAYS = 7
DAYS = HISTORY_DAYS + FAST_DAYS + PACED_DAYS
SEED = 7
RIDES_PER_DAY = 8_000  # a small city: hundreds of cells, and a first forecast well within a minute
MOST_ROWS = 30_000  # a model in seconds; `ridecast train` takes more rows and more time
SPEEDUP = 150.0  # a 5-minute slot every two seconds


@click.command()
@click.option("--rides", "trips", metavar="TRIPS", help="Your own trips (Parquet or CSV) instead of a simulated city.")
@click.option("--region", "region_name", metavar="NAME|FILE", help="Region. [default: tehran; with --rides the region of the trips]")
@click.option("--timezone", metavar="ZONE", help="Time zone of your trips, if their region is not built in.")
@click.option("--time-format", metavar="FORMAT", help="How your trips write times, as for `ridecast import`.  [default: detected]")
@click.option("--day-first/--month-first", "day_first", default=None, help="Order of dates such as 4/5/2014.  [default: detected]")
@click.option(
    "--home", metavar="DIR", help="Directory of all data; run again to resume. [default: demo; with --rides demo-<name of the file>]"
)
@options.port
@click.option(
    "--speedup",
    type=options.Number(0.1, 100_000),
    default=SPEEDUP,
    show_default=True,
    help="Speed of the simulated clock once the page is available.",
)
@click.option("--days", type=click.IntRange(4, 365), default=DAYS, show_default=True, help="Days of the simulated city.")
@click.option(
    "--rides-per-day",
    type=click.IntRange(10, 1_000_000),
    default=RIDES_PER_DAY,
    show_default=True,
    help="Rides per day of the simulated city.",
)
@click.option("--until-end", is_flag=True, help="Process everything at full speed, then end.")
@click.pass_context
def command(
    ctx: click.Context,
    trips: str | None,
    region_name: str | None,
    timezone: str | None,
    time_format: str | None,
    day_first: bool | None,
    home: str | None,
    api_port: int | None,
    speedup: float,
    days: int,
    rides_per_day: int,
    until_end: bool,
) -> None:
    """Run the whole pipeline on a simulated city, or on your own trips, with a web page.

    Bootstraps history, trains a model, processes some days at full speed, then continues at --speedup.
    The page is at http://127.0.0.1:8000. Ctrl-C stops cleanly; the same command resumes.

    \b
    Examples:
      ridecast demo
      ridecast demo --rides trips.parquet
    """
    from api.serve import bind
    from dataflows.connectors.feed import Feed
    from dataflows.jobs.bootstrap import slot_of_midnight
    from ridecast.commands import bootstrap, importing, run, simulate, train
    from ridecast.ride_output import OtherOrigin
    from schemas.configuration.areas import areas_path

    console = Console(stderr=True)
    home = home or home_of(trips)
    settings = options.settings_of(warn=False, home=home, api_port=api_port, rides=str(Path(home) / "rides"))
    folder = settings.home
    if not until_end:
        bind(settings.api_host, settings.api_port).close()  # a used port is reported now, not after training
    lock = ctx.with_resource(lock_home(folder, "ridecast demo"))
    written = {"time_format": time_format, "day_first": day_first}
    name = _region(folder, trips, region_name, timezone, importing.time_rules_of(time_format, day_first, timezone))
    region = options.new_region_of(name)

    console.rule("1  rides")
    past, live = folder / "past", folder / "rides"
    try:
        if trips:
            ctx.invoke(importing.command, files=(trips,), region_name=name, out=str(past), timezone=timezone, **written)
        else:
            size = {"days": days, "seed": SEED, "rides_per_day": rides_per_day}
            ctx.invoke(simulate.command, region_name=name, **size, out=str(past), areas_file=areas_path(folder, region.id))
    except OtherOrigin as cause:
        raise UsageError(f"--home: {str(folder)!r} is the demo of other rides or another size", remedy="use another --home") from cause
    until, paced_from = _plan(past, region)

    console.rule("2  counts")
    feed = Feed(past, live)
    feed.release(slot_of_midnight(region, paced_from) * region.slot_us)
    if until_end:
        feed.release(2**62)
    feed.close()
    ctx.invoke(bootstrap.command, rides=str(live), region_name=name, until=until, home=str(folder))

    console.rule("3  model")
    if train.champion_of(settings, region):
        click.echo("already trained")
    else:
        ctx.invoke(train.command, region_names=(), home=str(folder), promote=True, most_rows=MOST_ROWS)

    console.rule("4  forecasts")
    companions = [] if until_end else ["publish", "api", "feed", "watch"]
    extra = {"RIDECAST_FEED_FROM": str(past), "RIDECAST_FEED_SPEEDUP": str(speedup)}
    run.run_regions(settings, [name], bounded=until_end, processes=1, companions=companions, lock=lock, extra=extra)


def home_of(trips: str | None) -> str:
    """The default home of a demo: each file of trips has its own.

    >>> home_of(None), home_of("data/trips.csv.gz")
    ('demo', 'demo-trips')
    """
    return f"demo-{Path(trips).name.split('.')[0]}" if trips else "demo"


def _region(folder: Path, trips: str | None, region_name: str | None, timezone: str | None, rules: "TimeRules | None" = None) -> str:
    """The region's name or file: as given, as chosen before, or found from the trips."""
    if region_name:
        return region_name
    if not trips:
        return "tehran"
    chosen = folder / "region.json"
    if chosen.exists():
        return str(chosen)
    found = _region_of_trips(Path(trips), timezone, rules)
    write_durably(chosen, found.to_json().encode())  # Trusted when it exists, so it must never be partly written.
    return str(chosen)


def _region_of_trips(path: Path, timezone: str | None, rules: "TimeRules | None") -> Region:
    """The built-in region that contains most of the trips, or a new one around them."""
    from dataclasses import replace

    import numpy as np

    from dataflows.connectors.trips.files import ColumnNames, read_trips
    from dataflows.connectors.trips.rides import to_trips
    from dataflows.connectors.trips.zones import zone_at
    from schemas.events.cells import inside
    from schemas.regions import RegionId, load_region, shipped_regions

    # Only the places are used, so local times may be read in any zone; UTC has no hours that are missing or occur twice.
    rides = to_trips([read_trips(path, ColumnNames(timezone=timezone), "UTC")], rules)
    for name in shipped_regions():
        region = load_region(name)
        if inside(region.polygon, rides.lat, rides.lon).mean() > 0.5:
            return replace(region, measures=("pickups",))
    (south, north), (west, east) = (np.quantile(axis, (0.005, 0.995)) for axis in (rides.lat, rides.lon))
    corners = tuple(
        (round(float(lat), 3), round(float(lon), 3)) for lat, lon in ((south, west), (south, east), (north, east), (north, west))
    )
    zone = timezone
    if zone is None:
        zone = zone_at(float(np.median(rides.lat)), float(np.median(rides.lon)))
        click.echo(f"ridecast: {path}: no time zone given; using {zone}, from its location; --timezone sets another", err=True)
    return Region(RegionId("mine"), zone, corners, measures=("pickups",))


def _plan(past: Path, region: Region) -> tuple[str, str]:
    """Local dates at which history ends and the slow part begins.

    Raises:
        UsageError: the rides span too few days.
    """
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from dataflows.connectors.files.ridelog import RideLogReader, partitions

    kept = past.parent / "plan.json"
    if kept.exists():
        plan = json.loads(kept.read_text("utf-8"))
        return str(plan["until"]), str(plan["paced_from"])
    times = []
    for partition in partitions(past):
        log = RideLogReader(past, partition)
        for offset in (log.start(), log.end() - 1):
            batch = log.read(offset, 1) if log.end() > log.start() else None
            if batch is not None:
                times.append(int(batch.logged_at_us[0]))
    if not times:
        raise UsageError(f"{past}: expected rides, found none")
    zone = ZoneInfo(region.timezone)
    first, last = (datetime.fromtimestamp(at / 1e6, zone).date() for at in (min(times), max(times)))
    days = (last - first).days + 1
    if days < 4:
        raise UsageError(f"demo: expected rides of at least 4 days, got {days} ({first} to {last})")
    paced = max(1, min(PACED_DAYS, days // 4))
    fast = max(1, min(FAST_DAYS, days // 4))
    paced_from: date = last - timedelta(days=paced - 1)
    until = paced_from - timedelta(days=fast)
    write_durably(kept, json.dumps({"until": until.isoformat(), "paced_from": paced_from.isoformat()}).encode())
    return until.isoformat(), paced_from.isoformat()
