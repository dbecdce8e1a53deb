"""`ridecast ledger export`: what the ledger holds, for other tools."""

from pathlib import Path

import click

from ridecast import options
from ridecast.screen import bars


@click.command()
@options.home
@click.option("--parquet", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where the tables go.")
def command(home: str | None, folder: Path) -> None:
    """Flat tables for pandas and DuckDB: counts, forecasts, scores.

    Example: ridecast ledger export --home home --parquet tables
    """
    from dataflows.export import export_parquet
    from dataflows.house import open_house

    house = open_house(options.settings_of_home(home=home), reading=True)
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
