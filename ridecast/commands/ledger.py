"""`ridecast ledger`: look into the only memory."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.progress import TaskID

from ridecast import options
from ridecast.screen import bars
from schemas.errors import NotFound
from schemas.record_codec import decode


@click.group()
def command() -> None:
    """Look into the ledger: tail, show, verify, export."""


log_option = click.option(
    "--log", "log_name", default=None, metavar="NAME", help="A log: region/<id>, control or runs. [default: the only region]"
)


def _pick(ledger: Any, name: str | None) -> str:
    """The log that was asked for, or the only region's."""
    logs: list[str] = sorted(ledger.logs())
    if name is not None:
        if name not in logs:
            raise NotFound(f"--log: expected one of {', '.join(logs) or 'none yet'}, got {name!r}")
        return name
    regions = [log for log in logs if log.startswith("region/")]
    if len(regions) != 1:
        raise NotFound(f"--log: expected one region's log to exist, found {', '.join(regions) or 'none'}; name one")
    return regions[0]


def plain(value: Any) -> Any:
    """A record as JSON can say it: digests in hex, long lists shortened."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


@command.command()
@options.home
@log_option
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
def tail(home: str | None, log_name: str | None, limit: int) -> None:
    """The newest entries of a log, one line each.

    Example: ridecast ledger tail --home home --log control
    """
    from dataflows.house import open_house

    house = open_house(options.settings_of_home(home=home))
    try:
        log = _pick(house.ledger, log_name)
        head = house.ledger.head(log)
        for stored in house.ledger.read(log, max(0, head.size - limit), head.size):
            record = decode(stored.payload)
            click.echo(f"{stored.index:>8}  {stored.kind:<18} {_summary(record)}")
        click.echo(f"{log}: {head.size:,} entries, root {head.root.hex()}")
    finally:
        house.close()


def _summary(record: Any) -> str:
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    parts = []
    if fields.get("target_us"):
        parts.append(f"target={datetime.fromtimestamp(fields['target_us'] / 1e6, UTC):%Y-%m-%dT%H:%M}Z")
    for name in ("slot", "measure", "status", "cells", "settled", "version", "until", "rides", "alias", "algorithm", "command", "reason"):
        if name in fields:
            parts.append(f"{name}={fields[name]}")
    for name in ("model", "root"):
        if fields.get(name):
            parts.append(f"{name}={fields[name].hex()[:12]}")
    if "partitions" in fields and isinstance(fields["partitions"], tuple):
        parts.append(f"counted={sum(cut.counted for cut in fields['partitions'])}")
    return " ".join(parts)


@command.command()
@options.home
@log_option
@click.argument("index", type=click.IntRange(0))
def show(home: str | None, log_name: str | None, index: int) -> None:
    """One entry, whole, as JSON.

    Example: ridecast ledger show 0 --home home --log region/nyc
    """
    from dataflows.house import open_house

    house = open_house(options.settings_of_home(home=home))
    try:
        log = _pick(house.ledger, log_name)
        size = house.ledger.head(log).size
        if index >= size:
            raise NotFound(f"{log}: expected an index below {size}, got {index}")
        [stored] = house.ledger.read(log, index, index + 1)
        said = {"log": log, "index": index, "kind": stored.kind, "bytes": len(stored.payload), "record": plain(decode(stored.payload))}
        click.echo(json.dumps(said, indent=2))
    finally:
        house.close()


@command.command()
@options.home
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@click.pass_context
def verify(ctx: click.Context, home: str | None, as_json: bool) -> None:
    """Derive every hash and root again from the stored bytes; exit 0 clean, 1 damaged.

    Example: ridecast ledger verify --home home
    """
    from dataflows.house import open_house
    from ledger.verify import verify_log

    house = open_house(options.settings_of_home(home=home))
    damaged, reports = False, []
    try:
        with bars() as progress:
            for log in sorted(house.ledger.logs()):
                task = progress.add_task(log, total=None)

                def on_progress(done: int, total: int, task: TaskID = task) -> None:
                    progress.update(task, completed=done, total=max(total, 1))

                report = verify_log(house.ledger, log, house.blobs, on_progress=on_progress)
                damaged |= bool(report.problems)
                reports.append((log, report))
    finally:
        house.close()
    if as_json:
        click.echo(json.dumps([{"log": log, **plain(report)} for log, report in reports], indent=2))
    for log, report in reports if not as_json else ():
        click.echo(f"{log}: {report.entries:,} entries, " + ("clean" if not report.problems else f"{len(report.problems)} PROBLEMS"))
        for problem in report.problems:
            click.echo(f"  {problem}")
    ctx.exit(1 if damaged else 0)


@command.command()
@options.home
@click.option("--parquet", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where the tables go.")
def export(home: str | None, folder: Path) -> None:
    """Flat tables for pandas and DuckDB: counts, forecasts, scores.

    Example: ridecast ledger export --home home --parquet tables
    """
    from dataflows.export import export_parquet
    from dataflows.house import open_house

    house = open_house(options.settings_of_home(home=home))
    try:
        regions = [log.removeprefix("region/") for log in sorted(house.ledger.logs()) if log.startswith("region/")]
        with bars() as progress:
            task = progress.add_task("exporting", total=None)
            rows = export_parquet(
                house.ledger,
                house.blobs,
                regions,
                folder,
                on_entries=lambda done, total: progress.update(task, completed=done, total=total),
            )
    finally:
        house.close()
    for name, count in rows.items():
        click.echo(f"{folder / name}.parquet: {count:,} rows")
