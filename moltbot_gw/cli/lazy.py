"""A group of commands that are imported when they are run, not before.

``moltbot --help`` answers at once: the list of commands and their lines stand in the
group, and Twisted is left alone.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from moltbot_gw.cli.output import Failure

PIPE_CLOSED = 128 + signal.SIGPIPE
"""The status of who has lost his reader, as shells show it."""


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
        """Run and exit: 0 is well, 1 an error; a signal's number and 128 for others."""
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

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what cannot be written ends it without a traceback."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _drop_stdout()
            # Who reads no more wants to hear no more.
            raise click.exceptions.Exit(PIPE_CLOSED) from None
        except OSError as error:
            _drop_stdout()
            raise Failure(_words(error)) from None


def pass_on(ctx: click.Context, **given: Any) -> None:
    """Let the options of a group, given before the sub-command's name, count there."""
    known = {name: value for name, value in given.items() if value}
    ctx.default_map = {str(ctx.invoked_subcommand): known}


def _words(error: OSError) -> str:
    why = error.strerror or type(error).__name__
    # Only what is written to an open file has no name.
    return f"Error: {error.filename or 'the output cannot be written'}: {why}"


def _drop_stdout() -> None:
    """Send what is still in the buffer nowhere: Python writes it when it ends."""
    try:
        out = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
    except (OSError, ValueError):
        return
    os.dup2(nowhere, out)
    os.close(nowhere)
