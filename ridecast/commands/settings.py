"""`ridecast settings`: every setting with its value, unit, bounds and source."""

import json
import os

import click
from rich.console import Console
from rich.table import Table

from schemas.configuration.settings import Settings

UNATTENDED_COLUMNS = 200  # without a terminal: a file or a pipe has no width of its own


@click.command("settings")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table, for scripts.")
def command(as_json: bool) -> None:
    """Show every setting with its value, default, unit, bounds and source.

    Set a setting with its variable (RIDECAST_API_PORT=8080) or, where a command has one, with its option.
    A variable with _FILE at its end names a file with a password or an address that contains one.
    A malformed or out-of-bounds value ends with exit code 2 and the variable's name.
    """
    settings = Settings.from_env(os.environ)
    if as_json:
        rows = {
            row.setting.name: {
                "value": row.shown,
                "default": row.setting.default,
                "unit": row.setting.unit,
                "bound": row.setting.bound,
                "source": row.source,
            }
            for row in settings.explain()
        }
        clients = {
            name: {row.name: {"value": row.shown, "source": row.source} for row in properties}
            for name, properties in (("kafka_client", settings.kafka_client), ("rides_client", settings.rides_client))
        }
        click.echo(json.dumps({"settings": rows, **clients, "unknown": settings.unknown}, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("variable", no_wrap=True)
    table.add_column("value", overflow="fold", min_width=12)
    table.add_column("from", no_wrap=True)
    table.add_column("meaning; allowed values", ratio=1)
    for row in settings.explain():
        setting = row.setting
        source = "environment" if row.source == setting.variable else row.source
        allowed = f"{setting.bound} {setting.unit}".rstrip() + (
            "" if row.source == "default" else f"; default {setting.default or 'nothing'}"
        )
        about = f"{setting.meaning} ({allowed})"
        table.add_row(
            setting.variable, f"{row.shown} {setting.unit}".strip(), source, about, style=None if row.source == "default" else "bold"
        )
    for whose, properties in (("Kafka client", settings.kafka_client), ("Kafka client of the rides", settings.rides_client)):
        for given in properties if whose == "Kafka client" or properties != settings.kafka_client else ():
            table.add_row(given.name, given.shown, given.source, f"property of the {whose}", style="bold")
    console = Console(highlight=False, markup=False)
    console.width = console.width if console.is_terminal else max(console.width, UNATTENDED_COLUMNS)
    console.print(table)
    if settings.unknown:
        from ridecast.options import unknown_settings  # imports regions, and NumPy with them

        for line in unknown_settings(settings):
            click.echo(line, err=True)
