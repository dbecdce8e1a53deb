"""`ridecast ledger export`: exports the ledger for third-party tools."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ridecast import options
from ridecast.commands.ledger.log_choice import pick_log
from ridecast.file_modes import as_given
from ridecast.screen import progress_bars
from schemas.errors import NotFound, UsageError
from schemas.regions import Region
from schemas.times import parse_time

if TYPE_CHECKING:
    from dataflows.stream.stores import Stores

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@options.home
@click.option("--tiles", "tiles", type=FOLDER, metavar="DIR", help="Write the logs as C2SP tlog-tiles, each to DIR/<log>.")
@click.option("--log", "logs", multiple=True, metavar="NAME", help="Only this log with --tiles; may be repeated. [default: every log]")
@click.option("--blobs", is_flag=True, help="With --tiles: also the blobs that the entries name, in DIR/<log>/blobs/<sha256>.")
@click.option("--parquet", "tables", type=FOLDER, metavar="DIR", help="Write the flat tables to DIR.")
@click.option("--from", "from_text", metavar="TIME", help="First target of forecasts, slot of scores; local time unless it has a zone.")
@click.option("--to", "to_text", metavar="TIME", help="End of forecasts and scores (exclusive), in the same form.")
def command(
    home: str | None,
    tiles: Path | None,
    logs: tuple[str, ...],
    blobs: bool,
    tables: Path | None,
    from_text: str | None,
    to_text: str | None,
) -> None:
    """Export signed logs for auditors, and flat tables for analysts.

    \b
    --tiles writes, for each log, files that any reader of C2SP tlog-tiles can verify:
      checkpoint               the signed note that covers all files below
      tile/<level>/<index>     hashes, 256 per file; .p/<width> for a file that is not full yet
      tile/entries/<index>     the entries, 256 per file
    Running again adds new entries; an interrupted export resumes. Entries that no checkpoint covers yet are left out.

    \b
    --parquet writes one file per table; times are UTC, numbers in rides:
      counts     region, measure, slot (its start), cell, count: settled, late rides added
      forecasts  region, measure, target (start of the window), horizon_min, cell, mean, median,
                 lower, upper, baseline, fallback, index (of the entry that issued it)
      scores     region, measure, slot, settled, horizon_min, cells, truth, forecast_mean, abs_error,
                 square_error, baseline_abs_error, baseline_square_error, covered, index
      models     region, measure, model (digest), algorithm, features, first and until (of the
                 training data), rows, data_digest, parameters and metrics (JSON), index
      control    index, kind, region, measure, model, alias, reason, record (JSON): every entry
    A month of a city is tens of millions of rows of forecasts, a row for each cell and horizon of
    every five minutes: select the days that you need with --from and --to, which apply to forecasts and
    scores. Existing tables in DIR are replaced when all new ones are complete.

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

    as_given()  # An export is for others.
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
    """Write one log; returns a summary for display."""
    from dataflows.jobs.exports.tiles import export_blobs, export_tiles

    note = stores.ledger.guard.note(log)
    if note is None:
        raise NotFound(f"{log}: no checkpoint is signed yet; one is signed within a second of an append while Ridecast runs")
    with progress_bars() as progress:
        task = progress.add_task(log, total=None)
        done = export_tiles(stores.ledger, log, note, folder, lambda at, total: progress.update(task, completed=at, total=total))
        summary = f"{done.size:,} entries ({done.size - done.old_size:,} new), {done.files:,} files written"
        if not with_blobs:
            return summary
        more = progress.add_task(f"{log} blobs", total=None)
        size, on_entries = done.size, lambda at, total: progress.update(more, completed=at, total=total)
        extra = export_blobs(stores.ledger, stores.blobs, log, size, folder, on_entries)
    return f"{summary}, {extra.files:,} blobs" + (f", {extra.gone:,} blobs are no longer kept" if extra.gone else "")


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
    with progress_bars() as progress:
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
