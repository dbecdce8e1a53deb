"""`ridecast ledger archive`: moves old entries and blobs to a cheaper disk; hashes stay in the database."""

from pathlib import Path

import click

from ridecast import options
from ridecast.screen import progress_bars
from schemas.errors import UsageError


@click.command()
@options.home
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The archive folder, the same as in RIDECAST_ARCHIVE.",
)
@click.option("--until", required=True, metavar="DATE", help="Entries before this local day, YYYY-MM-DD.")
@click.option("--region", "region", metavar="ID", help="Which region. [default: the only one in this home]")
def command(home: str | None, folder: Path, until: str, region: str | None) -> None:
    """Move a region's old entries, and the chunks and counts that they name, to a folder of tlog-tiles.

    They are written there, read back and recorded before they are removed from the database. From then on they are
    read from the archive: before you archive, set RIDECAST_ARCHIVE to the folder for every process of the home, and
    restart them. Mount a folder on S3-compatible storage first. While the space is freed, writers wait.

    Example: ridecast ledger archive --home home --to /mnt/archive --until 2014-05-01
    """
    from dataflows.jobs.archiving import archive_region
    from dataflows.jobs.learn import only_region
    from dataflows.stream.signing import verifier_of
    from dataflows.stream.stores import open_stores

    settings = options.settings_of_home(home=home)
    if not settings.archive or Path(settings.archive).resolve() != folder.resolve():
        known = f"it is {settings.archive}" if settings.archive else "it is not set"
        raise UsageError(f"--to {folder}: expected the folder in RIDECAST_ARCHIVE, which every process reads; {known}")
    stores = open_stores(settings)
    try:
        name = region or only_region(stores)
        with progress_bars() as progress:
            task = progress.add_task("archiving", total=None)
            found = archive_region(
                stores, name, folder, until, [verifier_of(settings)], lambda done, total: progress.update(task, completed=done, total=total)
            )
    finally:
        stores.close()
    if found is None:
        click.echo(f"region {name}: nothing before {until} fills a bundle of 256 entries; nothing was archived")
    else:
        click.echo(f"region {name}: entries below {found.stop:,} are now in {folder}; hashes stay in the database")
