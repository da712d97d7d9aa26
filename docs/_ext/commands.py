"""The two commands and their options, asked from the parsers that read them."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import click
from twisted.python import usage

from moltbot_gw.cli.main import root
from moltbot_gw.tap import Options


@attrs.frozen(kw_only=True)
class OptionEntry:
    """One option: its spellings, what follows it (None: nothing), what it does."""

    names: tuple[str, ...]
    value: str | None
    text: str


@attrs.frozen(kw_only=True)
class CommandEntry:
    """One command, by all of its words: ``("moltbot", "gateway", "status")``."""

    words: tuple[str, ...]
    arguments: tuple[str, ...]
    text: str
    options: tuple[OptionEntry, ...]
    is_group: bool

    @property
    def synopsis(self) -> str:
        """How it is typed."""
        words = [*self.words, *(["[OPTIONS]"] if self.options else []), *self.arguments]
        return " ".join([*words, *(["COMMAND"] if self.is_group else [])])


def daemon_options() -> list[OptionEntry]:
    """Return the options of ``twistd moltbot-gateway``, sorted by their long names."""
    options = Options()
    short = {long.rstrip("="): name for name, long in _short_options(options)}
    return [
        OptionEntry(
            names=(*([f"-{short[name]}"] if name in short else []), f"--{name}"),
            value=name.upper() if takes else None,
            text=_one_line(options.docs.get(name) or _method_doc(options, name)),
        )
        for name, takes in sorted(_long_options(options))
    ]


def _long_options(options: usage.Options) -> Iterator[tuple[str, bool]]:
    for name in options.longOpt:
        yield name.rstrip("="), name.endswith("=")


def _short_options(options: usage.Options) -> Iterator[tuple[str, str]]:
    for short, long in options.synonyms.items():
        if len(short) == 1:
            yield short, long


def _method_doc(options: usage.Options, name: str) -> str:
    return getattr(options, f"opt_{name.replace('-', '_')}").__doc__ or ""


def all_commands() -> list[CommandEntry]:
    """Return ``moltbot`` and everything below it, in the order of its help."""
    return list(_below(root, _context(root, "moltbot", None), ("moltbot",)))


def _context(
    command: click.Command, name: str, parent: click.Context | None
) -> click.Context:
    # As ``make_context``, which would read a command line as well.
    return click.Context(
        command, parent=parent, info_name=name, **command.context_settings
    )


def _below(
    command: click.Command, context: click.Context, words: tuple[str, ...]
) -> Iterator[CommandEntry]:
    parameters = command.get_params(context)
    yield CommandEntry(
        words=words,
        arguments=tuple(
            one.make_metavar(context)
            for one in parameters
            if isinstance(one, click.Argument)
        ),
        text=(command.help or "").strip(),
        options=tuple(
            _option(one, context)
            for one in parameters
            if isinstance(one, click.Option) and not one.hidden
        ),
        is_group=isinstance(command, click.Group),
    )
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, name
            yield from _below(found, _context(found, name, context), (*words, name))


def _option(option: click.Option, context: click.Context) -> OptionEntry:
    return OptionEntry(
        names=(*option.opts, *option.secondary_opts),
        value=None if option.is_flag or option.count else option.make_metavar(context),
        text=_one_line(option.help or ""),
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
