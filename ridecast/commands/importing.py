"""`ridecast import`: converts trip files to ride events."""

import hashlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ridecast import options, ride_output
from ridecast.screen import progress_bars
from schemas.errors import RidecastError, UsageError
from schemas.events.measures import KINDS, RideKind, measure_named
from schemas.regions import Region

if TYPE_CHECKING:
    from dataflows.connectors.delivery import Delivery, DeliveryRules
    from dataflows.connectors.trips.csv_text import CsvRules
    from dataflows.connectors.trips.files import ColumnNames
    from dataflows.connectors.trips.rides import Trips
    from dataflows.connectors.trips.time_formats import TimeRules

SLICE_EVENTS = 50_000  # events encoded at once; bounds memory to some tens of megabytes
NO_MORE = (1 << 63) - 1
REFUSE_SHARE = 0.95  # share of places outside; from here on, the region or the columns are probably wrong
MAX_REJECTED = 0.1  # a few bad rows are usual; more means that the file was misunderstood


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="TRIPS...")
@options.region
@click.option("--out", metavar="DIR", help="A new or empty directory for the ride events.")
@click.option("--kafka", metavar="HOST:PORT", help="Write to a Kafka topic instead; it is created with unlimited retention.")
@click.option("--topic", default="rides.raw", show_default=True, help="The topic's name.")
@click.option("--append", "append_to", is_flag=True, help="Add to a topic that already holds events.")
@click.option("--time", "time_column", metavar="COLUMN", help="Start time of the ride; found by name if not given.")
@click.option("--lat", "lat_column", metavar="COLUMN", help="Latitude of the pickup, degrees; found by name if not given.")
@click.option("--lon", "lon_column", metavar="COLUMN", help="Longitude of the pickup, degrees; found by name if not given.")
@click.option("--id", "id_column", metavar="COLUMN", help="Unique id of the ride; without one, ids are derived from the rows.")
@click.option("--derive-ids", is_flag=True, help="Derive ids from the rows even if there is an id column.")
@click.option("--timezone", metavar="ZONE|COLUMN", help="Zone of times without one: an IANA name, or a column.  [default: the region's]")
@click.option(
    "--time-format",
    metavar="FORMAT",
    help="How times are written: iso, epoch-s, epoch-ms, epoch-us, epoch-ns, or a pattern such as '%d.%m.%Y %H:%M'.  [default: detected]",
)
@click.option("--day-first/--month-first", "day_first", default=None, help="Order of dates such as 4/5/2014.  [default: detected]")
@click.option("--delimiter", metavar="CHAR", help="Between the fields of a CSV file; `tab` for a tab.  [default: detected]")
@click.option("--encoding", metavar="NAME", help="Of a CSV file, such as latin-1.  [default: UTF-8, or as its first bytes say]")
@click.option("--no-quotes", is_flag=True, help="A double quote in a CSV file is a character like any other.")
@click.option(
    "--max-rejected",
    type=options.Number(0, 1),
    default=MAX_REJECTED,
    show_default=True,
    metavar="SHARE",
    help="Largest share of rows that cannot be converted; with more, nothing is written.",
)
@click.option("--allow-strays", is_flag=True, help="Import rides whose time is far from that of all others.")
@click.option("--drop-strays", is_flag=True, help="Reject rides whose time is far from that of all others.")
@click.option("--kind", type=click.Choice([kind.value for kind in RideKind]), help="Kind of the events.  [default: what the region counts]")
@click.option("--jitter-s", type=float, default=0.0, show_default=True, help="Simulate delivery: largest delay of an event, seconds.")
@click.option("--duplicates", type=float, default=0.0, show_default=True, help="Simulate delivery: share of events delivered twice.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the simulated delivery.")
@click.option("--outside-ok", is_flag=True, help="Continue even if nearly all places are outside the region.")
@click.option("--rejects", metavar="FILE", help=f"File for rows that cannot be converted.  [default: {ride_output.REJECTS_FILE}, in DIR]")
def command(
    files: tuple[str, ...],
    region_name: str,
    out: str | None,
    kafka: str | None,
    topic: str,
    append_to: bool,
    time_column: str | None,
    lat_column: str | None,
    lon_column: str | None,
    id_column: str | None,
    derive_ids: bool,
    timezone: str | None,
    time_format: str | None,
    day_first: bool | None,
    delimiter: str | None,
    encoding: str | None,
    no_quotes: bool,
    max_rejected: float,
    allow_strays: bool,
    drop_strays: bool,
    kind: str | None,
    jitter_s: float,
    duplicates: float,
    seed: int,
    outside_ok: bool,
    rejects: str | None,
) -> None:
    """Convert trip files (Parquet or CSV, also compressed) to ride events.

    TRIPS are files, directories or globs. Columns, delimiter and the format of times are found out from the whole
    file and printed. What cannot be told, such as whether 4/5/2014 is in April or May, is refused with the option
    that says it. Events are sorted by time and written to four partitions. Without an id column, an event's id is
    a hash of its row and the number of its occurrence, so exact duplicate rows are different rides, and importing
    again gives the same ids. Rows that cannot be converted, and local times that are ambiguous or do not exist,
    are counted by reason and saved to a file. Places outside the region are written and counted here; intake
    rejects them later.

    \b
    Examples:
      ridecast import uber_2014-04.parquet uber_2014-05.parquet --region nyc --out rides
      ridecast import trips.csv --time begin --lat y --lon x --region city.json --out rides
      ridecast import trips/ --day-first --timezone Europe/Berlin --region city.geojson --out rides
      ridecast import trips.parquet --region nyc --kafka 127.0.0.1:9092
    """
    from dataflows.connectors.delivery import DeliveryRules
    from dataflows.connectors.trips.csv_text import NAMES, CsvRules
    from dataflows.connectors.trips.files import ColumnNames
    from dataflows.connectors.trips.inputs import find_files
    from dataflows.connectors.trips.review import check_rejected
    from ridecast.import_report import report, warnings, write_rejects

    ride_output.check_choice(out, kafka)
    if allow_strays and drop_strays:
        raise UsageError("expected one of --allow-strays and --drop-strays, got both")
    if derive_ids and id_column is not None:
        raise UsageError("expected one of --id and --derive-ids, got both")
    region = options.new_region_of(region_name)
    rules = DeliveryRules(jitter_s, duplicates, seed)
    names = ColumnNames(time_column, lat_column, lon_column, id_column, timezone)
    csv_rules = CsvRules(NAMES.get(delimiter, delimiter) if delimiter is not None else None, encoding, not no_quotes)
    time_rules = time_rules_of(time_format, day_first, timezone)
    kind = kind or kind_for(region)
    found = find_files(files)
    before = [_stamp(path) for path in found.paths]
    digests = _distinct(found.paths)
    # Only what differs from the default, so that directories of earlier versions are recognised.
    chosen = {
        "time_format": time_format, "order": time_rules.order, "delimiter": delimiter, "encoding": encoding, "no_quotes": no_quotes or None,
        "derive_ids": derive_ids or None, "drop_strays": drop_strays or None, "kind": None if kind == RideKind.STARTED else kind,
    }  # fmt: skip
    origin = _origin(digests, region, names, rules, {name: str(value) for name, value in chosen.items() if value is not None})
    if out is not None and ride_output.is_done(Path(out), origin):
        click.echo(f"{out} already holds these rides; nothing to do.")
        return
    kept = Path(rejects) if rejects else Path(out or "") / ride_output.REJECTS_FILE
    with _progress() as progress:
        trips = _read(found.paths, names, region, csv_rules, time_rules, progress, derive_ids=derive_ids)
        for path, stamp in zip(found.paths, before, strict=True):
            if stamp != _stamp(path):
                raise UsageError(f"{path}: expected a file that stays as it is, got one that changed while it was read", remedy="try again")
        try:
            check_rejected(trips, max_rejected)
        except RidecastError:
            if rejects:
                write_rejects(kept, trips.rejected)
            raise
        trips = _settle_strays(trips, progress, allow=allow_strays, drop=drop_strays)
        outside, swapped = _outside(trips, region, go_on=outside_ok)
        cluster = options.rides_cluster(str(kafka))
        opened = ride_output.directory(Path(out), origin) if out is not None else ride_output.topic(cluster, topic, append_to=append_to)
        with opened as place:
            delivery = _deliver(trips, region, rules, place, progress, KINDS.index(RideKind(kind)))
            if trips.rejected:
                write_rejects(kept if rejects else place.folder / ride_output.REJECTS_FILE, trips.rejected)
    report(trips, delivery, kind, kept, outside)
    for line in warnings(trips, region, found.ignored, outside, swapped, time.time_ns() // 1_000):
        click.echo(f"ridecast: {line}", err=True)


def time_rules_of(time_format: str | None, day_first: bool | None, timezone: str | None) -> "TimeRules":
    """The values of the options about times."""
    from dataflows.connectors.trips.time_formats import Order, TimeRules

    order = None if day_first is None else Order.DAY_FIRST if day_first else Order.MONTH_FIRST
    return TimeRules(time_format, order, zone_given=timezone is not None)


def kind_for(region: Region) -> str:
    """The kind of event that a region counts; `started`, a trip's own, if it counts that too.

    Raises:
        UsageError: it counts several others.
    """
    kinds = {measure_named(name).kind for name in region.measures}
    if RideKind.STARTED in kinds and len(kinds) == 1:
        return RideKind.STARTED
    if len(kinds) != 1:
        raise UsageError(
            f"region {region.id}: expected measures that count one kind of event, got {', '.join(region.measures)}, which count "
            f"{', '.join(sorted(kinds))}; a trip gives one event",
            remedy="choose it with --kind",
        )
    return kinds.pop()


def _distinct(paths: Sequence[Path]) -> dict[Path, str]:
    """SHA-256 of every file.

    Raises:
        UsageError: a file cannot be read, or two have the same content.
    """
    seen, digests = dict[str, Path](), dict[Path, str]()
    for path in paths:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as cause:
            raise UsageError(f"{path}: expected a Parquet or CSV file of trips: {cause.strerror}") from cause
        if digest in seen:
            raise UsageError(f"{path}: expected every file once, got the same content as {seen[digest]}")
        seen[digest] = path
        digests[path] = digest
    return digests


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of the last change; zeros if the file is not there, which is reported when it is read."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _origin(
    digests: dict[Path, str], region: Region, names: "ColumnNames", rules: "DeliveryRules", chosen: dict[str, str]
) -> dict[str, object]:
    """What the rides are made from; equal for equal rides. Folder names are left out: they do not affect the rides."""
    return {
        "made_by": "ridecast import",
        "version": 1,
        "region": region.id,
        "files": [{"name": path.name, "sha256": digest} for path, digest in digests.items()],
        "columns": {name: getattr(names, name) for name in names.__slots__},
        "timezone": names.timezone or region.timezone,
        "delivery": {name: getattr(rules, name) for name in rules.__slots__},
        **({"chosen": chosen} if chosen else {}),
    }


