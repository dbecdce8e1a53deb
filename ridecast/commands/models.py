"""`ridecast models`: shows every trained model, what it is, and who decided so."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from ridecast import options
from ridecast.screen import output_console
from schemas.regions import Region
from state.forecast.routes import GLOBAL_SCOPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledger.views.model_story import MeasureStory, ModelStory
    from schemas.records.records import ModelTrained

SHOWN = 12  # hexadecimal digits of a digest


@click.command()
@options.home
@click.option("--region", "region", metavar="ID", help="Only this region. [default: all of this home]")
@click.option("--json", "json_path", type=options.OutFile(), metavar="FILE", help="Also write this as JSON, with the evidence.")
@click.option("--rebuild-mlflow", is_flag=True, help="First write into MLflow what it lacks: runs, versions, aliases, from the ledger.")
def command(home: str | None, region: str | None, json_path: Path | None, rebuild_mlflow: bool) -> None:
    """Show the trained models of each region and measure: champion, challenger, and what was decided and why.

    Example: ridecast models --home home
    """
    from dataflows.jobs.promoting import all_stories
    from dataflows.stream.stores import open_stores
    from ledger.views.regions import bootstrap_of, bootstrapped_in, defined_by

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        if rebuild_mlflow:
            from dataflows.jobs.retrack import retrack

            click.echo(f"MLflow: {retrack(stores)} trainings added, aliases set as the ledger has them")
        if region not in (None, GLOBAL_SCOPE):
            bootstrap_of(stores.ledger, region)
        stories = {place: story for place, story in all_stories(stores).items() if region in (None, place[0])}
        definitions = {name: defined_by(bootstrap_of(stores.ledger, name)) for name in bootstrapped_in(stores.ledger)}
        slot_us = {place: slot_us_of(story, definitions) for place, story in stories.items()}
    finally:
        stores.close()
    for story in stories.values():
        output_console().print(table_of(story, definitions.get(story.region), parent_of(story.region, definitions)))
        if story.held is not None:
            click.echo(f"held by {story.held.author or 'unknown'}: {story.held.reason}; nothing is promoted or rolled back but by command")
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        document = [as_json(story, slot_us[story.region, story.measure]) for story in stories.values()]
        json_path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def slot_us_of(story: "MeasureStory", definitions: "Mapping[str, Region]") -> int:
    """Length of the slots of a region, or of those that a global model was trained on, microseconds."""
    if story.region in definitions:
        return definitions[story.region].slot_us
    return next((stated_slot_us(model.trained) for model in story.models.values() if model.trained is not None), 0)


def stated_slot_us(trained: "ModelTrained") -> int:
    """Length of the slots that a model of several regions was trained on, microseconds."""
    from dataflows.stream.routing import SLOT_MIN
    from schemas.regions import US_PER_MIN

    return int(trained.parameters.get(SLOT_MIN, "5")) * US_PER_MIN


def parent_of(region: str, definitions: "Mapping[str, Region]") -> str:
    """What stands in for the models of a region, in words."""
    if region == GLOBAL_SCOPE:
        return "; stands in for every region"
    parent = definitions[region].parent if region in definitions else None
    return f"; parent {parent}" if parent else ""


def table_of(story: "MeasureStory", region: Region | None, parent: str = "") -> Table:
    """One row per model, newest first."""
    title = f"{story.region} {story.measure}: " + (
        f"champion {story.champion.hex()[:SHOWN]}" if story.champion else "no champion, served by the baseline"
    )
    title += parent
    table = Table("model", "what it is", "trained on", "rows", "RMSE (baseline)", "decided by", "why", title=title)
    for model in reversed(story.models.values()):
        trained = model.trained
        span = span_of(trained, region) if trained else "not on record"
        why, author = ("", "") if model.last is None else (model.last.reason, model.last.author)
        rows = f"{trained.rows:,}" if trained else ""
        table.add_row(model.model.hex()[:SHOWN], model.standing.value, span, rows, errors_of(model), Text(author), Text(why))
    return table


def span_of(trained: "ModelTrained", region: Region | None) -> str:
    """What a model was trained on, in the region's local time; in UTC if several regions trained it."""
    from schemas.times import iso, slot_end

    if region is None:
        slot_us = stated_slot_us(trained)
        return f"{iso(trained.first_slot * slot_us)} to {iso(trained.until_slot * slot_us)}"
    first, until = (slot_end(region, slot - 1) for slot in (trained.first_slot, trained.until_slot))
    return f"{first:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}"


def errors_of(model: "ModelStory") -> str:
    """RMSE in the holdout per horizon, with the baseline's. Busy cells decide it; a WAPE over all cells would say nothing."""
    metrics = model.trained.metrics if model.trained else {}
    horizons = sorted((int(name.removeprefix("rmse_")) for name in metrics if name.startswith("rmse_")), key=int)
    return ", ".join(
        f"{horizon} min {float(metrics[f'rmse_{horizon}']):.3f} ({float(metrics.get(f'baseline_rmse_{horizon}', 'nan')):.3f})"
        for horizon in horizons
    )


def as_json(story: "MeasureStory", slot_us: int) -> dict[str, object]:
    """A story with digests and times as text, and every decision with its evidence."""
    from dataclasses import asdict

    from schemas.times import iso

    def plain(index: int, record: object) -> dict[str, object]:
        fields = asdict(record)  # type: ignore[call-overload]  # a record
        return {"index": index, **{name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}}

    return {
        "region": story.region,
        "measure": story.measure,
        "champion": story.champion.hex() or None,
        "challenger": story.challenger.hex() or None,
        "previous": story.previous.hex() or None,
        "held": story.held.reason if story.held else None,
        "models": [
            {
                "model": model.model.hex(),
                "standing": model.standing.value,
                "trained_from": iso(model.trained.first_slot * slot_us) if model.trained else None,
                "trained_until": iso(model.trained.until_slot * slot_us) if model.trained else None,
                "rows": model.trained.rows if model.trained else None,
                "metrics": {name: float(value) for name, value in model.trained.metrics.items()} if model.trained else {},
            }
            for model in story.models.values()
        ],
        "promotions": [plain(index, record) for index, record in story.promotions],
        "rejections": [plain(index, record) for index, record in story.rejections],
    }
