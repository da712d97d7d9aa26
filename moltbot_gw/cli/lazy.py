"""A group of commands that are imported when they are run, not before.

``moltbot --help`` answers at once: the list of commands and their lines stand in the
group, and Twisted is left alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click


class LazyGroup(click.Group):
    """A group whose commands are ``module:name``, each with one line of help."""

    def __init__(
        self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self._lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order in which they were given."""
        return [*self._lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None if there is none of this name."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, name = self._lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._lazy.items()])


class RootGroup(LazyGroup):
    """The command itself: whatever is wrong ends it with status 1, as the original."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run and exit: 0 is well, 1 an error, 130 an interruption."""
        name = prog_name or "moltbot"
        variable = complete_var or "_MOLTBOT_COMPLETE"
        try:
            code = super().main(args, name, variable, standalone_mode=False, **extra)
        except click.ClickException as error:
            error.show()
            code = 1
        except click.Abort:
            code = 130
        sys.exit(code if isinstance(code, int) else 0)
