"""`ridecast experiment`: lets a challenger serve some of the cells at times, and shows whether it is better."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from ridecast import options
from ridecast.screen import output_console

if TYPE_CHECKING:
    from dataflows.stream.stores import Stores
    from ledger.views.experiments import PastExperiment
    from schemas.regions import Region
    from state.decide.arm_losses import Compared

SHOWN = 12  # hexadecimal digits of a digest
PLOTTED = 64  # columns of the plot in the terminal
LINES = 13

region_option = click.option("--region", "region", metavar="ID", help="Which region. [default: the only one in this home]")
measure_option = click.option("--measure", "measure", metavar="NAME", help="Which measure. [default: the region's first]")


@click.group()
def command() -> None:
    """Experiments: a challenger serves some of the cells in some blocks of time, and its loss is compared with the champion's."""


@command.command("start")
@click.argument("model", metavar="MODEL")
@options.home
@click.option("--name", default="", metavar="ID", help="Its id. [default: the first slot and the model's first digits]")
@click.option("--share", default=0.5, show_default=True, type=options.Number(0.001, 0.999), help="Share of the cells, in every block.")
@click.option("--block", "block_min", default=60, show_default=True, type=click.IntRange(1), metavar="MIN", help="Length of a block.")
@click.option(
    "--letters",
    "levels",
    default=0,
    show_default=True,
    type=click.IntRange(0, 3),
    help="Assign groups of cells that differ in so many last letters together.",
)
@click.option(
    "--washout",
    "washout_min",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    metavar="MIN",
    help="Start of each block to leave out.",
)
@click.option("--days", default=28, show_default=True, type=click.IntRange(1, 366), help="Longest duration.")
@click.option(
    "--loss", type=click.Choice(["absolute", "square"]), default="absolute", show_default=True, help="Of the median, or of the mean."
)
@click.option("--seed", default="", metavar="TEXT", help="Of the assignment. [default: region, measure and id]")
@click.option("--until-decided", is_flag=True, help="End it as soon as a difference is certain; needs a run with --learn.")
@options.author
@options.reason
def start_command(
    model: str,
    home: str | None,
    name: str,
    share: float,
    block_min: int,
    levels: int,
    washout_min: int,
    days: int,
    loss: str,
    seed: str,
    until_decided: bool,
    author: str,
    reason: str,
) -> None:
    """Start an experiment: the trained MODEL serves a share of the cells, assigned anew in each block of time.

    MODEL is the beginning of its digest, as `ridecast models` shows it. The experiment is a record in the control log, which the
    forecaster obeys from the next block on. It ends by `ridecast experiment stop`, at its longest duration, or when the champion
    changes or is held.

    Example: ridecast experiment start 3f2a9c --home home --share 0.2 --days 14
    """
    from dataflows.jobs.experiments import Plan, start_experiment
    from dataflows.stream.stores import open_stores
    from schemas.times import local_iso

    plan = Plan(
        share_milli=round(1000 * share),
        block_min=block_min,
        levels=levels,
        washout_min=washout_min,
        days=days,
        loss=loss,
        until_decided=until_decided,
        name=name,
        seed=seed,
    )
    stores = open_stores(options.settings_of_home(home=home))
    try:
        started, region = start_experiment(stores, model, plan, author=author, reason=reason)
    finally:
        stores.close()
    first, last = (local_iso(slot * region.slot_us, region) for slot in (started.start_slot, started.until_slot))
    click.echo(
        f"{started.region} {started.measure}: experiment {started.experiment}: model {started.challenger.hex()[:SHOWN]} (B) serves "
        f"{share:.1%} of the cells beside {started.champion.hex()[:SHOWN]} (A), from {first} until {last} at the latest"
    )


@command.command("stop")
@options.home
@region_option
@measure_option
@options.author
@options.reason
def stop_command(home: str | None, region: str | None, measure: str | None, author: str, reason: str) -> None:
    """End the experiment that runs: the champion serves every cell again, from the next close on. What was found is recorded.

    Example: ridecast experiment stop --home home --reason "seen enough"
    """
    from dataflows.jobs.experiments import stop_experiment
    from dataflows.jobs.promoting import measures_of
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home))
    try:
        name, measures = measures_of(stores, region, measure)
        stopped = stop_experiment(stores, name, measures[0], author=author, reason=reason)
    finally:
        stores.close()
    click.echo(
        f"{stopped.region} {stopped.measure}: experiment {stopped.experiment} stopped after {stopped.blocks} blocks: {stopped.finding}"
    )


