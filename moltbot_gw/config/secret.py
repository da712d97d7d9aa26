"""A string that must not be seen: tokens, passwords, API keys, header values."""

from __future__ import annotations

import hmac
from typing import Any, NoReturn


class Secret:
    """Hold a text that shows itself only to who asks for it by name.

    ``repr``, ``str`` and every format give ``Secret(***)``.  Two secrets are equal when
    their texts are; the comparison takes the same time wherever they differ.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Return the text; the caller keeps it out of logs and messages."""
        return self.__text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_octets(self.__text), _octets(other.__text))

    def __hash__(self) -> int:
        return hash((Secret, self.__text))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")


class Unread:
    """Stand for a part of the file that this gateway does not serve.

    Any content is accepted and none is kept: what is not here cannot leak.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Unread()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unread)

    def __hash__(self) -> int:
        return hash(Unread)


def decode_hook(kind: type, value: Any) -> Secret | Unread:
    """Make the two types of this module from JSON values, for ``msgspec.convert``.

    A `ValueError` never quotes *value*.
    """
    if kind is Unread:
        return Unread()
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise ValueError("Expected `str`")


def _octets(text: str) -> bytes:
    # JSON can spell half of a surrogate pair, which strict UTF-8 has no bytes for.
    return text.encode("utf-8", "surrogatepass")
