"""`ridecast ledger export`: what the ledger holds, for other people's tools."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ridecast import options
from ridecast.commands.ledger.picking import pick_log
from ridecast.screen import bars
from schemas.errors import NotFound, UsageError
from schemas.regions import Region
from schemas.times import parse_time

if TYPE_CHECKING:
    from dataflows.stream.stores import Stores

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@options.home
@click.option("--tiles", "tiles", type=FOLDER, metavar="DIR", help="Where the logs go as C2SP tlog-tiles, each in DIR/<log>.")
@click.option("--log", "logs", multiple=True, metavar="NAME", help="Only this log with --tiles; may be repeated. [default: every log]")
@click.option("--blobs", is_flag=True, help="With --tiles: also the blobs that the entries name, in DIR/<log>/blobs/<sha256>.")
@click.option("--parquet", "tables", type=FOLDER, metavar="DIR", help="Where the flat tables go.")
@click.option("--from", "from_text", metavar="TIME", help="First target of forecasts, slot of scores; local time unless it has a zone.")
@click.option("--to", "to_text", metavar="TIME", help="Where forecasts and scores end, likewise; that target is left out.")
def command(
    home: str | None,
    tiles: Path | None,
    logs: tuple[str, ...],
    blobs: bool,
    tables: Path | None,
    from_text: str | None,
    to_text: str | None,
) -> None:
    """Signed logs for auditors, flat tables for analysts.

    \b
    --tiles writes, for each log, what any reader of C2SP tlog-tiles verifies:
      checkpoint               the signed note; everything below it is what it says
      tile/<level>/<index>     hashes, 256 to a file; .p/<width> where a file is not full yet
      tile/entries/<index>     the entries, 256 to a file
    Run again it adds what is new; interrupted, it goes on. What a checkpoint does not cover yet is left for the next time.

    \b
    --parquet writes one file for each table; times are UTC, numbers in rides:
      counts     region, measure, slot (its start), cell, count: settled, late rides added
      forecasts  region, measure, target (start of the window), horizon_min, cell, mean, median,
                 lower, upper, baseline, fallback, index (of the entry that issued it)
      scores     region, measure, slot, settled, horizon_min, cells, truth, forecast_mean, abs_error,
                 square_error, baseline_abs_error, baseline_square_error, covered, index
      models     region, measure, model (digest), algorithm, features, first and until (of the
                 training data), rows, data_digest, parameters and metrics (JSON), index
      control    index, kind, region, measure, model, alias, reason, record (JSON): every entry
    A month of a city is tens of millions of rows of forecasts, a row for each cell and horizon of
    every five minutes: take the days that you need with --from and --to, which hold for forecasts and
    scores. Tables that lie in DIR already are replaced when all the new ones are complete.

    \b
    Examples:
      ridecast ledger export --home home --tiles audit
      ridecast ledger export --home home --parquet tables --from 2014-05-01 --to 2014-05-02
    """
    if tiles is None and tables is None:
        raise UsageError("export: expected --tiles DIR, --parquet DIR or both")
    if tiles is None and (logs or blobs):
        raise UsageError("export: --log and --blobs belong to --tiles DIR")
    if tables is None and (from_text or to_text):
        raise UsageError("export: --from and --to belong to --parquet DIR")
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        if tiles is not None:
            _write_tiles(stores, tiles, [pick_log(stores.ledger, name) for name in logs] or sorted(stores.ledger.logs()), blobs)
        if tables is not None:
            _write_tables(stores, tables, from_text, to_text)
    finally:
        stores.close()


def _write_tiles(stores: "Stores", folder: Path, logs: list[str], with_blobs: bool) -> None:
    for log in logs:
        click.echo(f"{folder / log}: {_write_log(stores, folder, log, with_blobs)}")


def _write_log(stores: "Stores", folder: Path, log: str, with_blobs: bool) -> str:
    """Write one log; returns what was done, for a person."""
    from dataflows.jobs.exports.tiles import export_blobs, export_tiles

    note = stores.ledger.guard.note(log)
    if note is None:
        raise NotFound(f"{log}: no checkpoint is signed yet, which happens within a second of an append while Ridecast runs")
    with bars() as progress:
        task = progress.add_task(log, total=None)
        done = export_tiles(stores.ledger, log, note, folder, lambda at, total: progress.update(task, completed=at, total=total))
        said = f"{done.size:,} entries ({done.size - done.old_size:,} new), {done.files:,} files written"
        if not with_blobs:
            return said
        more = progress.add_task(f"{log} blobs", total=None)
        size, on_entries = done.size, lambda at, total: progress.update(more, completed=at, total=total)
        extra = export_blobs(stores.ledger, stores.blobs, log, size, folder, on_entries)
    return f"{said}, {extra.files:,} blobs" + (f", {extra.gone:,} blobs are no longer kept" if extra.gone else "")


def _write_tables(stores: "Stores", folder: Path, from_text: str | None, to_text: str | None) -> None:
    from dataflows.jobs.exports.tables import ALWAYS, export_parquet
    from ledger.views.regions import regions_of

    def window(region: Region) -> tuple[int, int]:
        first_us, until_us = (
            _time(option, text, region) if text else bound
            for option, text, bound in zip(("--from", "--to"), (from_text, to_text), ALWAYS, strict=True)
        )
        if first_us >= until_us:
            raise UsageError(f"--to: expected a time after --from, got {to_text!r}")
        return first_us, until_us

    regions = list(regions_of(stores.ledger))
    with bars() as progress:
        task = progress.add_task("tables", total=None)
        rows = export_parquet(
            stores.ledger,
            stores.blobs,
            regions,
            folder,
            window=window,
            on_entries=lambda at, total: progress.update(task, completed=at, total=total),
        )
    for name, count in rows.items():
        click.echo(f"{folder / name}.parquet: {count:,} rows")


def _time(option: str, text: str, region: Region) -> int:
    try:
        return parse_time(text, region)
    except UsageError as cause:
        raise UsageError(f"{option}: {cause}") from None
