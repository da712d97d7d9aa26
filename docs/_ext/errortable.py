"""The errors that clients of the HTTP endpoint meet, from the classes themselves."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from moltbot_gw.errors import GatewayError, RunAborted


@attrs.frozen(order=True)
class ErrorEntry:
    """One kind of error, by its status and the names in its envelope."""

    status: int
    code: str
    type: str
    text: str


def all_errors() -> list[ErrorEntry]:
    """Return each pair of status and code once, sorted."""
    found: dict[tuple[int, str], ErrorEntry] = {}
    for kind in _kinds(GatewayError):
        if issubclass(kind, RunAborted):
            # Nobody is left who could be told.
            continue
        text = (kind.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        entry = ErrorEntry(kind.status, kind.code, kind.type, _plain(text))
        found.setdefault((kind.status, kind.code), entry)
    return sorted(found.values())


def _kinds(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    for one in kind.__subclasses__():
        yield one
        yield from _kinds(one)


def _plain(text: str) -> str:
    """Return *text* without the mark-up of names."""
    return text.replace("*", "")
