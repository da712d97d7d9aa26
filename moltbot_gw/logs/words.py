"""What somebody said, in a log event: seen only where the operator asks for it."""

from __future__ import annotations


class Words:
    """A text that may quote a conversation, as a field of a log event.

    It shows its length instead of itself; with ``logging.conversation`` the log shows
    the text.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self.__text

    def __str__(self) -> str:
        return f"[{len(self.__text)} characters withheld]"

    def __repr__(self) -> str:
        return str(self)

    def __format__(self, spec: str) -> str:
        return str(self)
