"""`ridecast ledger trace`: shows the lineage of one served number."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.tree import Tree

from ridecast import options
from ridecast.commands.ledger.log_choice import plain
from ridecast.screen import output_console
from schemas.times import iso, local_iso

if TYPE_CHECKING:
    from dataflows.audit.trace import Trace
    from ledger.views.writers import Writer

JsonDict = dict[str, object]


@click.command()
@options.home
@click.option("--region", "name", required=True, metavar="NAME", help="A region that is bootstrapped here.")
@click.option("--cell", required=True, metavar="GEOHASH", help="The cell, such as dr5ru7.")
@click.option("--target", required=True, metavar="TIME", help="Start of the window; without a zone it is the region's local time.")
@click.option("--horizon", "horizon_min", required=True, type=click.IntRange(1), metavar="MIN", help="Length of the window, minutes.")
@click.option("--measure", metavar="NAME", help="What was forecast. [default: the region's first]")
@click.option("--json", "as_json", is_flag=True, help="Print the lineage as JSON.")
def command(home: str | None, name: str, cell: str, target: str, horizon_min: int, measure: str | None, as_json: bool) -> None:
    """Show the lineage of one forecast: entry, chunk, counts and their offsets, features, model, promotion, rules, environment.

    Example: ridecast ledger trace --home home --region nyc --cell dr5ru7 --target 2014-05-07T18:00 --horizon 15
    """
    from dataflows.audit.trace import trace
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        found = trace(stores.ledger, stores.blobs, name, cell=cell, target=target, horizon_min=horizon_min, measure=measure)
    finally:
        stores.close()
    lineage = json_of(found)
    if as_json:
        click.echo(json.dumps(lineage, indent=2))
        return
    tree = Tree(headline(found), highlight=False)
    _grow(tree, {branch: content for branch, content in lineage.items() if isinstance(content, dict | list)})
    output_console().print(tree, markup=False)


def headline(found: "Trace") -> str:
    """The number, in one sentence."""
    from schemas.events.cells import cell_text

    served = found.served
    numbers = {name: f"{value / 1000:g}" for name, value in served.numbers.items()}
    cell, window = cell_text(served.cell, found.region.precision), local_iso(found.issued.target_us, found.region)
    return (
        f"{numbers['mean']} {found.issued.measure} in {cell} within {served.horizon_min} min from {window} "
        f"(median {numbers['median']}, {numbers['lower']} to {numbers['upper']}; baseline {numbers['baseline']})"
    )


def _grow(tree: Tree, content: object) -> None:
    """Add a value's parts to a branch."""
    if isinstance(content, dict):
        for name, value in content.items():
            if isinstance(value, dict | list) and value:
                _grow(tree.add(str(name)), value)
            else:
                tree.add(f"{name}: {_text(value)}")
    elif isinstance(content, list):
        for value in content:
            if isinstance(value, dict):
                first, *rest = value.items()
                _grow(tree.add(f"{first[0]}: {_text(first[1])}"), dict(rest))
            else:
                tree.add(_text(value))


def _text(value: object) -> str:
    return "none" if value is None or value in ({}, []) else str(value)


# --- the lineage ----------------------------------------------------------------------------------


def json_of(found: "Trace") -> JsonDict:
    """The lineage, ready for JSON, from the number back to the rides."""
    from schemas.events.cells import cell_text
    from state.forecast.routes import words

    served, issued = found.served, found.issued
    return {
        "region": found.region.id,
        "measure": issued.measure,
        "cell": cell_text(served.cell, found.region.precision),
        "target": iso(issued.target_us),
        "target_local": local_iso(issued.target_us, found.region),
        "horizon_min": served.horizon_min,
        "number": {
            **{f"{name}_milli": value for name, value in served.numbers.items()},
            "made_by": served.fallback.value if served.fallback.value != "none" else "the cell's own model",
            "family": issued.family,
            "why": words(issued.reasons) or None,
        },
        "entry": {
            "log": found.log,
            "index": found.index,
            "chunk": f"{served.chunk} of {served.chunks}",
            "chunk_leaf_hash": served.chunk_hash.hex(),
            "root_of_chunks": issued.root.hex(),
            "blob": issued.blob.hex(),
            "checkpoint": {"size": found.checkpoint.size, "root": found.checkpoint.root.hex()} if found.checkpoint else None,
        },
        "features": {"digest": issued.features_digest.hex(), "universe_version": issued.universe_version, "cells": issued.cells},
        "model": _model(found),
        "counts": _counts(found),
        "rules": _rules(found),
        "environment": [_environment(writer) for writer in found.writers],
    }


