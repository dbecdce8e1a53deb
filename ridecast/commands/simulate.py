"""`ridecast simulate`: the ride events of a simulated city."""

from pathlib import Path

import click
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from ridecast import options, ride_output
from ridecast.screen import progress_bars
from schemas.errors import UsageError
from schemas.events.measures import KINDS
from schemas.regions import US_PER_S, Region

DAY_US = 86_400 * US_PER_S


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
    areas_file: Path | None = None,
    weather_file: Path | None = None,
) -> None:
    """Write the ride events of a simulated city.

    Every ride has all its events: requested, accepted, started, completed, or cancelled, or unserved. Demand
    depends on the hour, the weekday, holidays, rain and events such as concerts, and is spread over a few busy
    cells and many quiet ones. A longer simulation starts with the same events as a shorter one.

    \b
    Examples:
      ridecast simulate --region tehran --days 30 --seed 7 --out rides
      ridecast simulate --region nyc --days 7 --kafka 127.0.0.1:9092
    """
    from dataflows.connectors.delivery import Delivery, DeliveryRules
    from dataflows.connectors.files.ridelog import PARTITIONS
    from state.demand.calendar import Calendar
    from state.simulation.simulate import simulate_city

    ride_output.check_choice(out, kafka)
    region = options.new_region_of(region_name)
    rules = DeliveryRules(jitter_s, duplicates, seed)
    try:
        start_us = Calendar(region).first_slot(start) * region.slot_us
    except ValueError as cause:
        raise UsageError(f"--start: expected a date as YYYY-MM-DD, got {start!r}") from cause
    city = simulate_city(region, start_us, days, seed, rides_per_day)
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
    if out is not None and ride_output.is_done(Path(out), origin):
        _write_areas(areas_file, region, seed)
        _write_weather(weather_file, start_us, days, seed)
        click.echo(f"{out} already holds these rides; nothing to do.")
        return
    delivery, totals = Delivery(PARTITIONS, rules), [0] * len(KINDS)
    cluster = options.rides_cluster(str(kafka))
    opened = ride_output.directory(Path(out), origin) if out is not None else ride_output.topic(cluster, topic, append_to=append_to)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with progress_bars(*columns) as progress, opened as place:
        task = progress.add_task("days", total=days)
        for day, events in enumerate(city):
            for row, count in enumerate(np.bincount(events.kind, minlength=len(KINDS)).tolist()):
                totals[row] += count
            for entries in delivery.push(events, start_us + (day + 1) * DAY_US):
                place.sink.append(*entries)
            progress.advance(task)
        for entries in delivery.finish():
            place.sink.append(*entries)
    _write_areas(areas_file, region, seed)
    _write_weather(weather_file, start_us, days, seed)
    for kind, count in zip(KINDS, totals, strict=True):
        click.echo(f"{kind:<24}{count:>12,}")
    click.echo(f"{'events written':<24}{delivery.delivered:>12,}")
    click.echo(f"{'  delivered twice':<24}{delivery.repeated:>12,}")


def _write_areas(path: Path | None, region: Region, seed: int) -> None:
    if path is not None:
        from ledger.store.files import write_durably
        from state.simulation.quarters import quarters_of

        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, quarters_of(region, seed).to_json().encode("utf-8"))


def _write_weather(path: Path | None, start_us: int, days: int, seed: int) -> None:
    if path is not None:
        from ledger.store.files import write_durably
        from schemas.times import iso
        from state.simulation.weather import rain_of

        lines = [f"{iso(one.valid_us)},{iso(one.known_us)},precipitation_mm,{one.mm:g}\n" for one in rain_of(start_us, days, seed)]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, f"valid_at,known_at,name,value\n{''.join(lines)}".encode())
