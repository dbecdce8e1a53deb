"""`ridecast flags`: lists, shows, defines, removes and evaluates feature flags, and shows every change."""

import json
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from ridecast import options
from ridecast.commands.params import at_option, json_option, now_us, size_of
from ridecast.screen import output_console
from schemas.errors import UsageError

if TYPE_CHECKING:
    from ledger.store.log import Stored
    from schemas.records.records import FlagSet

MOST_BYTES = 1 << 20  # of a file with a definition


@click.group()
def command() -> None:
    """Feature flags: variants by region, by cell, or by shares. See docs/parameters.md."""


@command.command("list")
@options.home
@at_option
@json_option
def list_command(home: str | None, at: str | None, as_json: bool) -> None:
    """List all flags, now or at a past time.

    Example: ridecast flags list --home home
    """
    found = _defined(home, at)
    if as_json:
        click.echo(json.dumps([_document(one) for one in found.values()], indent=2))
        return
    if not found:
        click.echo("no flags")
        return
    table = Table("flag", "state", "variants", "default", "rules", "set at", "author", "reason")
    for key, one in found.items():
        definition, document = json.loads(one.record.definition), _document(one)
        words = [key, definition["state"], ", ".join(definition["variants"]), definition["default"], str(len(definition["rules"]))]
        table.add_row(*(Text(str(word)) for word in (*words, document["set_at"], one.record.author, one.record.reason)))
    output_console().print(table)


@command.command("show")
@click.argument("key", metavar="FLAG")
@options.home
@at_option
def show_command(key: str, home: str | None, at: str | None) -> None:
    """Print the definition of a flag as JSON, as `flags set` takes it.

    Example: ridecast flags show new-page --home home
    """
    found = _defined(home, at)
    if key not in found:
        raise UsageError(f"flag: expected one of {', '.join(found) or 'none'}, got {key!r}")
    click.echo(json.dumps(json.loads(found[key].record.definition), indent=2))


@command.command("set")
@click.argument("key", metavar="FLAG")
@click.argument("definition", metavar="JSON|@FILE")
@options.home
@options.author
@options.reason
def set_command(key: str, definition: str, home: str | None, author: str, reason: str) -> None:
    """Define a flag, or define it anew. The definition is JSON, or a file with it after an @.

    \b
    Examples:
      ridecast flags set new-page '{"variants": {"on": true, "off": false}, "default": "off"}' --home home
      ridecast flags set new-page @new-page.json --home home --reason "a tenth of the riders"
    """
    from dataflows.jobs.flags import set_flag
    from dataflows.stream.stores import open_stores

    text = _read(definition[1:]) if definition.startswith("@") else definition
    stores = open_stores(options.settings_of_home(home=home))
    try:
        made = set_flag(stores.ledger, key, text, now_us, author=author, reason=reason)
    finally:
        stores.close()
    click.echo(f"flag {key}: {'defined, from the next evaluation on' if made is not None else 'defined so already; nothing recorded'}")


@command.command("remove")
@click.argument("key", metavar="FLAG")
@options.home
@options.author
@options.reason
def remove_command(key: str, home: str | None, author: str, reason: str) -> None:
    """Remove a flag: who asks for it gets the default of the asking code. What it was stays on record.

    Example: ridecast flags remove new-page --home home
    """
    from dataflows.jobs.flags import remove_flag
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home))
    try:
        remove_flag(stores.ledger, key, now_us, author=author, reason=reason)
    finally:
        stores.close()
    click.echo(f"flag {key}: removed")


@command.command("evaluate")
@click.argument("key", metavar="FLAG")
@options.home
@click.option("--key", "targeting_key", default="", metavar="TEXT", help="Targeting key, which decides in shares.")
@click.option("--region", default="", metavar="ID", help="Region in the context.")
@click.option("--cell", default="", metavar="GEOHASH", help="Cell in the context.")
@at_option
@click.pass_context
def evaluate_command(ctx: click.Context, key: str, home: str | None, targeting_key: str, region: str, cell: str, at: str | None) -> None:
    """Print what a flag says for a context, as JSON. Exits with 1 if it says nothing.

    Example: ridecast flags evaluate new-page --home home --region nyc --key rider-1
    """
    from schemas.records.records import CONTROL_LOG
    from state.decide.flags import Failed
    from state.decide.known_flags import document, known_flags, say

    flags = known_flags((one.index, one.record) for one in _defined(home, at).values())
    given = {"targetingKey": targeting_key, "region": region, "cell": cell}
    found = say(flags, key, {name: text for name, text in given.items() if text})
    click.echo(json.dumps(document(flags, key, found, CONTROL_LOG), indent=2))
    ctx.exit(int(isinstance(found, Failed)))


@command.command("history")
@click.argument("key", metavar="FLAG", required=False)
@options.home
@at_option
@json_option
def history_command(key: str | None, home: str | None, at: str | None, as_json: bool) -> None:
    """Show every change, of one flag or of all, with who decided it and why.

    Example: ridecast flags history --home home
    """
    from dataflows.stream.stores import open_stores
    from ledger.views.parameters import flag_history_of

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        rows = flag_history_of(stores.ledger, size_of(stores.ledger, at), key)
    finally:
        stores.close()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("entry", "time", "flag", "definition", "author", "reason")
    for row in rows:
        shown = json.dumps(row["definition"]) if row["definition"] is not None else "(removed)"
        table.add_row(*(Text(str(word)) for word in (row["index"], row["set_at"], row["flag"], shown, row["author"], row["reason"])))
    output_console().print(table)


def _read(name: str) -> str:
    with open(name, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    try:
        if len(data) > MOST_BYTES:
            raise UsageError(f"{name}: expected at most {MOST_BYTES:,} bytes, got more")
        return data.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise UsageError(f"{name}: expected UTF-8: {cause}") from None


def _defined(home: str | None, at: str | None) -> "dict[str, Stored[FlagSet]]":
    from dataflows.stream.stores import open_stores
    from ledger.views.parameters import flags_at

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        return flags_at(stores.ledger, size_of(stores.ledger, at))
    finally:
        stores.close()


def _document(one: "Stored[FlagSet]") -> dict[str, object]:
    from schemas.times import iso

    record = one.record
    shown = {"flag": record.flag, "index": one.index, "definition": json.loads(record.definition)}
    return shown | {"set_at": iso(record.set_at_us), "author": record.author, "reason": record.reason}
