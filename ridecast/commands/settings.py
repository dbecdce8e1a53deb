"""`ridecast settings`: every setting with its value, unit and bound, and where the value came from."""

import json
import os

import click
from rich.console import Console
from rich.table import Table

from schemas.settings import Settings


@click.command("settings")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table, for scripts.")
def command(as_json: bool) -> None:
    """Show every setting, its default, unit and bound, and where its value came from.

    Set one with its variable (RIDECAST_API_PORT=8080) or, where a command has it, with its option.
    Exit code 2 and the variable's name when a value is malformed or out of bounds.
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
        click.echo(json.dumps({"settings": rows, "unknown": settings.unknown}, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("variable", "value", "unit", "default", "allowed", "from", "meaning"):
        table.add_column(title, overflow="fold")
    for row in settings.explain():
        setting = row.setting
        style = None if row.source == "default" else "bold"
        table.add_row(
            setting.variable,
            row.shown,
            setting.unit,
            str(setting.default),
            setting.bound,
            row.source.replace(setting.variable, "environment"),
            setting.meaning,
            style=style,
        )
    console = Console(highlight=False, markup=False)
    console.print(table, width=max(console.width, 100))
    for name in settings.unknown:
        click.echo(f"{name} is set but is no setting; a typing error?", err=True)
