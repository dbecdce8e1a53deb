"""`ridecast params`: lists, shows and changes parameters while a home runs, and shows every change."""

import json
import time
from typing import TYPE_CHECKING

import click
from rich.table import Column, Table
from rich.text import Text

from ridecast import options
from ridecast.screen import output_console

if TYPE_CHECKING:
    from ledger.store.log import Ledger
    from schemas.configuration.settings import Settings

HISTORY = ("index", "set_at", "parameter", "region", "cell", "value", "unit", "author", "reason")

region_option = click.option("--region", default="", metavar="ID", help="For this region. [default: the instance]")
cell_option = click.option("--cell", default="", metavar="GEOHASH", help="For this cell of the region.")
at_option = click.option("--at", metavar="TIME|SIZE", help="At a past time (UTC if it has no zone), or size of the log control.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def command() -> None:
    """Parameters that take effect while a home runs: thresholds, budgets, switches. See docs/parameters.md."""


@command.command("list")
@options.home
@region_option
@cell_option
@at_option
@json_option
def list_command(home: str | None, region: str, cell: str, at: str | None, as_json: bool) -> None:
    """List all parameters: value, where it comes from, default, bounds, unit and scopes.

    Example: ridecast params list --home home --region nyc
    """
    settings = options.settings_of_home(home=home)
    size, rows = shown_parameters(settings, region, cell, at)
    if as_json:
        click.echo(json.dumps({"control_size": size, "parameters": rows}, indent=2))
        return
    headings = ("value", "from", "default", "bounds", "unit", "scopes", "meaning")
    table = Table(Column("parameter", no_wrap=True), *headings)
    for row in rows:
        scopes = row["scopes"]
        words = [row["parameter"], row["value"], row["source"], row["default"], row["bounds"], row["unit"]]
        words += [", ".join(scopes) if isinstance(scopes, list) else "", row["meaning"]]
        table.add_row(*(Text(str(word)) for word in words), style=None if row["set"] is None else "bold")
    output_console().print(table)


@command.command("get")
@click.argument("name", metavar="PARAMETER")
@options.home
@region_option
@cell_option
@at_option
@json_option
def get_command(name: str, home: str | None, region: str, cell: str, at: str | None, as_json: bool) -> None:
    """Print the value of one parameter, now or at a past time.

    Example: ridecast params get surge_threshold_nats --home home --region nyc --at 2026-05-01T12:00Z
    """
    from state.decide.parameter_table import parameter_named

    parameter_named(name)
    settings = options.settings_of_home(home=home)
    size, rows = shown_parameters(settings, region, cell, at)
    [row] = [row for row in rows if row["parameter"] == name]
    click.echo(json.dumps({"control_size": size, **row}, indent=2) if as_json else row["value"])


@command.command("set")
@click.argument("name", metavar="PARAMETER")
@click.argument("value", metavar="VALUE")
@options.home
@region_option
@cell_option
@options.author
@options.reason
def set_command(name: str, value: str, home: str | None, region: str, cell: str, author: str, reason: str) -> None:
    """Set a parameter, for the instance, a region or a cell; it takes effect at the next close or decision.

    \b
    Examples:
      ridecast params set surge_threshold_nats 12 --home home --region nyc --reason "marathon"
      ridecast params set publishing off --home home --region nyc
    """
    from dataflows.jobs.parameters import set_parameter
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home))
    try:
        done = set_parameter(stores.ledger, name, value, now_us, region=region, cell=cell, author=author, reason=reason)
    finally:
        stores.close()
    click.echo(said(name, region, cell, done.before, done.record.value if done.record is not None else None))


@command.command("unset")
@click.argument("name", metavar="PARAMETER")
@options.home
@region_option
@cell_option
@options.author
@options.reason
def unset_command(name: str, home: str | None, region: str, cell: str, author: str, reason: str) -> None:
    """Take a value back: the scope has again that of the wider one, or the default.

    Example: ridecast params unset surge_threshold_nats --home home --region nyc
    """
    from dataflows.jobs.parameters import unset_parameter
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home))
    try:
        done = unset_parameter(stores.ledger, name, now_us, region=region, cell=cell, author=author, reason=reason)
    finally:
        stores.close()
    click.echo(said(name, region, cell, done.before, ""))


@command.command("history")
@click.argument("name", metavar="PARAMETER", required=False)
@options.home
@region_option
@at_option
@json_option
def history_command(name: str | None, home: str | None, region: str, at: str | None, as_json: bool) -> None:
    """Show every change, of one parameter or of all, with who decided it and why.

    Example: ridecast params history --home home
    """
    from dataflows.stream.stores import open_stores
    from ledger.views.parameters import history_of
    from state.decide.parameter_table import parameter_named

    if name is not None:
        parameter_named(name)
    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        rows = history_of(stores.ledger, size_of(stores.ledger, at), name, region)
    finally:
        stores.close()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("entry", "time", "parameter", "region", "cell", "value", "unit", "author", "reason")
    for row in rows:
        words = [str("" if row[name] is None else row[name]) for name in HISTORY]
        words[5] = words[5] or "(unset)"
        table.add_row(*map(Text, words))
    output_console().print(table)


def now_us() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1_000


def size_of(ledger: "Ledger", at: str | None) -> int:
    """Size of the control log that `--at` names.

    Raises:
        UsageError: it names none.
    """
    from ledger.views.parameters import size_named
    from schemas.errors import UsageError

    try:
        return size_named(ledger, at)
    except UsageError as wrong:
        raise UsageError(f"--at: {wrong}") from None


def shown_parameters(settings: "Settings", region: str, cell: str, at: str | None) -> tuple[int, list[dict[str, object]]]:
    """Size of the control log that was asked for, and every parameter as it was then."""
    from dataflows.jobs.parameters import check_region
    from dataflows.stream.stores import open_stores
    from ledger.views.parameters import parameters_at
    from state.decide.parameter_table import ROWS
    from state.decide.parameters import document

    stores = open_stores(settings, reading=True)
    try:
        check_region(stores.ledger, region, cell)
        size = size_of(stores.ledger, at)
        in_force = parameters_at(stores.ledger, size)
    finally:
        stores.close()
    return size, [document(in_force, row, region, cell, getattr(settings, row.setting) if row.setting else None) for row in ROWS]


def said(name: str, region: str, cell: str, before: str, after: str | None) -> str:
    """What has changed; `after` is None for nothing, and empty for unset.

    >>> said("publishing", "nyc", "", "", "off")
    'publishing of region nyc: off, before not set; from the next close or decision on'
    >>> said("publishing", "", "", "off", None)
    'publishing of the instance: off already; nothing recorded'
    """
    where = f"cell {cell} of region {region}" if cell else f"region {region}" if region else "the instance"
    if after is None:
        return f"{name} of {where}: {before} already; nothing recorded"
    return f"{name} of {where}: {after or 'not set'}, before {before or 'not set'}; from the next close or decision on"
