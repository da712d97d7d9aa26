"""What pages are generated from, written as reStructuredText."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from commands import CommandEntry, OptionEntry
from configkeys import Key


def config_reference(keys: Iterable[Key]) -> Iterator[str]:
    """Yield the lines of the manual of *keys*: a heading for each top-level section.

    Each key with an effect is a ``confval``; those without are named at the end.
    """
    for name, group in groupby(keys, key=lambda key: key.steps[0]):
        yield from _section(name, list(group))


def _section(name: str, keys: Sequence[Key]) -> Iterator[str]:
    served = [key for key in keys if key.served]
    if not served:
        return
    yield from (f"``{name}``", "-" * (len(name) + 4), "")
    for key in served:
        yield from _section_of(key) if key.section else _confval(key)
    unserved = _outermost(key for key in keys if not key.served)
    if unserved:
        names = ", ".join(f"``{key}``" for key in unserved)
        yield from (f"Accepted and ignored, with a line in the log: {names}.", "")


def _section_of(key: Key) -> Iterator[str]:
    text = " ".join((key.section or "").split()).removeprefix("ours: ")
    yield from (f".. rubric:: {key.path}", "")
    yield from (text[0].upper() + text[1:], "")


def _confval(key: Key) -> Iterator[str]:
    yield f".. confval:: {key.path}"
    yield f"   :type: {_escaped(key.kind)}"
    if key.default is not None:
        yield f"   :default: ``{key.default}``"
    yield ""
    facts = ["*Required.*"] if key.required else []
    facts += ["*Ours:* the original has no such key."] if key.ours else []
    yield from (" ".join([f"   {_sentence(key.text)}", *facts]), "")


def _outermost(keys: Iterable[Key]) -> list[str]:
    paths: list[str] = []
    for key in keys:
        if not any(key.path.startswith((f"{p}.", f"{p}[")) for p in paths):
            paths.append(key.path)
    return paths


def ignored_sections(keys: Iterable[Key]) -> Iterator[str]:
    """Yield one paragraph with the top-level sections that have no effect at all."""
    sections = {key.steps[0] for key in keys if key.served}
    names = [k.path for k in keys if len(k.steps) == 1 and k.steps[0] not in sections]
    yield from (", ".join(f"``{name}``" for name in names) + ".", "")


def _sentence(text: str) -> str:
    if not text:
        return ""
    return _escaped(text[0].upper() + text[1:]).rstrip(".") + "."


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("*", "\\*").replace("`", "\\`")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a ``list-table``; the cells are reStructuredText."""
    yield from (".. list-table::", "   :header-rows: 1", "   :widths: auto", "")
    for row in (header, *rows):
        for number, cell in enumerate(row):
            yield f"   {'* -' if number == 0 else '  -'} {cell}".rstrip()
    yield ""


def option_list(
    program: Sequence[str], options: Iterable[OptionEntry]
) -> Iterator[str]:
    """Yield an ``option`` for each of *options*, which belong to *program*."""
    yield from (f".. program:: {' '.join(program)}", "")
    for option in options:
        value = f" {option.value}" if option.value else ""
        names = ", ".join(f"{name}{value}" for name in option.names)
        yield from (f".. option:: {names}", "", f"   {_escaped(option.text)}", "")


def command_list(commands: Iterable[CommandEntry]) -> Iterator[str]:
    """Yield a heading, the help and the options of each of *commands*."""
    for command in commands:
        title = " ".join(command.words)
        yield from (title, "-" * len(title), "", f"``{command.synopsis}``", "")
        for paragraph in command.text.split("\n\n"):
            yield from (" ".join(paragraph.split()), "")
        yield from option_list(command.words, command.options)
