"""`ridecast status`: shows what a home holds."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.table import Table

from ridecast import options
from ridecast.screen import output_console
from schemas.records.records import CONTROL_LOG, ForecastIssued, ModelTrained, SlotClosed, region_log
from schemas.regions import Region

if TYPE_CHECKING:
    from dataflows.stream.stores import Stores

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
    from ridecast.commands.models import span_of
    from ridecast.intake_table import example_lines, intake_table
    from schemas.times import slot_end
    from state.decide.parameter_table import publishing_off

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
            if publishing_off(in_force.parameters, region.id):
                state = "; ".join(filter(None, (state, "publishing is off (`ridecast params list`)")))
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
        by_name: dict[str, Region] = {region.id: region for region in definitions}
        models = Table("model", "region", "measure", "algorithm", "trained on", "rows", title="models")
        for entry in ledger.scan(CONTROL_LOG, kind=ModelTrained):
            record = entry.record
            models.add_row(
                record.model.hex()[:12],
                record.region,
                record.measure,
                record.algorithm,
                span_of(record, by_name.get(record.region)),
                f"{record.rows:,}",
            )
        console.print(models)
        if (experiments := experiments_table(stores, definitions)) is not None:
            console.print(experiments)
        for region in definitions:
            for measure in region.measures:
                if (errors := errors_table(stores, region, measure)) is not None:
                    console.print(errors)
        if said := jobs_line(stores):
            console.print(said, markup=False, highlight=False, soft_wrap=True)
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


def jobs_line(stores: "Stores") -> str:
    """How many jobs there are, which is due next, and which have failed last; empty without jobs."""
    from dataflows.jobs.job_log import job_log
    from ridecast.commands.jobs import next_text
    from state.decide.job_runs import RunState
    from state.decide.schedule import next_due_us, why_unusable

    jobs = job_log(stores.ledger).latest().jobs.values()
    if not jobs:
        return ""
    now_us = time.time_ns() // 1000
    paused = sum(job.paused is not None for job in jobs)
    waiting = [job for job in jobs if job.paused is None and job.definition.cron and not why_unusable(job.definition)]
    due = [(next_due_us(job.definition, max(job.done.at_us, now_us)) or 1 << 62, job.definition) for job in waiting]
    parts = [f"jobs: {len(jobs)} defined"] + ([f"{paused} paused"] if paused else [])
    if due:
        at_us, first = min(due, key=lambda pair: pair[0])
        parts.append(f"next: {first.name} at {next_text(first, at_us - 1)}")
    failed = [job.definition.name for job in jobs if job.run is not None and job.run.state in (RunState.FAILED, RunState.RETRYING)]
    parts += [f"failed last: {', '.join(failed)} (`ridecast jobs history` says why)"] if failed else []
    return "; ".join(parts)


def experiments_table(stores: "Stores", regions: Sequence[Region]) -> Table | None:
    """The newest experiment of each region and measure; None if there was none. What it found: `ridecast experiment status`."""
    from ledger.views.experiments import experiments_of
    from schemas.times import slot_end

    newest = {(one.started.region, one.started.measure): one for one in experiments_of(stores.ledger)}
    table = Table(
        "region", "measure", "experiment", "A, champion", "B, challenger", "share of B", "since", "state", title="experiments (newest)"
    )
    for region in regions:
        closed = stores.ledger.find(region_log(region.id), SlotClosed)
        for measure in region.measures:
            if (one := newest.get((region.id, measure))) is None:
                continue
            started = one.started
            models = [model.hex()[:12] for model in (started.champion, started.challenger)]
            since = f"{slot_end(region, started.start_slot - 1):%Y-%m-%d %H:%M %Z}"
            state = one.state(closed.slot + 1 if closed is not None else started.start_slot)
            table.add_row(region.id, measure, started.experiment, *models, f"{started.share_milli / 10:g} %", since, state)
    return table if table.row_count else None


def errors_table(stores: "Stores", region: Region, measure: str) -> Table | None:
    """Errors of the last day that has settled, busy cells first; None before a forecast has settled."""
    from ledger.views.recent import HOURS, newest_settled, recent_issues
    from ledger.views.regions import bootstrap_of
    from state.forecast.live_errors import errors_by_band

    newest = stores.ledger.find(region_log(region.id), SlotClosed)
    if newest is None:
        return None
    first = bootstrap_of(stores.ledger, region.id).start_slot
    issues = recent_issues(stores.ledger, stores.blobs, region, measure, newest_settled(region, newest.slot), first)
    rows = errors_by_band(region, issues)
    if not rows:
        return None
    title = f"{region.id} {measure}: errors of the last {HOURS} h that have settled (baseline)"
    table = Table("cells", "min", "number", "rides", "RMSE of the mean", "WAPE of the median", title=title)
    for row in rows:
        rmse, wape = (
            "" if own is None or base is None else f"{own:.3f} ({base:.3f})"
            for own, base in ((row.rmse_mean, row.baseline_rmse_mean), (row.wape_median, row.baseline_wape_median))
        )
        table.add_row(row.band, str(row.horizon_min), f"{row.cells:,}", f"{row.rides:,}", rmse, wape)
    return table
