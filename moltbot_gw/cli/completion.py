"""``moltbot completion``."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, /, shell: str) -> None:
    """Print the completion script for SHELL; load it in the shell's start file.

    For bash: eval "$(moltbot completion bash)".
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "click has each of the choices"
    script = kind(ctx.find_root().command, {}, "moltbot", "_MOLTBOT_COMPLETE")
    click.echo(script.source())
