"""`ridecast alerts`: lists, shows, acknowledges and silences alerts."""

import json
import time
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from ridecast import options
from ridecast.screen import output_console

if TYPE_CHECKING:
    from state.decide.alerts import Alert

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def command() -> None:
    """Alerts: one per cause, with what it explains; acknowledged or silenced by people, resolved by themselves."""


@command.command("list")
@options.home
@click.option("--all", "everything", is_flag=True, help="Resolved ones too.")
@json_option
@click.pass_context
def list_command(ctx: click.Context, home: str | None, everything: bool, as_json: bool) -> None:
    """List open alerts, the severest first, and what receivers were not told.

    Exits with 1 if an alert is neither acknowledged nor silenced, else with 0.

    Example: ridecast alerts list --home home
    """
    from dataflows.stream.stores import open_stores
    from dataflows.watch.deliver import FOLDER, TOLD
    from dataflows.watch.hub import HubLog
    from dataflows.watch.places import listed_receivers

    settings = options.settings_of_home(home=home)
    stores = open_stores(settings, reading=True)
    try:
        hub = HubLog(stores.ledger).read()
        receivers = listed_receivers(stores.ledger, settings.home / FOLDER / TOLD)
    finally:
        stores.close()
    shown = hub.ranked() + ([one for one in reversed(hub.alerts.values()) if one.resolved] if everything else [])
    if as_json:
        click.echo(json.dumps({"alerts": [document(alert) for alert in shown], "receivers": receivers}, indent=2))
    elif not shown:
        click.echo("no open alerts")
    else:
        table = Table("alert", "severity", "state", "region", "kind", "subject", "signals", "first seen", "message")
        for alert in shown:
            is_now = alert.shown
            words = [alert.id, is_now.severity, alert.state, is_now.region or "(all)", is_now.kind, is_now.subject]
            words += [str(len(is_now.signals)), iso_of(is_now.first_us), is_now.message]
            table.add_row(*map(Text, words))
        output_console().print(table)
    if receivers and not as_json:
        table = Table("receiver", "undelivered", "failing since", "refused", "last error")
        for one in receivers:
            refused = one["last_refused"]
            last = one["error"] or (refused[-1]["error"] if isinstance(refused, list) and refused else "")
            row = (one["receiver"], one["undelivered"], one["failing_since"] or "", one["refused"], last)
            table.add_row(*(Text(str(word)) for word in row))
        output_console().print(table)
    ctx.exit(int(any(alert.state == "open" for alert in shown)))


@command.command("show")
@click.argument("alert", metavar="ALERT")
@options.home
@json_option
def show_command(alert: str, home: str | None, as_json: bool) -> None:
    """Show one alert: its cause, what it explains, and the entries that say so. ALERT is the beginning of its id.

    Example: ridecast alerts show 3f2a --home home
    """
    from dataflows.stream.stores import open_stores
    from dataflows.watch.hub import HubLog

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        found = HubLog(stores.ledger).alert(alert)
    finally:
        stores.close()
    if as_json:
        click.echo(json.dumps(document(found), indent=2))
        return
    for name, value in document(found).items():
        for line in value if isinstance(value, list) else [value]:
            click.echo(f"{name + ':':<14} {line if not isinstance(line, dict) else ' '.join(f'{k}={v}' for k, v in line.items())}")


@command.command("ack")
@click.argument("alert", metavar="ALERT")
@options.home
@click.option("--outcome", type=click.Choice(["seen", "handled", "false_alarm"]), default="seen", show_default=True)
@options.author
def ack_command(alert: str, home: str | None, outcome: str, author: str) -> None:
    """Acknowledge an alert: somebody has seen it. It stays open until its signals end.

    Example: ridecast alerts ack 3f2a --home home --outcome handled
    """
    from dataflows.stream.stores import open_stores
    from dataflows.watch.hub import HubLog

    stores = open_stores(options.settings_of_home(home=home))
    try:
        found = HubLog(stores.ledger).acknowledge(alert, outcome, author, int(time.time() * 1_000_000))
    finally:
        stores.close()
    click.echo(f"alert {found.id}: {outcome}, by {author}")


@command.command("silence")
@options.home
@click.option("--region", default="", metavar="ID", help="Only of this region.")
@click.option("--kind", default="", metavar="KIND", help="Only of this kind.")
@click.option("--subject", default="", metavar="TEXT", help="Only about this subject.")
@click.option("--hours", default=4.0, show_default=True, type=options.Number(0, 24 * 366), help="How long; 0 ends the same silence.")
@options.author
@options.reason
def silence_command(home: str | None, region: str, kind: str, subject: str, hours: float, author: str, reason: str) -> None:
    """Tell nobody of alerts that match, for a time. Alerts that are open then are told of again when it ends.

    Example: ridecast alerts silence --home home --region nyc --kind surge --hours 6 --reason "marathon"
    """
    from dataflows.stream.stores import open_stores
    from dataflows.watch.hub import HubLog
    from schemas.errors import UsageError
    from schemas.records.records import AlertSilenced

    if not (region or kind or subject):
        raise UsageError("alerts silence: expected --region, --kind or --subject, got none; a silence of everything hides too much")
    now_us = int(time.time() * 1_000_000)
    until_us = now_us + int(hours * 3_600_000_000)
    stores = open_stores(options.settings_of_home(home=home))
    try:
        silence = AlertSilenced(region=region, kind=kind, subject=subject, until_us=until_us, author=author, reason=reason, at_us=now_us)
        hub = HubLog(stores.ledger)
        held = hub.read().silences.get((region, kind, subject))
        if not hours and (held is None or held.until_us <= now_us):
            raise UsageError("alerts silence: expected a silence of this region, kind and subject to end, got none in force")
        hub.silence(silence)
        silent = sum(alert.shown.silenced for alert in hub.hub.open)
    finally:
        stores.close()
    said = f"silent until {iso_of(until_us)}" if hours else "the silence is over"
    click.echo(f"{said}; open alerts that are silent now: {silent}")


def iso_of(at_us: int) -> str:
    """A time, UTC."""
    from schemas.times import iso

    return iso(at_us)


def document(alert: "Alert") -> dict[str, object]:
    """An alert as JSON."""
    from state.decide.alert_document import as_json

    return as_json(alert, iso_of)
