"""`ridecast ledger replay`: recomputes past slots from rides and models, and compares them with the record."""

import json
import re
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from ridecast import options
from ridecast.screen import output_console, progress_bars
from schemas.errors import RidecastError, UsageError
from schemas.times import iso, local_iso, parse_target

if TYPE_CHECKING:
    from dataflows.audit.replay_report import Replay, SlotReplay
    from schemas.configuration.settings import Settings
    from schemas.regions import Region

REPRODUCED, DIFFERENT, COULD_NOT_RUN = 0, 1, 2
MOST_LINES = 20  # slots that are listed individually


class Share(click.ParamType[float]):
    """A share such as 5%."""

    name = "percent"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", str(value))
        share = float(found[1]) / 100 if found else 0.0
        if not 0.0 < share <= 1.0:
            self.fail(f"expected a share above 0% up to 100%, such as 5%, got {value!r}", param, ctx)
        return share


@click.command()
@options.home
@click.option("--region", "name", required=True, metavar="NAME", help="A region that is bootstrapped here.")
@options.rides
@click.option("--from", "from_text", metavar="TIME", help="First slot: a date, or the slot's start, in local time unless it has a zone.")
@click.option("--to", "to_text", metavar="TIME", help="End (exclusive), in the same form. [default: after the last closed slot]")
@click.option("--sample", "share", type=Share(), default="100%", show_default=True, help="Share of slots whose forecasts are compared.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the sample; auditors should choose their own.")
@click.option("--json", "as_json", is_flag=True, help="Print every slot, and the summary, as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    home: str | None,
    name: str,
    rides: str | None,
    from_text: str | None,
    to_text: str | None,
    share: float,
    seed: int,
    as_json: bool,
) -> None:
    """Recompute past slots and compare them with the record.

    Counts are computed from the rides, features from these counts, forecasts from these features and the models that
    the record names; snapshots and stored counts of these slots are not used. Slots before --from are folded from the
    recorded counts. Without rides, or where they are no longer available, recorded counts are used, and reported.

    Numbers must be identical if the record was written in this environment (interpreter, wheels, CPU, time zones);
    if it was written in another one, they may differ by one unit of 1/1000 ride.

    Exit codes: 0 reproduced, 1 different, 2 could not run.

    \b
    Example: ridecast ledger replay --home home --region nyc --rides rides \\
                 --from 2014-05-07 --to 2014-05-08 --sample 5%
    """
    from dataflows.stream.start import quiet_threads

    quiet_threads()
    settings = options.settings_of_home(home=home, rides=rides)
    try:
        region, found = _replay(settings, name, (from_text, to_text), share, seed)
    except RidecastError as error:
        click.echo(f"ridecast: {error}", err=True)
        ctx.exit(COULD_NOT_RUN)
    if as_json:
        click.echo(json.dumps(json_of(found, region), indent=2))
    else:
        _show(found, region)
    ctx.exit(REPRODUCED if found.good else DIFFERENT)


def _replay(settings: "Settings", name: str, bounds: tuple[str | None, str | None], share: float, seed: int) -> "tuple[Region, Replay]":
    from dataflows.audit.replay import replay_region
    from dataflows.connectors.sources import open_rides
    from dataflows.stream.stores import open_stores
    from ledger.views.regions import region_of
    from schemas.configuration.settings import parse_rides

    if settings.rides:
        parse_rides(settings.rides)
    source = open_rides(settings.rides, settings.rides_client) if settings.rides else None
    stores = open_stores(settings, reading=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}/{task.total:,} slots"), TimeRemainingColumn())
    try:
        region = region_of(stores.ledger, name)
        first, until = (_slot(option, text, region) for option, text in zip(("--from", "--to"), bounds, strict=True))
        with progress_bars(*columns) as progress:
            task = progress.add_task("folding earlier slots", total=1)

            def on_slot(done: int, total: int, slot: "SlotReplay | None") -> None:
                what = "folding earlier slots" if slot is None else "replaying"
                progress.update(task, completed=done, total=total, description=what)

            found = replay_region(
                stores.ledger, stores.blobs, stores.environment, name, source, first, until, share=share, seed=seed, on_slot=on_slot
            )
            return region, found
    finally:
        stores.close()
        if source is not None:
            source.close()


