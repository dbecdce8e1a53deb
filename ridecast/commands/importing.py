"""`ridecast import`: converts trip files to ride events."""

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ridecast import options, ride_output
from ridecast.screen import progress_bars
from schemas.errors import RidecastError, StoreUnavailable, UsageError
from schemas.regions import Region

if TYPE_CHECKING:
    from dataflows.connectors.delivery import Delivery, DeliveryRules
    from dataflows.connectors.trips.files import ColumnNames
    from dataflows.connectors.trips.rides import RejectedRow, Trips

SLICE_EVENTS = 50_000  # events encoded at once; bounds memory to some tens of megabytes
NO_MORE = (1 << 63) - 1
WARN_SHARE = 0.05  # share of places outside the region; the outliers of a city's own trips are fewer
REFUSE_SHARE = 0.95  # from here on, the region or the columns are probably wrong


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
@click.option("--timezone", metavar="ZONE|COLUMN", help="Zone of times without one: an IANA name, or a column.  [default: the region's]")
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
    timezone: str | None,
    jitter_s: float,
    duplicates: float,
    seed: int,
    outside_ok: bool,
    rejects: str | None,
) -> None:
    """Convert trip files (Parquet or CSV) to ride events of kind `started`.

    Columns are found by their usual names, or by the options below. Events are sorted by time and written to
    four partitions. Without an id column, an event's id is a hash of its row and the number of its occurrence,
    so exact duplicate rows are different rides, and importing again gives the same ids. Rows that cannot be
    converted, and local times that are ambiguous or do not exist, are counted by reason and saved to a
    file. Places outside the region are written and counted here; intake rejects them later.

    \b
    Examples:
      ridecast import uber_2014-04.parquet uber_2014-05.parquet --region nyc --out rides
      ridecast import trips.csv --time begin --lat y --lon x --region city.json --out rides
      ridecast import trips.parquet --region nyc --kafka 127.0.0.1:9092
    """
    from dataflows.connectors.delivery import DeliveryRules
    from dataflows.connectors.trips.files import ColumnNames

    ride_output.check_choice(out, kafka)
    region = options.region_of(region_name)
    rules = DeliveryRules(jitter_s, duplicates, seed)
    names = ColumnNames(time_column, lat_column, lon_column, id_column, timezone)
    paths = _distinct([Path(name) for name in files])
    origin = _origin(paths, region, names, rules) if out is not None else {}
    if out is not None and ride_output.is_done(Path(out), origin):
        click.echo(f"{out} already holds these rides; nothing to do.")
        return
    kept = Path(rejects) if rejects else Path(out or "") / ride_output.REJECTS_FILE
    with _progress() as progress:
        trips = _read(paths, names, region, progress)
        outside = _outside(trips, region, go_on=outside_ok)
        cluster = options.rides_cluster(str(kafka))
        opened = ride_output.directory(Path(out), origin) if out is not None else ride_output.topic(cluster, topic, append_to=append_to)
        with opened as place:
            delivery = _deliver(trips, region, rules, place, progress)
            if trips.rejected:
                _write_rejects(kept if rejects else place.folder / ride_output.REJECTS_FILE, trips.rejected)
    _report(trips, delivery, kept, outside)
    if outside > WARN_SHARE * len(trips):
        click.echo(
            f"ridecast: {outside:,} of {len(trips):,} rides ({outside / len(trips):.0%}) are outside region {region.id} "
            "and will be rejected by intake",
            err=True,
        )


def _distinct(paths: list[Path]) -> list[Path]:
    seen: dict[bytes, Path] = {}
    for path in paths:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
        except OSError as cause:
            raise UsageError(f"{path}: expected a Parquet or CSV file of trips: {cause.strerror}") from cause
        if digest in seen:
            raise UsageError(f"{path}: expected every file once, got the same content as {seen[digest]}")
        seen[digest] = path
    return paths


