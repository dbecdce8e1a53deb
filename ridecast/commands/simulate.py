"""`ridecast simulate`: the ride events of a simulated city."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from ridecast import label_output, options, ride_output, supply_output
from ridecast.screen import progress_bars
from schemas.errors import UsageError
from schemas.events.measures import KINDS
from schemas.regions import US_PER_S, Region

if TYPE_CHECKING:
    from schemas.events.ride_columns import EventColumns
    from schemas.events.rides import Int64s
    from state.simulation.faults.run import FaultRun
    from state.simulation.fleet import Fleet

DAY_US = 86_400 * US_PER_S


def _list_faults(ctx: click.Context, _: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Print the table of faults and end, if asked for."""
    if "list" in texts:
        from state.simulation.faults.syntax import described

        click.echo(described())
        ctx.exit()
    return texts


@click.command("simulate")
@options.region
@click.option("--days", type=int, default=30, show_default=True, help="Length, in days of 24 hours.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the city and its rides; same seed, same bytes.")
@click.option(
    "--start", default="2025-04-05", show_default=True, metavar="YYYY-MM-DD", help="Local midnight at which the simulation starts."
)
@click.option("--rides-per-day", type=int, default=20_000, show_default=True, help="Approximate number of requests on an average day.")
@click.option("--out", metavar="DIR", help="A new or empty directory for the ride events.")
@click.option("--kafka", metavar="HOST:PORT", help="Write to a Kafka topic instead; it is created with unlimited retention.")
@click.option("--topic", default="rides.raw", show_default=True, help="The topic's name.")
@click.option("--append", "append_to", is_flag=True, help="Add to a topic that already holds events.")
@click.option("--jitter-s", type=float, default=0.0, show_default=True, help="Largest delay of an event on its way to the log, seconds.")
@click.option("--duplicates", type=float, default=0.0, show_default=True, help="Share of events delivered twice.")
@click.option(
    "--fault",
    "fault_texts",
    multiple=True,
    is_eager=True,
    callback=_list_faults,
    metavar="KIND:...",
    help="Something that goes wrong, such as surge:factor=3,from=+2d18h,hours=2; `--fault list` describes all kinds. May be repeated.",
)
@click.option("--labels", type=options.OutFile(), metavar="FILE", help="Where the labels of the faults go; by default DIR/labels.json.")
@click.option("--supply", type=click.Path(path_type=Path), metavar="DIR", help="Simulate drivers too, and write their states there.")
@click.option("--areas", "areas_file", type=options.OutFile(), metavar="FILE", help="Write the areas of the city to this file, too.")
@click.option(
    "--weather", "weather_file", type=options.OutFile(), metavar="FILE", help="Write its weather for `ridecast covariates import`."
)
def command(
    region_name: str,
    days: int,
    seed: int,
    start: str,
    rides_per_day: int,
    out: str | None,
    kafka: str | None,
    topic: str,
    append_to: bool,
    jitter_s: float,
    duplicates: float,
    fault_texts: tuple[str, ...] = (),
    labels: Path | None = None,
    supply: Path | None = None,
    areas_file: Path | None = None,
    weather_file: Path | None = None,
) -> None:
    """Write the ride events of a simulated city.

    Every ride has all its events: requested, accepted, started, completed, or cancelled, or unserved. Demand
    depends on the hour, the weekday, holidays, rain and events such as concerts, and is spread over a few busy
    cells and many quiet ones. A longer simulation starts with the same events as a shorter one.

    With --supply, drivers with shifts and positions serve the rides, and a request is unserved where none is near.

    Faults leave the bytes of all events that they do not touch as they are, and are described in a file of labels.

    \b
    Examples:
      ridecast simulate --region tehran --days 30 --seed 7 --out rides
      ridecast simulate --region nyc --days 7 --kafka 127.0.0.1:9092
      ridecast simulate --region tehran --fault surge:from=+20d18h --fault outage:partition=2,from=+21d --out rides
    """
    from dataflows.connectors.delivery import Delivery, DeliveryRules
    from dataflows.connectors.files.ridelog import PARTITIONS
    from state.demand.calendar import Calendar
    from state.simulation.simulate import simulate_city

    ride_output.check_choice(out, kafka)
    if labels is not None and not fault_texts:
        raise UsageError("--labels: expected at least one --fault, got none")
    if fault_texts and labels is None and out is None:
        raise UsageError("--fault: expected --labels FILE beside --kafka, got none", remedy="a topic has no place for labels")
    files = {"--labels": labels, "--areas": areas_file, "--weather": weather_file}
    label_output.check_files(files, None if out is None else Path(out), supply)
    region = options.new_region_of(region_name)
    rules = DeliveryRules(jitter_s, duplicates, seed)
    try:
        start_us = Calendar(region).first_slot(start) * region.slot_us
    except ValueError as cause:
        raise UsageError(f"--start: expected a date as YYYY-MM-DD, got {start!r}") from cause
    city = simulate_city(region, start_us, days, seed, rides_per_day)  # checks its values
    faults = _faults(fault_texts, region, start_us, days, seed, rides_per_day, all_served=supply is not None)
    fleet = _fleet(region, start_us, seed, rides_per_day) if supply is not None else None
    if faults is not None or fleet is not None:
        city = simulate_city(region, start_us, days, seed, rides_per_day, faults, fleet)
    origin: dict[str, object] = {
        "made_by": "ridecast simulate",
        "version": 1,
        "region": region.to_json(),
        "days": days,
        "seed": seed,
        "start": start,
        "rides_per_day": rides_per_day,
        "delivery": {"jitter_s": jitter_s, "duplicates": duplicates, "seed": seed},
    }
    if faults is not None:
        origin["faults"] = [fault.text for fault in faults.faults]
    if fleet is not None:
        origin["drivers"] = len(fleet)
    supply_output.check(None if out is None else Path(out), supply, origin)
    if out is not None and ride_output.is_done(Path(out), origin):
        if faults is not None:
            label_output.keep_labels(labels, Path(out), faults.labels())
        _write_areas(areas_file, region, seed)
        _write_weather(weather_file, start_us, days, seed)
        click.echo(f"{out} already holds these rides; nothing to do.")
        return
    delivery, totals = Delivery(PARTITIONS, rules, None if faults is None else faults.delivered), [0] * len(KINDS)
    cluster = options.rides_cluster(str(kafka))
    opened = ride_output.directory(Path(out), origin) if out is not None else ride_output.topic(cluster, topic, append_to=append_to)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with progress_bars(*columns) as progress, opened as place, supply_output.opened(supply, origin) as states:
        task = progress.add_task("days", total=days)
        for day, events in enumerate(city):
            sent_at_us = None
            if faults is not None:
                events, sent_at_us = _reported(faults, events, start_us + day * DAY_US)
            for row, count in enumerate(np.bincount(events.kind, minlength=len(KINDS)).tolist()):
                totals[row] += count
            for entries in delivery.push(events, start_us + (day + 1) * DAY_US, sent_at_us):
                place.sink.append(*entries)
            if fleet is not None:
                states.append(fleet.states(start_us + (day + 1) * DAY_US))
            progress.advance(task)
        for entries in delivery.finish():
            place.sink.append(*entries)
        if faults is not None:
            label_output.write_labels(labels, None if out is None else Path(out), place.folder, faults.labels())
    _write_areas(areas_file, region, seed)
    _write_weather(weather_file, start_us, days, seed)
    for kind, count in zip(KINDS, totals, strict=True):
        click.echo(f"{kind:<24}{count:>12,}")
    click.echo(f"{'events written':<24}{delivery.delivered:>12,}")
    click.echo(f"{'  delivered twice':<24}{delivery.repeated:>12,}")
    if fleet is not None:
        click.echo(f"{'states of drivers':<24}{states.written:>12,}")
    if faults is not None:
        click.echo(f"labels of {len(faults.faults)} faults: {labels if labels is not None else Path(str(out)) / label_output.LABELS_FILE}")