def _slot(option: str, text: str | None, region: "Region") -> int | None:
    if text is None:
        return None
    try:
        return parse_target(text, region) // region.slot_us
    except UsageError as cause:
        raise UsageError(f"{option}: {cause}") from None


# --- output --------------------------------------------------------------------------------------


def _show(found: "Replay", region: "Region") -> None:
    for slot in [slot for slot in found.slots if slot.differences][:MOST_LINES]:
        click.echo(f"slot {slot.slot} ({local_iso(slot.slot * region.slot_us, region)}): {slot.verdict}")
        click.echo(f"  {slot.differences[0]}")
        for difference in slot.differences[1:3]:
            click.echo(f"  also {difference}")
        if len(slot.differences) > 3:
            click.echo(f"  and {len(slot.differences) - 3} more")
    left = sum(bool(slot.differences) for slot in found.slots) - MOST_LINES
    if left > 0:
        click.echo(f"and {left:,} more slots; --json names them all")
    table = Table("what", "found", title=f"{found.region}: {'REPRODUCED' if found.good else 'DIFFERENT'}", title_justify="left")
    for what, text in rows(found, region):
        table.add_row(what, text)
    output_console().print(table)


def rows(found: "Replay", region: "Region") -> list[tuple[str, str]]:
    """The summary, line by line."""
    from dataflows.audit.replay_report import Verdict

    total = len(found.slots)
    times = [local_iso(slot * region.slot_us, region) for slot in (found.from_slot, found.until_slot)]
    out = [("slots", f"{total:,}: {times[0]} to {times[1]}")]
    out += [(verdict.value, f"{found.verdicts[verdict]:,}") for verdict in Verdict]
    from_rides = sum(slot.from_rides for slot in found.slots)
    out.append(("counts", f"{from_rides:,} from the rides, {total - from_rides:,} as recorded"))
    out += [("note", note) for note in found.notes]
    out.append(("forecasts", f"{sum(slot.whole for slot in found.slots):,} recomputed"))
    out.append(("environment", _environment(found)))
    out.append(("time", f"{found.replay_s:.1f} s for these slots, {found.fold_s:.1f} s for the {found.folded_slots:,} before"))
    return out


def _environment(found: "Replay") -> str:
    ours = sum(slot.ours for slot in found.slots)
    if ours == len(found.slots):
        return f"{found.environment.hex()[:12]}, which wrote them: numbers must be identical"
    others = ", ".join(sorted(digest.hex()[:12] for digest in found.recorded_in - {found.environment}))
    rule = "one unit of difference is allowed" if not ours else f"{ours:,} slots must be identical, others within one unit"
    return f"{found.environment.hex()[:12]}; others may have written: {others}; {rule}"


def json_of(found: "Replay", region: "Region") -> dict[str, object]:
    """The replay, ready for JSON."""
    from dataflows.audit.replay_report import Verdict

    def json_of_slot(slot: "SlotReplay") -> dict[str, object]:
        apart = [
            {
                "arrow": difference.arrow.value,
                "entry": difference.index,
                "where": difference.where,
                "recorded": difference.recorded,
                "recomputed": difference.recomputed,
                "units": difference.units if difference.units >= 0 else None,
            }
            for difference in slot.differences
        ]
        return {
            "slot": slot.slot,
            "start": iso(slot.slot * region.slot_us),
            "entry": slot.index,
            "verdict": slot.verdict.value,
            "reproduced": slot.good,
            "counts_from_rides": slot.from_rides,
            "forecasts_recomputed": slot.whole,
            "same_environment": slot.ours,
            "differences": apart,
        }

    return {
        "region": found.region,
        "from": iso(found.from_slot * region.slot_us),
        "to": iso(found.until_slot * region.slot_us),
        "reproduced": found.good,
        **{verdict.value.replace(" ", "_"): found.verdicts[verdict] for verdict in Verdict},
        "notes": found.notes,
        "environment": found.environment.hex(),
        "recorded_in": sorted(digest.hex() for digest in found.recorded_in),
        "folded_slots": found.folded_slots,
        "fold_s": round(found.fold_s, 3),
        "replay_s": round(found.replay_s, 3),
        "slots": [json_of_slot(slot) for slot in found.slots],
    }
