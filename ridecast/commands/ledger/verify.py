"""`ridecast ledger verify`: checks that the logs are unchanged."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import TaskID

from ridecast import options
from ridecast.screen import progress_bars
from schemas.errors import NotFound, StoreUnavailable, UsageError

if TYPE_CHECKING:
    from dataflows.audit.verification import OnLog, VerifyOptions
    from ledger.check.verify import Progress, Report

CLEAN, DAMAGED, COULD_NOT_RUN = 0, 1, 2


@click.command()
@options.home
@click.option("--log", "log_name", default="", metavar="NAME", help="Only this log. [default: all]")
@click.option(
    "--deep",
    is_flag=True,
    help="Also recompute every region's fold from its records (not with --tiles), and the root of every issue.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--against",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A saved checkpoint: the log must have its root at its size. Repeatable.",
)
@click.option(
    "--key",
    "key_texts",
    multiple=True,
    metavar="VKEY",
    help="Key that signs the checkpoints, as name+id+key; more for older ones. [default: the home's]",
)
@click.option(
    "--tiles", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="Check exported tiles of one or more logs instead."
)
@click.option("--jobs", type=click.IntRange(1, 64), default=None, help="Processes that check blobs. [default: one per processor]")
@click.pass_context
def command(
    ctx: click.Context,
    home: str | None,
    log_name: str,
    deep: bool,
    as_json: bool,
    against: tuple[Path, ...],
    key_texts: tuple[str, ...],
    tiles: Path | None,
    jobs: int | None,
) -> None:
    """Recompute everything from the stored bytes; exit codes: 0 clean, 1 damaged, 2 could not run.

    \b
    Example: ridecast ledger verify --home home --against kept-checkpoint.txt
             ridecast ledger verify --tiles tiles --key ridecast/local+1a2b3c4d+AQ...
    """
    from dataflows.audit.verification import VerifyOptions, report_json
    from ledger.formats.keys import parse_verifier

    chosen = VerifyOptions(log_name, against, tuple(map(parse_verifier, key_texts)), jobs or os.cpu_count() or 1, deep)
    try:
        with progress_bars() as progress:

            def on_log(log: str) -> "Progress":
                task: TaskID = progress.add_task(log, total=None)
                return lambda done, total: progress.update(task, completed=done, total=max(total, 1))

            reports = _of_tiles(tiles, home, chosen, on_log) if tiles is not None else _of_home(home, chosen, on_log)
    except (NotFound, StoreUnavailable) as error:
        click.echo(f"ridecast: {error}", err=True)
        ctx.exit(COULD_NOT_RUN)
    if as_json:
        click.echo(report_json(reports))
    for report in reports if not as_json else ():
        for line in _lines(report):
            click.echo(line)
    ctx.exit(DAMAGED if any(report.problems for report in reports) else CLEAN)


def _of_home(home: str | None, chosen: "VerifyOptions", on_log: "OnLog") -> "list[Report]":
    from dataclasses import replace

    from dataflows.audit.verification import verify_stores
    from dataflows.stream.signing import public_path
    from dataflows.stream.stores import open_stores
    from ledger.store.key_files import read_verifier

    settings = options.settings_of_home(home=home)
    known = read_verifier(public_path(settings))
    if not chosen.verifiers and known is not None:
        chosen = replace(chosen, verifiers=(known,))
    stores = open_stores(settings, reading=True, verifier=chosen.verifiers[0] if chosen.verifiers else None)
    try:
        return verify_stores(stores, chosen, on_log)
    finally:
        stores.close()


def _of_tiles(tiles: Path, home: str | None, chosen: "VerifyOptions", on_log: "OnLog") -> "list[Report]":
    from dataclasses import replace

    from dataflows.audit.verification import verify_folder
    from dataflows.stream.signing import public_path
    from ledger.store.key_files import read_verifier

    if not tiles.is_dir():
        raise UsageError(f"--tiles: expected a directory, got {str(tiles)!r}")
    if not chosen.verifiers:
        known = read_verifier(public_path(options.settings_of(home=home)))
        if known is None:
            raise UsageError("--key: expected the key that signed the export's checkpoints, since no home has one")
        chosen = replace(chosen, verifiers=(known,))
    return verify_folder(tiles, chosen, on_log)


def _lines(report: "Report") -> list[str]:
    verdict = "clean" if not report.problems else f"{len(report.problems)} PROBLEM{'S' if len(report.problems) > 1 else ''}"
    checked = f"{report.entries:,} entries, {report.blobs:,} blobs"
    if report.expired:
        checked += f" ({report.expired:,} more expired, as recorded)"
    behind = report.entries - (report.checkpoint_size or 0)
    vouched = f", the last {behind:,} of them after the checkpoint" if behind > 0 and report.checkpoint_size is not None else ""
    return [f"{report.log}: {checked}{vouched}: {verdict}", *(f"  {problem}" for problem in report.problems)]