def _origin(paths: Sequence[Path], region: Region, names: "ColumnNames", rules: "DeliveryRules") -> dict[str, object]:
    """What the rides are made from; equal for equal rides. Folder names are left out: they do not affect the rides."""
    return {
        "made_by": "ridecast import",
        "version": 1,
        "region": region.id,
        "files": [{"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in paths],
        "columns": {name: getattr(names, name) for name in names.__slots__},
        "timezone": names.timezone or region.timezone,
        "delivery": {name: getattr(rules, name) for name in rules.__slots__},
    }


def _read(paths: Sequence[Path], names: "ColumnNames", region: Region, progress: Progress) -> "Trips":
    from dataflows.connectors.trips.files import read_trips
    from dataflows.connectors.trips.rides import to_trips

    task = progress.add_task("reading files", total=len(paths))
    tables = []
    for path in paths:
        tables.append(read_trips(path, names, region.timezone))
        progress.advance(task)
    sorting = progress.add_task("deriving ids", total=None)
    trips = to_trips(tables)
    progress.update(sorting, total=trips.received, completed=trips.received)
    return trips


def _outside(trips: "Trips", region: Region, *, go_on: bool) -> int:
    """How many places are outside the region, by the rule of intake.

    Raises:
        RidecastError: nearly all of them are, and `go_on` is not set.
    """
    from schemas.events.cells import inside
    from schemas.regions import load_region, shipped_regions

    here = inside(region.polygon, trips.lat, trips.lon)
    outside = len(here) - int(here.sum())
    if go_on or outside < REFUSE_SHARE * len(here):
        return outside
    hint = "is it another region?"
    if inside(region.polygon, trips.lon, trips.lat).mean() > 0.5:
        hint = "latitude and longitude look swapped: name the columns with --lat and --lon"
    for name in shipped_regions():
        if inside(load_region(name).polygon, trips.lat, trips.lon).mean() > 0.5:
            hint = f"most are in {name}: use --region {name}"
    raise RidecastError(
        f"region {region.id}: expected rides in its polygon, got {outside:,} of {len(here):,} outside it; {hint}; "
        "nothing was written; use --outside-ok to continue anyway"
    )


def _deliver(trips: "Trips", region: Region, rules: "DeliveryRules", place: ride_output.RideOutput, progress: Progress) -> "Delivery":
    from dataflows.connectors.delivery import Delivery
    from dataflows.connectors.files.ridelog import PARTITIONS

    delivery = Delivery(PARTITIONS, rules)
    task = progress.add_task("writing events", total=len(trips))
    for start in range(0, len(trips), SLICE_EVENTS):
        stop = min(start + SLICE_EVENTS, len(trips))
        until_us = int(trips.occurred_at_us[stop]) if stop < len(trips) else NO_MORE
        for entries in delivery.push(trips.events(region.id, start, stop), until_us):
            place.sink.append(*entries)
        progress.update(task, completed=stop)
    return delivery


def _write_rejects(path: Path, rejected: "list[RejectedRow]") -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["file", "row", "reason", "text"])
            out.writerows([row.path.name, row.row, row.reason.value, row.text] for row in rejected)
    except OSError as cause:
        raise StoreUnavailable(f"--rejects: cannot write to {str(path)!r}: {cause.strerror}") from cause


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return progress_bars(*columns)


def _report(trips: "Trips", delivery: "Delivery", rejects: Path, outside: int) -> None:
    from datetime import UTC, datetime

    first, last = (datetime.fromtimestamp(int(trips.occurred_at_us[row]) / 1e6, UTC) for row in (0, -1))
    rows = [("rows read", trips.received), ("rides", len(trips)), ("  equal to an earlier row", trips.repeated)]
    rows += [("  outside the region", outside)] if outside else []
    rows += [(f"  rejected: {reason}", count) for reason, count in sorted(Counter(row.reason.value for row in trips.rejected).items())]
    rows += [("events written", delivery.delivered), ("  delivered twice", delivery.repeated)]
    for label, count in rows:
        click.echo(f"{label:<36}{count:>12,}")
    click.echo(f"from {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC")
    if trips.rejected:
        click.echo(f"rejected rows are in {rejects}")
