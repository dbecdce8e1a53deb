"""`ridecast status`: shows what a home holds."""

import time

import click
from rich.table import Table

from ridecast import options
from ridecast.screen import output_console
from schemas.records.records import CONTROL_LOG, ForecastIssued, ModelTrained, SlotClosed, region_log

NEWEST = 10  # sentences about the ride log of each region


@click.command()
@options.home
def command(home: str | None) -> None:
    """Show what a home holds: regions, newest slots, models, logs.

    Example: ridecast status --home home
    """
    from dataflows.stream.stores import open_stores
    from ledger.views.control import ControlView
    from ledger.views.online.refresh import state_of
    from ledger.views.regions import bootstrap_of, bootstrapped_in, defined_by, halt_of, regions_of
    from ledger.views.source_news import NEWS, sentence
    from ridecast.intake_table import example_lines, intake_table
    from schemas.times import slot_end

    settings = options.settings_of_home(home=home)
    stores = open_stores(settings, reading=True)
    try:
        ledger = stores.ledger
        logs = sorted(ledger.logs())
        in_force = ControlView(ledger).latest()
        regions = Table(
            "region", "bootstrapped until", "history rides", "newest slot ends", "status", "champion", title=f"home: {settings.home}"
        )
        definitions = []
        for name in bootstrapped_in(ledger):
            boot = bootstrap_of(ledger, name)
            region = defined_by(boot)
            definitions.append(region)
            closed = ledger.find(region_log(name), SlotClosed)
            ends = f"{slot_end(region, closed.slot):%Y-%m-%d %H:%M %Z}" if closed is not None else ""
            champions = []
            for measure in region.measures:
                model = in_force.champion(region.id, measure)
                champions.append(f"{measure}: {model.hex()[:12] if model else 'baseline only'}")
                issued = ledger.entry(region_log(name), ForecastIssued, closed.slot, measure) if closed is not None else None
                if issued is not None and (said := served_in_place(issued.record, measure)):
                    champions.append(said)
            if (held := in_force.held.get(region.id)) is not None:
                champions.append(f"held since slot {held.slot}: {held.reason}")
            state = str(closed.status) if closed else ""
            if (halted := halt_of(ledger, region.id)) is not None:
                state = f"halted: {halted.reason}"
            regions.add_row(region.id, boot.until, f"{boot.rides:,}", ends, state, "; ".join(champions))
        console = output_console()
        console.print(regions)
        news = [
            sentence(found.record) for name in regions_of(ledger) for found in ledger.read_kinds(region_log(name), 0, None, NEWS)[-NEWEST:]
        ]
        for said in news:
            console.print(said, markup=False, highlight=False, soft_wrap=True)
        if (intake := intake_table(ledger, settings.home, definitions, time.time_ns() // 1000)) is not None:
            console.print(intake)
        for line in example_lines(settings.home):
            console.print(line, markup=False, highlight=False)
        if settings.redis:
            from dataflows.stream.publish_process import open_online_store  # imports the broker's client too

            store = open_online_store(settings)
            assert store is not None  # there is a setting
            for region in definitions:
                console.print(f"online store, {region.id}: {state_of(ledger, store, region)}", markup=False, highlight=False)
        models = Table("model", "region", "measure", "algorithm", "trained on", "rows", title="models")
        for entry in ledger.scan(CONTROL_LOG, kind=ModelTrained):
            record = entry.record
            models.add_row(
                record.model.hex()[:12],
                record.region,
                record.measure,
                record.algorithm,
                f"slots {record.first_slot} to {record.until_slot}",
                f"{record.rows:,}",
            )
        console.print(models)
        sizes = Table("log", "entries", "root", title="logs")
        for log in logs:
            head = ledger.head(log)
            sizes.add_row(log, f"{head.size:,}", head.root.hex()[:16])
        console.print(sizes)
    finally:
        stores.close()


def served_in_place(issued: ForecastIssued, measure: str) -> str:
    """What served a measure instead of the region's own model, and why; empty if it served, or if there is none anywhere.

    >>> from types import SimpleNamespace
    >>> served_in_place(SimpleNamespace(models=(), roles=(), reasons={"champion": "damaged"}), "requests")
    "no trained model serves requests: the region's own model is damaged"
    """
    from state.forecast.routes import OWNER, Role, role_of, words

    role = role_of(issued)
    if role is Role.CHAMPION or (role is None and set(issued.reasons.values()) <= {"no-model", "held"}):
        return ""
    who = f"{OWNER[role]} {issued.models[0].hex()[:12]} serves" if role is not None else "no trained model serves"
    return f"{who} {measure}: {words(issued.reasons)}"
