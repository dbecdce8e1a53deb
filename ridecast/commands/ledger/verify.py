"""`ridecast ledger verify`: whether the logs still are what they were."""

import json

import click
from rich.progress import TaskID

from ridecast import options
from ridecast.commands.ledger.picking import plain
from ridecast.screen import bars


@click.command()
@options.home
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@click.pass_context
def command(ctx: click.Context, home: str | None, as_json: bool) -> None:
    """Derive every hash and root again from the stored bytes; exit 0 clean, 1 damaged.

    Example: ridecast ledger verify --home home
    """
    from dataflows.house import open_house
    from ledger.verify import verify_log

    house = open_house(options.settings_of_home(home=home), reading=True)
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
