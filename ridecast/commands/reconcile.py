"""`ridecast reconcile`: compares what is filled from the ledger with it, and repairs what differs."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ridecast import options
from ridecast.screen import progress_bars

if TYPE_CHECKING:
    from ledger.views.reconcile.differences import PlaceName, Reconciled

SHOWN = 50  # differences of one place that are printed; --json has all


@click.command()
@options.home
@click.option("--region", "region_names", multiple=True, metavar="NAME", help="A region of this home. [default: all]")
@click.option("--place", "place_names", multiple=True, metavar="NAME", help="online, topic, registry or snapshots. [default: all]")
@click.option("--repair", is_flag=True, help="Write what differs, and compare again. Without it nothing is written.")
@click.option("--alert", is_flag=True, help="Say in the log of alerts that served numbers contradict the ledger; --repair does so too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every difference.")
@click.pass_context
def command(
    ctx: click.Context,
    home: str | None,
    region_names: tuple[str, ...],
    place_names: tuple[str, ...],
    repair: bool,
    alert: bool,
    as_json: bool,
) -> None:
    """Compare the online store, the published topic, MLflow and snapshots with the ledger.

    A difference counts if a second look finds it too, so this can run beside a live run. See docs/reconciling.md.

    Exit codes: 0 all is equal, 1 differences are left, 2 wrong usage, 3 a place could not be compared.

    \b
    Example:
      ridecast reconcile --home home
    """
    from dataflows.jobs.reconcile.reconciling import exit_code, place_named, reconcile
    from dataflows.jobs.reconcile.telling import tell
    from dataflows.stream.stores import open_stores
    from ledger.views.regions import bootstrapped_in

    places = [place_named(name) for name in place_names]
    settings = options.settings_of_home(home=home)
    stores = open_stores(settings, reading=not (repair or alert))
    try:
        with progress_bars() as progress:
            tasks = {}

            def show(place: "PlaceName", done: int, total: int) -> None:
                if place not in tasks:
                    tasks[place] = progress.add_task(f"comparing {place}", total=total)
                progress.update(tasks[place], completed=done, total=total)

            done = reconcile(stores, places, region_names, repair=repair, on_step=show)
        if repair or alert:
            tell(stores.ledger, done, region_names or bootstrapped_in(stores.ledger), time.time_ns() // 1000)
    finally:
        stores.close()
    if as_json:
        click.echo(json.dumps([as_document(one) for one in done], indent=1))
    else:
        for line in lines_of(done, repair=repair):
            click.echo(line)
    ctx.exit(exit_code(done))


def as_document(one: "Reconciled") -> dict[str, object]:
    """What became of a place, for JSON."""
    return {
        "place": str(one.place),
        "absent": one.absent,
        "error": one.error,
        "checked": one.compared.checked,
        "ranges": one.compared.ranges,
        "ranges_listed": one.compared.listed,
        "notes": list(one.compared.notes),
        "found": [asdict(difference) | {"contradicts": difference.contradicts} for difference in one.found],
        "left": [difference.key for difference in one.left],
    }


def lines_of(done: "Sequence[Reconciled]", *, repair: bool) -> list[str]:
    """What became of each place, in lines."""
    lines = []
    for one in done:
        if one.absent or one.error:
            lines.append(f"{one.place}: {one.absent or 'could not be compared: ' + one.error}")
            continue
        left = set(one.left)
        for difference in one.found[:SHOWN]:
            lines.append(f"{difference.text()}{'' if not repair else '; left' if difference in left else '; repaired'}")
        if len(one.found) > SHOWN:
            lines.append(f"{one.place}: {len(one.found) - SHOWN:,} more differences, see --json")
        lines += [f"{one.place}: {note}" for note in one.compared.notes]
        said = f"{len(one.found):,} differences" if one.found else "equal"
        said += f", {len(one.repaired):,} repaired, {len(one.left):,} left" if repair and one.found else ""
        lines.append(
            f"{one.place}: {said}; {one.compared.checked:,} compared, {one.compared.listed} of {one.compared.ranges} ranges listed"
        )
    if not repair and any(one.found for one in done):
        lines.append("nothing was written; `ridecast reconcile --repair` writes what differs")
    return lines