@command.command("status")
@options.home
@region_option
@measure_option
@click.option("--name", metavar="ID", help="Which experiment. [default: the newest]")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Also write this as JSON.")
@click.option(
    "--plot", "plot_path", type=click.Path(dir_okay=False, path_type=Path), help="Also draw the interval into this file (PNG, SVG or PDF)."
)
def status_command(
    home: str | None, region: str | None, measure: str | None, name: str | None, json_path: Path | None, plot_path: Path | None
) -> None:
    """Show what an experiment says so far, computed again from the ledger.

    The interval is valid after every block, however often it is looked at. It is of the change of the loss by the challenger (B),
    relative to the champion's (A): below 0 the challenger is better.

    Example: ridecast experiment status --home home --plot experiment.png
    """
    from dataflows.jobs.experiments import Measuring
    from dataflows.jobs.promoting import measures_of
    from dataflows.stream.stores import open_stores
    from ledger.views.experiments import experiment_named, experiments_of
    from schemas.records.records import region_log

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        place, measures = measures_of(stores, region, measure)
        of_place = [one for one in experiments_of(stores.ledger) if (one.started.region, one.started.measure) == (place, measures[0])]
        if name is None and not of_place:
            click.echo(f"{place} {measures[0]}: no experiment has been started")
            return
        chosen = of_place[-1] if name is None else experiment_named(stores.ledger, place, measures[0], name)
        measuring = Measuring(stores, chosen.started)
        found = measuring.compared(stores.ledger.head(region_log(place)).size)
        state = chosen.state(_next_slot(stores, place))
    finally:
        stores.close()
    _show(chosen, found, measuring.region, state)
    document = as_json(chosen, found, measuring.region, state)
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    if plot_path is not None:
        from ridecast.experiment_drawing import plot_sequence

        plot_sequence(chosen.started, found, measuring.region, plot_path)
        click.echo(f"written: {plot_path}")


def _next_slot(stores: "Stores", region: str) -> int:
    from dataflows.jobs.learn import next_slot
    from ledger.views.regions import bootstrap_of
    from schemas.records.records import region_log

    return next_slot(stores, bootstrap_of(stores.ledger, region), stores.ledger.head(region_log(region)).size)


def _show(chosen: "PastExperiment", found: "Compared", region: "Region", state: str) -> None:
    from ridecast.experiment_drawing import sketch
    from state.decide.arm_losses import LOSSES, PARTS

    started = chosen.started
    click.echo(f"{started.region} {started.measure}: experiment {started.experiment} {state}")
    table = Table("min", "arm", "model", "forecasts", "rides", "absolute error", "(baseline)", "squared error", "(baseline)")
    for i, horizon_min in enumerate(region.horizons_min):
        for arm, (letter, model) in enumerate((("A, champion", started.champion), ("B, challenger", started.challenger))):
            total = dict(zip(PARTS, found.totals[i, arm].tolist(), strict=True))
            count = max(total["forecasts"], 1.0)
            errors = [f"{total[part] / count:.4f}" for part in PARTS[2:]]
            table.add_row(str(horizon_min), letter, model.hex()[:SHOWN], f"{total['forecasts']:,.0f}", f"{total['rides']:,.0f}", *errors)
    output_console().print(table)
    click.echo(f"{found.sentence()} (change of the {LOSSES[started.loss]})")
    for line in sketch(found, PLOTTED, LINES):
        click.echo(line)


def as_json(chosen: "PastExperiment", found: "Compared", region: "Region", state: str) -> dict[str, object]:
    """An experiment and what it says, with digests as text; bounds that are infinite are null."""
    from dataclasses import asdict

    from state.decide.arm_losses import PARTS

    fields = {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(chosen.started).items()}
    looks = zip(found.blocks.tolist(), found.sequence.mean, found.sequence.lower, found.sequence.upper, strict=True)
    return {
        **fields,
        "index": chosen.index,
        "state": state,
        "finding": found.finding.value,
        "sentence": found.sentence(),
        "looks": [
            {"block": block, "change": float(mean), "lower": _finite(low), "upper": _finite(high)} for block, mean, low, high in looks
        ],
        "arms": [
            {"horizon_min": horizon_min, "arm": arm, **dict(zip(PARTS, found.totals[i, which].tolist(), strict=True))}
            for i, horizon_min in enumerate(region.horizons_min)
            for which, arm in enumerate(("champion", "challenger"))
        ],
    }


def _finite(value: float) -> float | None:
    return float(value) if abs(value) != float("inf") else None
