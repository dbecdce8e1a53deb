"""`ridecast explain`: shows why a served mean is what it is, as terms in rides."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from ridecast import options
from ridecast.screen import output_console, progress_bars
from schemas.times import iso, local_iso

if TYPE_CHECKING:
    from dataflows.audit.explain import ExplainedForecast
    from ridecast.explanation_drawing import Drawing

SMALLEST_SHOWN = 0.0005  # rides; smaller terms are added up in one row


@click.command()
@options.home
@click.option("--region", "name", metavar="NAME", help="A region that is bootstrapped here. [default: the only one]")
@click.argument("cell")
@click.argument("target")
@click.option(
    "--horizon", "horizon_min", type=click.IntRange(1), default=15, show_default=True, metavar="MIN", help="Length of the window."
)
@click.option("--measure", metavar="NAME", help="What was forecast. [default: the region's first]")
@click.option("--json", "as_json", is_flag=True, help="Print the explanation as JSON, with the features of each term.")
@click.option("--svg", "svg_file", type=options.OutFile(), metavar="FILE", help="Also draw it into a file.")
def command(
    home: str | None,
    name: str | None,
    cell: str,
    target: str,
    horizon_min: int,
    measure: str | None,
    as_json: bool,
    svg_file: Path | None,
) -> None:
    """Show why the mean of a forecast is what it is: a base, and terms in rides that add up to the served number.

    CELL is a geohash, TARGET the start of the window; without a zone it is the region's local time.

    The features of the newest slots are stored. Those of an older one are computed again from the recorded counts, which
    folds all slots before it.

    Example: ridecast explain --home home --region nyc dr5ru7 2014-05-07T18:00 --horizon 15
    """
    from dataflows.audit.explain import explain_forecast
    from dataflows.jobs.learn import only_region
    from dataflows.stream.start import quiet_threads
    from dataflows.stream.stores import open_stores
    from ridecast.explanation_drawing import svg

    quiet_threads()
    stores = open_stores(options.settings_of_home(home=home), reading=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}/{task.total:,} slots"), TimeRemainingColumn())
    try:
        with progress_bars(*columns) as progress:
            task = progress.add_task("folding", total=None)
            found = explain_forecast(
                stores.ledger,
                stores.blobs,
                name or only_region(stores),
                cell=cell,
                target=target,
                horizon_min=horizon_min,
                measure=measure,
                on_slot=lambda done, total: progress.update(task, completed=done, total=total),
            )
    finally:
        stores.close()
    drawing = drawing_of(found)
    if svg_file is not None:
        svg_file.parent.mkdir(parents=True, exist_ok=True)
        svg_file.write_text(svg(drawing), "utf-8")
    if as_json:
        click.echo(json.dumps(json_of(found), indent=2))
    else:
        _show(drawing, found)


def json_of(found: "ExplainedForecast") -> dict[str, object]:
    """The explanation, ready for JSON."""
    from schemas.events.cells import cell_text
    from state.forecast.explanation import as_json
    from state.forecast.routes import words

    issue = found.found
    return {
        "region": issue.region.id,
        "measure": issue.measure,
        "cell": cell_text(issue.cell, issue.region.precision),
        "target": iso(issue.target_us),
        "target_local": local_iso(issue.target_us, issue.region),
        "horizon_min": found.horizon_min,
        "log": issue.stored.log,
        "index": issue.stored.index,
        "fallback": found.fallback.value,
        "model": found.model.hex() or None,
        "experiment": {"id": issue.stored.record.experiment, "arm": found.arm.value} if found.arm is not None else None,
        "why": words(issue.stored.record.reasons) or None,
        "replayed_slots": found.replayed_slots,
        "same_features": found.same_features,
        **as_json(found.explanation),
    }


def drawing_of(found: "ExplainedForecast") -> "Drawing":
    """What is drawn: every term that anybody can see, and the small ones as one."""
    from ridecast.explanation_drawing import Drawing
    from schemas.events.cells import cell_text

    issue, explanation = found.found, found.explanation
    title = (
        f"{explanation.served:g} {issue.measure} in {cell_text(issue.cell, issue.region.precision)} "
        f"within {found.horizon_min} min from {local_iso(issue.target_us, issue.region)}"
    )
    terms = [(str(term.reason), term.rides) for term in explanation.terms if abs(term.rides) >= SMALLEST_SHOWN]
    small = sum(term.rides for term in explanation.terms if abs(term.rides) < SMALLEST_SHOWN)
    if abs(small) >= SMALLEST_SHOWN:
        terms.append(("all others", small))
    return Drawing(title, (explanation.base_is, explanation.base), terms, ("forecast mean", explanation.served))


def _show(drawing: "Drawing", found: "ExplainedForecast") -> None:
    from ridecast.explanation_drawing import bars
    from state.forecast.routes import words

    table = Table("reason", "rides", "", title=drawing.title, title_justify="left", show_footer=True)
    table.columns[0].footer, table.columns[1].footer = drawing.served[0], f"{drawing.served[1]:.3f}"
    table.columns[1].justify = "right"
    table.add_row(drawing.base[0], f"{drawing.base[1]:.3f}", "", end_section=True)
    for (reason, rides), bar in zip(drawing.terms, bars(drawing.terms), strict=True):
        table.add_row(reason, f"{rides:+.3f}", bar)
    output_console().print(table)
    if found.arm is not None:
        click.echo(f"experiment {found.found.stored.record.experiment}: served by the {found.arm}, model {found.model.hex()[:12]}")
    if reasons := words(found.found.stored.record.reasons):
        click.echo(f"forecast by {found.fallback.value}: {reasons}")
    if found.replayed_slots:
        click.echo(f"features computed again from {found.replayed_slots:,} slots")
    if not found.same_features:
        click.echo("these features are not the recorded ones to the last bit, as in another environment; see `ridecast ledger replay`")