def _read(
    paths: Sequence[Path],
    names: "ColumnNames",
    region: Region,
    csv_rules: "CsvRules",
    time_rules: "TimeRules",
    progress: Progress,
    *,
    derive_ids: bool,
) -> "Trips":
    from dataflows.connectors.trips.files import read_trips
    from dataflows.connectors.trips.rides import to_trips

    task = progress.add_task("reading files", total=len(paths))
    tables = []
    for path in paths:
        tables.append(read_trips(path, names, region.timezone, csv_rules, derive_ids=derive_ids))
        progress.advance(task)
    sorting = progress.add_task("deriving ids", total=None)
    trips = to_trips(tables, time_rules)
    progress.update(sorting, total=trips.received, completed=trips.received)
    return trips


def _settle_strays(trips: "Trips", progress: Progress, *, allow: bool, drop: bool) -> "Trips":
    """The trips without those far from all others, or with them if the user says so.

    Raises:
        RidecastError: there are some, and nobody can be asked.
    """
    from dataflows.connectors.trips.review import check_span, stray_words, strays
    from dataflows.connectors.trips.rides import RowFault

    if allow:
        return trips
    rides = strays(trips.occurred_at_us)
    if len(rides) and not drop:
        words = stray_words(trips, rides)
        answer = "stop"
        if _can_ask():
            progress.stop()
            choices = click.Choice(["import", "leave", "stop"])
            answer = click.prompt(f"{words}\nImport them too, leave them out, or stop", type=choices, default="stop", err=True)
            progress.start()
        if answer == "import":
            return trips
        if answer == "stop":
            raise RidecastError(
                f"{words}; nothing was written",
                remedy="correct the dates, use --drop-strays to leave these rides out, or --allow-strays to import them",
            )
    if len(rides):
        trips = trips.without(rides, RowFault.STRAY_TIME)
    check_span(trips)
    return trips


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _outside(trips: "Trips", region: Region, *, go_on: bool) -> tuple[int, int]:
    """How many places are outside the region, by the rule of intake, and how many of them are inside when swapped.

    Raises:
        RidecastError: nearly all of them are outside, and `go_on` is not set.
    """
    from schemas.events.cells import inside
    from schemas.regions import load_region, shipped_regions

    here = inside(region.polygon, trips.lat, trips.lon)
    outside = len(here) - int(here.sum())
    swapped = int(inside(region.polygon, trips.lon[~here], trips.lat[~here]).sum()) if outside else 0
    if go_on or outside < REFUSE_SHARE * len(here):
        return outside, swapped
    hint = "is it another region?"
    if swapped > 0.5 * len(here):
        hint = "latitude and longitude look swapped: name the columns with --lat and --lon"
    for sign, what in (((1, -1), "longitude"), ((-1, 1), "latitude"), ((-1, -1), "both coordinates")):
        if inside(region.polygon, sign[0] * trips.lat, sign[1] * trips.lon).mean() > 0.5:
            hint = f"the sign of {what} looks wrong: west and south are negative"
    for name in shipped_regions():
        if inside(load_region(name).polygon, trips.lat, trips.lon).mean() > 0.5:
            hint = f"most are in {name}: use --region {name}"
    raise RidecastError(
        f"region {region.id}: expected rides in its polygon, got {outside:,} of {len(here):,} outside it; {hint}; "
        "nothing was written; use --outside-ok to continue anyway"
    )


def _deliver(
    trips: "Trips", region: Region, rules: "DeliveryRules", place: ride_output.RideOutput, progress: Progress, kind: int
) -> "Delivery":
    from dataflows.connectors.delivery import Delivery
    from dataflows.connectors.files.ridelog import PARTITIONS

    delivery = Delivery(PARTITIONS, rules)
    task = progress.add_task("writing events", total=len(trips))
    for start in range(0, len(trips), SLICE_EVENTS):
        stop = min(start + SLICE_EVENTS, len(trips))
        until_us = int(trips.occurred_at_us[stop]) if stop < len(trips) else NO_MORE
        for entries in delivery.push(trips.events(region.id, start, stop, kind), until_us):
            place.sink.append(*entries)
        progress.update(task, completed=stop)
    return delivery


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return progress_bars(*columns)
