"""Command groups that import a command's module only when it is used, so that `--help` is fast."""

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyCommands(click.Group):
    """A group whose commands are modules of one package, each with an attribute `command`.

    Args:
        package: Where the modules are.
        table: Name -> (module, one line for the overview).
        hidden_names: Internal commands, left out of the overview.
    """

    def __init__(
        self, *, package: str, table: Mapping[str, tuple[str, str]], hidden_names: tuple[str, ...] = (), **attributes: Any
    ) -> None:
        super().__init__(**attributes)
        self._package, self._table, self._hidden = package, table, hidden_names

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in self._table if name not in self._hidden]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._table:
            return None
        module = importlib.import_module(f"{self._package}.{self._table[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            if near := get_close_matches(args[0], self.list_commands(ctx), 1, 0.6):
                raise click.UsageError(f"{error.message.rstrip('.')}; did you mean {near[0]!r}?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._table[name][1]) for name in self.list_commands(ctx)])
