"""`ridecast ledger diff`: compares two ledgers, or two sizes of one log, and reports the first difference."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ridecast import options
from ridecast.commands.ledger.log_choice import log_option, pick_log
from schemas.errors import RidecastError, UsageError

if TYPE_CHECKING:
    from dataflows.audit.log_diff import LogDiff
    from dataflows.stream.stores import Stores

IDENTICAL, DIFFERENT, COULD_NOT_RUN = 0, 1, 2
LONGEST_TEXT = 200  # characters of a value that is shown


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@options.home
@log_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(ctx: click.Context, first: str, second: str, home: str | None, log_name: str | None, as_json: bool) -> None:
    """Compare two ledgers: identical up to the shorter one's end, or the first entry that differs and its fields.

    A and B are homes or addresses of PostgreSQL databases; or two sizes of one log of --home, to list what the log
    gained in between. Without --log, the logs of regions and the control log are compared; `runs` always differs.

    Exit codes: 0 identical up to the shorter size, 1 different, 2 could not run.

    \b
    Example: ridecast ledger diff home other-home
             ridecast ledger diff 1200 1450 --home home --log region/nyc
    """
    try:
        found = (
            _sizes(int(first), int(second), home, log_name) if _is_size(first) and _is_size(second) else _places(first, second, log_name)
        )
    except RidecastError as error:
        click.echo(f"ridecast: {error}", err=True)
        ctx.exit(COULD_NOT_RUN)
    if as_json:
        click.echo(json.dumps([json_of(diff) for diff in found], indent=2))
    for line in [line for diff in found if not as_json for line in lines(diff)]:
        click.echo(line)
    ctx.exit(IDENTICAL if all(diff.same for diff in found) else DIFFERENT)


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _sizes(first: int, second: int, home: str | None, log_name: str | None) -> "list[LogDiff]":
    from dataflows.audit.log_diff import diff_logs
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        return [diff_logs(stores.ledger, stores.ledger, pick_log(stores.ledger, log_name), (first, second))]
    finally:
        stores.close()


def _places(first: str, second: str, log_name: str | None) -> "list[LogDiff]":
    from dataflows.audit.log_diff import diff_logs, logs_in_both

    houses: list[Stores] = []
    try:
        for text in (first, second):
            houses.append(_open(text))
        a, b = (stores.ledger for stores in houses)
        return [diff_logs(a, b, log) for log in logs_in_both((a, b), (log_name,) if log_name else ())]
    finally:
        for stores in houses:
            stores.close()


def _open(text: str) -> "Stores":
    """Open a ledger by its home or its database."""
    from dataflows.stream.stores import open_stores

    if "://" in text:
        return open_stores(options.settings_of(database=text), reading=True)
    if not (Path(text) / "ledger").is_dir():
        raise UsageError(f"ledger diff: expected two homes, two postgresql:// addresses or two sizes, got {text!r}, which holds no ledger")
    return open_stores(replace(options.settings_of(home=text), database=""), reading=True)


def lines(diff: "LogDiff") -> list[str]:
    """The result for one log as text."""
    a, b = diff.sizes
    shorter = min(a, b)
    if diff.parting is not None:
        at, kinds = diff.parting.index, diff.parting.kinds
        what = kinds[0] if kinds[0] == kinds[1] else f"{kinds[0]} in the first, {kinds[1]} in the second"
        out = [f"{diff.log}: DIFFERENT from entry {at} on ({what}); sizes {a:,} and {b:,}"]
        return out + [f"  {name}: {_short(x)} in the first, {_short(y)} in the second" for name, x, y in diff.parting.fields]
    if a == b:
        return [f"{diff.log}: identical, {a:,} entries, root {diff.roots[0].hex()}"]
    gained = ", ".join(f"{count:,} {kind}" for kind, count in sorted(diff.more.items()))
    which = "second" if b > a else "first"
    return [f"{diff.log}: identical up to {shorter:,} entries; the {which} continues to {max(a, b):,}: {gained}"]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}... ({len(text):,} characters)"


def json_of(diff: "LogDiff") -> dict[str, object]:
    """The result for one log, ready for JSON."""
    parting = diff.parting
    return {
        "log": diff.log,
        "identical_up_to": min(diff.sizes) if parting is None else parting.index,
        "sizes": list(diff.sizes),
        "roots": [root.hex() for root in diff.roots],
        "gained": dict(sorted(diff.more.items())),
        "parting": None
        if parting is None
        else {
            "entry": parting.index,
            "kinds": list(parting.kinds),
            "fields": [{"field": name, "first": x, "second": y} for name, x, y in parting.fields],
        },
    }
