"""`ridecast ledger show`: shows one entry in full, or what a region knew at a time."""

import json
from typing import TYPE_CHECKING

import click
from rich.table import Table

from ridecast import options
from ridecast.commands.ledger.log_choice import log_option, pick_log, plain
from ridecast.screen import output_console
from schemas.errors import NotFound, UsageError
from schemas.records.record_codec import decode_if_known
from schemas.records.records import region_in
from schemas.times import iso, local_iso, parse_time

if TYPE_CHECKING:
    from ledger.store.log import Ledger
    from ledger.views.known import Known


@click.command()
@options.home
@log_option
@click.option("--at", "at_text", metavar="TIME", help="Event time; without a zone it is the region's local time.")
@click.option("--region", "name", metavar="NAME", help="Region of --at. [default: the only one in this home]")
@click.option("--json", "as_json", is_flag=True, help="Print the state as JSON; an entry always is JSON.")
@click.argument("index", type=click.IntRange(0), required=False)
def command(home: str | None, log_name: str | None, at_text: str | None, name: str | None, as_json: bool, index: int | None) -> None:
    """Show one entry in full as JSON; or with --at, what a region knew at a time.

    A slot is known from its end plus the issue lateness: at 18:02 the slot that ended at 18:00 is known.

    \b
    Example: ridecast ledger show 0 --home home --log region/nyc
             ridecast ledger show --at 2014-05-07T18:02 --home home --region nyc
    """
    from dataflows.stream.stores import open_stores

    if (index is None) == (at_text is None):
        raise UsageError("ledger show: expected either the index of an entry or --at TIME")
    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        if at_text is None:
            assert index is not None
            click.echo(json.dumps(_entry(stores.ledger, log_name, index), indent=2))
        else:
            known = _known(stores.ledger, f"region/{name}" if name else log_name, at_text)
            if as_json:
                click.echo(json.dumps(json_of(known), indent=2))
            else:
                _show(known)
    finally:
        stores.close()


def _entry(ledger: "Ledger", log_name: str | None, index: int) -> dict[str, object]:
    log = pick_log(ledger, log_name)
    size = ledger.head(log).size
    if index >= size:
        raise NotFound(f"{log}: expected an index below {size}, got {index}")
    [stored] = ledger.read(log, index, index + 1)
    record = plain(decode_if_known(stored.payload))
    return {"log": log, "index": index, "kind": stored.kind, "bytes": len(stored.payload), "record": record}


def _known(ledger: "Ledger", log_name: str | None, at_text: str) -> "Known":
    from ledger.views.known import known_at
    from ledger.views.regions import region_of

    log = pick_log(ledger, log_name) if log_name is None else log_name
    name = region_in(log)
    if name is None:
        raise UsageError(f"--at: expected a region's log, got {log!r}: name one with --region")
    region = region_of(ledger, name)
    try:
        at_us = parse_time(at_text, region)
    except UsageError as cause:
        raise UsageError(f"--at: {cause}") from None
    return known_at(ledger, name, at_us)


def json_of(known: "Known") -> dict[str, object]:
    """The state, ready for JSON."""
    slot_us = known.region.slot_us
    closed = known.closed
    return {
        "region": known.region.id,
        "at": iso(known.at_us),
        "log_size": known.size,
        "log_ends_before": known.ended,
        "newest_slot": None
        if closed is None
        else {
            "slot": closed[1].slot,
            "entry": closed[0],
            "status": closed[1].status,
            "start": iso(closed[1].slot * slot_us),
            "rides": sum(sum(table.counts) for table in closed[1].counts) if not closed[1].counts_blob else None,
            "excused": [cut.partition for cut in closed[1].partitions if cut.excused],
            "cuts": {str(cut.partition): cut.cut for cut in closed[1].partitions},
        },
        "open_slots": {"first": known.open_slots[0], "until": known.open_slots[1]},
        "universe": {"version": known.universe.version if known.universe else 0, "cells": known.universe.cells if known.universe else 0},
        "rides_counted": known.counted,
        "rides_bootstrapped": known.boot.rides,
        "control": {"size": known.control_size, "root": known.control_root.hex()},
        "fold_version": known.fold_version,
        "champions": {
            found.measure: {
                "model": found.promoted.model.hex(),
                "algorithm": found.trained.algorithm if found.trained else None,
                "promoted_by": found.index,
                "reason": found.promoted.reason,
            }
            for found in known.champions
        },
        "issues": {
            issued.measure: {"entry": index, "target": iso(issued.target_us), "cells": issued.cells, "blob": issued.blob.hex()}
            for index, issued in known.issues
        },
    }


def _show(known: "Known") -> None:
    table = Table("what", "as known then", title=f"{known.region.id} at {local_iso(known.at_us, known.region)}", title_justify="left")
    for what, text in rows(known):
        table.add_row(what, text)
    output_console().print(table)


def rows(known: "Known") -> list[tuple[str, str]]:
    """The state, line by line."""
    region, slot_us = known.region, known.region.slot_us
    out = []
    if known.closed is None:
        out.append(("newest closed slot", "none yet"))
    else:
        index, closed = known.closed
        excused = [str(cut.partition) for cut in closed.partitions if cut.excused]
        more = f"; partitions {', '.join(excused)} excused" if excused else ""
        end = local_iso((closed.slot + 1) * slot_us, region)
        out.append(("newest closed slot", f"{closed.slot}, which ended {end}: {closed.status}{more} (entry {index})"))
    first, until = known.open_slots
    out.append(("open slots", f"{until - first}: {first} to {until - 1}" if until > first else "none"))
    if known.ended:
        out.append(("note", "the log ends before that time; this is its newest state"))
    out.append(("rides", f"{known.counted:,} counted live, after {known.boot.rides:,} of the bootstrap until {known.boot.until}"))
    if known.universe is not None:
        out.append(("universe", f"version {known.universe.version}, {known.universe.cells:,} cells"))
    for measure in region.measures if known.closed is not None else ():
        found = next((champion for champion in known.champions if champion.measure == measure), None)
        if found is None:
            out.append((f"champion of {measure}", "none: the baseline is served"))
            continue
        how = f", {found.trained.algorithm}" if found.trained else ""
        text = f"{found.promoted.model.hex()[:12]}{how}; promoted by control entry {found.index}: {found.promoted.reason}"
        out.append((f"champion of {measure}", text))
    for index, issued in known.issues:
        target = local_iso(issued.target_us, region)
        out.append((f"newest issue of {issued.measure}", f"entry {index}, target {target}, {issued.cells:,} cells"))
    out.append(("fold", f"version {known.fold_version}"))
    out.append(("control log", f"{known.control_size:,} entries, root {known.control_root.hex()[:16]}"))
    out.append(("region's log", f"{known.size:,} entries"))
    return out
