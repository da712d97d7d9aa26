"""Commands as they are typed, with what they print."""

from __future__ import annotations

import re

import attrs


@attrs.frozen(kw_only=True)
class Command:
    """What is typed, and what is printed; *root* if only root may."""

    words: str
    output: str
    root: bool


def commands_in(text: str) -> list[Command]:
    """Return the commands of a console; a backslash goes on with the next line."""
    found: list[Command] = []
    goes_on = False
    for line in text.splitlines():
        last = found[-1] if found else None
        if last is not None and goes_on:
            found[-1] = attrs.evolve(last, words=f"{last.words}\n{line}")
        elif line.startswith(("$ ", "# ")):
            found.append(Command(words=line[2:], output="", root=line[0] == "#"))
        else:
            assert last is not None, f"no prompt before {line!r}"
            found[-1] = attrs.evolve(last, output=f"{last.output}{line}\n")
            continue
        goes_on = line.endswith("\\")
    return found


def matches(wanted: str, got: str) -> bool:
    """Whether *got* is what was shown; three dots stand for anything.

    Blanks and line ends count as one blank each.
    """
    parts = [re.escape(" ".join(part.split())) for part in wanted.split("...")]
    return re.fullmatch(".*".join(parts), " ".join(got.split()), re.DOTALL) is not None
