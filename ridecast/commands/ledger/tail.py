"""`ridecast ledger tail`: the newest entries of a log."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import click

from ridecast import options
from ridecast.commands.ledger.picking import log_option, pick_log
from schemas.record_codec import decode


@click.command()
@options.home
@log_option
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
def command(home: str | None, log_name: str | None, limit: int) -> None:
    """The newest entries of a log, one line each.

    Example: ridecast ledger tail --home home --log control
    """
    from dataflows.house import open_house

    house = open_house(options.settings_of_home(home=home), reading=True)
    try:
        log = pick_log(house.ledger, log_name)
        head = house.ledger.head(log)
        for stored in house.ledger.read(log, max(0, head.size - limit), head.size):
            record = decode(stored.payload)
            click.echo(f"{stored.index:>8}  {stored.kind:<18} {_summary(record)}")
        click.echo(f"{log}: {head.size:,} entries, root {head.root.hex()}")
    finally:
        house.close()


def _summary(record: Any) -> str:
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    parts = []
    if fields.get("target_us"):
        parts.append(f"target={datetime.fromtimestamp(fields['target_us'] / 1e6, UTC):%Y-%m-%dT%H:%M}Z")
    for name in ("slot", "measure", "status", "cells", "settled", "version", "until", "rides", "alias", "algorithm", "command", "reason"):
        if name in fields:
            parts.append(f"{name}={fields[name]}")
    for name in ("model", "root"):
        if fields.get(name):
            parts.append(f"{name}={fields[name].hex()[:12]}")
    if "partitions" in fields and isinstance(fields["partitions"], tuple):
        parts.append(f"counted={sum(cut.counted for cut in fields['partitions'])}")
    return " ".join(parts)