def _fleet(region: Region, start_us: int, seed: int, rides_per_day: int) -> "Fleet":
    from state.simulation.city import build_city
    from state.simulation.fleet import Fleet

    return Fleet(build_city(region, seed), region, start_us, seed, rides_per_day)


def _faults(
    texts: tuple[str, ...], region: Region, start_us: int, days: int, seed: int, rides_per_day: int, *, all_served: bool
) -> "FaultRun | None":
    """The faults of the simulation; None for none, since then nothing is prepared for them."""
    if not texts:
        return None
    from dataflows.connectors.files.ridelog import PARTITIONS
    from state.simulation.city import build_city
    from state.simulation.faults.kinds import Scene
    from state.simulation.faults.run import FaultRun
    from state.simulation.faults.syntax import parse_faults

    end_us = start_us + days * DAY_US
    scene = Scene(region, build_city(region, seed), seed, start_us, end_us, rides_per_day, PARTITIONS)
    return FaultRun(scene, parse_faults(texts, region, start_us, end_us), all_served=all_served)


def _reported(faults: "FaultRun", events: "EventColumns", day_us: int) -> "tuple[EventColumns, Int64s]":
    """A day's events as their producers report them, and when each really occurred."""
    from state.simulation.faults.kinds import Reports

    reports = faults.reported(Reports(events, events.occurred_at_us, day_us, day_us + DAY_US))
    return reports.columns, reports.sent_at_us


def _write(path: Path, text: str) -> None:
    from ledger.store.files import write_given

    path.parent.mkdir(parents=True, exist_ok=True)
    write_given(path, text.encode("utf-8"))


def _write_areas(path: Path | None, region: Region, seed: int) -> None:
    if path is not None:
        from state.simulation.quarters import quarters_of

        _write(path, quarters_of(region, seed).to_json())


def _write_weather(path: Path | None, start_us: int, days: int, seed: int) -> None:
    if path is not None:
        from schemas.times import iso
        from state.simulation.weather import rain_of

        lines = [f"{iso(one.valid_us)},{iso(one.known_us)},precipitation_mm,{one.mm:g}\n" for one in rain_of(start_us, days, seed)]
        _write(path, f"valid_at,known_at,name,value\n{''.join(lines)}")