def _model(found: "Trace") -> JsonDict | None:
    from dataflows.audit.trace import training_range
    from state.forecast.routes import role_of

    champion = found.champion
    if champion is None:
        return None
    out: JsonDict = {
        "digest": champion.promoted.model.hex(),
        "role": str(role_of(found.issued)),
        "region": champion.promoted.region,
        "online_weight_milli": found.issued.online_weight_milli,
        "promotion": {"log": "control", "entry": champion.index, "alias": champion.promoted.alias, "reason": champion.promoted.reason},
    }
    trained = champion.trained
    if trained is not None:
        first_us, until_us = training_range(trained, found.region)
        out["training"] = {
            "log": "control",
            "entry": champion.trained_index,
            "algorithm": trained.algorithm,
            "from": local_iso(first_us, found.region),
            "until": local_iso(until_us, found.region),
            "slots": f"{trained.first_slot} to {trained.until_slot - 1}",
            "rows": trained.rows,
            "features": len(trained.features),
            "data_digest": trained.data_digest.hex(),
            "trained_on_root": [root.hex() for root in trained.trained_on],
            "parameters": dict(sorted(trained.parameters.items())),
        }
    return out


def _counts(found: "Trace") -> JsonDict:
    counted, boot, slot_us = found.counted, found.bootstrapped[1], found.region.slot_us
    closed = counted.closed
    return {
        "slots": f"{counted.first_slot} to {closed.slot}",
        "from": local_iso(counted.first_slot * slot_us, found.region),
        "until": local_iso((closed.slot + 1) * slot_us, found.region),
        "newest_slot": {"entry": counted.index, "status": closed.status, "control_size": closed.control_size},
        "counted_live": f"{counted.live_slots} slots",
        "offsets": [
            {
                "partition": cut.partition,
                "from": counted.offsets[cut.partition][0],
                "to": counted.offsets[cut.partition][1],
                "excused": cut.excused,
            }
            for cut in closed.partitions
        ],
        "bootstrapped": {
            "slots": max(0, boot.start_slot - counted.first_slot),
            "until": boot.until,
            "rides": boot.rides,
            "counts_blob": boot.counts_blob.hex() or None,
            "files": [{"name": file.name, "sha256": file.sha256.hex()} for file in boot.files],
        },
    }


def _rules(found: "Trace") -> JsonDict:
    index, boot = found.bootstrapped
    region = found.region
    fold: JsonDict = {"version": found.fold_version, "since": "the bootstrap"}
    if found.fold is not None:
        fold["since"] = f"slot {found.fold[1].slot}, control entry {found.fold[0]}"
    return {
        "entry": index,
        "issue_lateness_s": region.issue_lateness_s,
        "settle_lateness_s": region.settle_lateness_s,
        "skew_s": boot.skew_s,
        "dedup_horizon_events": boot.dedup_horizon_events,
        "evidence_events": boot.evidence_events,
        "evidence_window_events": boot.evidence_window_events,
        "hold_s": boot.hold_s,
        "slot_min": region.slot_min,
        "timezone": region.timezone,
        "fold": fold,
        "spread": [plain(spread) for spread in found.issued.spread if spread.horizon_min == found.served.horizon_min],
    }


def _environment(writer: "Writer") -> JsonDict:
    from dataflows.connectors.source_identity import SourceIdentity

    started = writer.started
    return {
        "digest": started.environment.hex(),
        "packages": started.packages,
        "run": started.run,
        "host": started.host,
        "started": f"{datetime.fromtimestamp(started.started_at_us / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "rides": SourceIdentity.from_text(started.source).line(),
    }
