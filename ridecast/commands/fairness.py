"""`ridecast fairness`: compares how good the served forecasts were for the classes of a region's areas."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from ridecast import options
from ridecast.screen import output_console, progress_bars
from schemas.errors import NotFound, UsageError
from schemas.regions import Region

if TYPE_CHECKING:
    from dataflows.jobs.fairness import MeasuredFairness
    from state.detect.fairness import ClassRow, Estimate


@click.command()
@options.home
@click.option("--region", "name", metavar="NAME", help="A region of this home. [default: the only one that is bootstrapped in it]")
@click.option("--measure", metavar="NAME", help="A measure of the region. [default: its first]")
@click.option("--from", "first", metavar="TIME", help="First target; without a zone it is local time. [default: 28 days before --until]")
@click.option("--until", metavar="TIME", help="End of the targets. [default: the newest forecast that has settled]")
@click.option(
    "--areas",
    "areas_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Areas file. [default: HOME/areas/REGION.json, then the region's own areas]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def command(
    ctx: click.Context,
    home: str | None,
    name: str | None,
    measure: str | None,
    first: str | None,
    until: str | None,
    areas_file: Path | None,
    as_json: bool,
) -> None:
    """Compare how good the served forecasts were for the classes of a region's areas.

    Reads issued forecasts and settled counts from the ledger. Intervals are 95 %, over days. Under: share of truths in the upper
    half of their forecast distribution, 50 % when calibrated; inside: share in the 80 % interval. See docs/fairness.md.

    Exit codes: 0 measured, 1 a gap between classes is clearly beyond its bound, or failure, 2 wrong usage or no areas.

    \b
    Example:
      ridecast fairness --home home --region nyc --areas nyc_areas.json
    """
    from dataflows.jobs.fairness import measure_fairness, period_of
    from dataflows.stream.stores import open_stores
    from ledger.views.regions import bootstrapped_in, region_of
    from schemas.configuration.areas import areas_of, areas_path
    from state.detect.fairness_plain import clearly_beyond, plain_fairness

    settings = options.settings_of_home(home=home)
    stores = open_stores(settings, reading=True)
    try:
        region = region_of(stores.ledger, name or _only(bootstrapped_in(stores.ledger)))
        chosen = measure or region.measures[0]
        if chosen not in region.measures:
            raise UsageError(f"--measure: expected one of {', '.join(region.measures)}, got {measure!r}")
        areas = areas_of(region, settings.home, areas_file)
        if areas is None:
            where = areas_path(settings.home, region.id)
            raise UsageError(
                f"region {region.id}: no areas to compare: no {where}, and none in the region's definition",
                remedy="give a file with --areas; docs/fairness.md says how to write one",
            )
        period = period_of(stores, region, _slot("--from", first, region), _slot("--until", until, region))
        if period.first >= period.until:
            raise NotFound(f"region {region.id}: no forecast of this period has settled")
        with progress_bars() as progress:
            task = progress.add_task("reading forecasts", total=1.0)
            measured = measure_fairness(
                stores, region, chosen, areas, period, on_issue=lambda done, total: progress.update(task, completed=done / total)
            )
    finally:
        stores.close()
    if as_json:
        plain = plain_fairness(measured.region, measured.measure, measured.issues, measured.found)
        click.echo(json.dumps(plain, indent=1, ensure_ascii=False))
    else:
        _print(measured)
    ctx.exit(1 if clearly_beyond(measured.found) else 0)


def _only(names: tuple[str, ...]) -> str:
    if len(names) != 1:
        raise UsageError(f"--region: expected one of the regions of this home ({', '.join(names) or 'none'})")
    return names[0]


def _slot(option: str, text: str | None, region: Region) -> int | None:
    from schemas.times import parse_target

    try:
        return None if text is None else parse_target(text, region) // region.slot_us
    except UsageError as cause:
        raise UsageError(f"{option}: {cause}") from None


def _print(measured: "MeasuredFairness") -> None:
    from schemas.times import slot_end
    from state.detect.fairness import sentence

    region, console = measured.region, output_console()
    first, last = slot_end(region, measured.issues[0]), slot_end(region, measured.issues[-1])
    title = f"{region.id} {measured.measure}: {len(measured.issues):,} issues, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M %Z}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("attribute", "class", "min", "rides", "bias", "under", "WAPE", "inside", "fallback"):
        table.add_column(name, no_wrap=True, justify="left" if name in ("attribute", "class") else "right")
    for row in measured.found.rows:
        table.add_row(row.attribute, row.name, str(row.horizon_min), f"{row.rides:,}", *_cells(row))
    console.print(table, markup=False)
    console.print(sentence(measured.found), markup=False, highlight=False, soft_wrap=True)
    if not any(row.enough for row in measured.found.rows):
        days = (last.date() - first.date()).days + 1
        console.print(f"These issues are of {days} days; run on, or choose a longer period with --from.", highlight=False, soft_wrap=True)
    for attribute, share in _without_class(measured):
        said = f"{share:.1%} of the rides start in cells without a class of {attribute}."
        console.print(said, markup=False, highlight=False, soft_wrap=True)


def _cells(row: "ClassRow") -> list[str]:
    if not row.enough:
        return ["too little data"] + [""] * (len(row.estimates) - 1)
    return [_cell(estimate, signed=name == "bias") for name, estimate in row.estimates.items()]


def _cell(estimate: "Estimate", *, signed: bool) -> str:
    """A value and half the width of its interval, percent."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return ""
    value = f"{100 * estimate.value:+.1f}" if signed else f"{100 * estimate.value:.1f}"
    return f"{value} ±{50 * (estimate.high - estimate.low):.1f}"


def _without_class(measured: "MeasuredFairness") -> list[tuple[str, float]]:
    """Attributes that do not cover all rides, with the share of rides that they leave out."""
    shortest = measured.region.horizons_min[0]
    rides: dict[str, int] = {}
    for row in measured.found.rows:
        if row.horizon_min == shortest:
            rides[row.attribute] = rides.get(row.attribute, 0) + row.rides
    every = rides.pop("", 0)
    return [(attribute, 1 - some / every) for attribute, some in rides.items() if some < every]
