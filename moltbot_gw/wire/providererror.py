"""What a provider says when it fails in the middle of its answer."""

from __future__ import annotations

from moltbot_gw.events import ModelEvent


class ProviderError(Exception):
    """The provider says in its stream, or by breaking its format, that it failed.

    *message* is its own text, unsafe to show as it is; *code* its name for the failure
    and *kind* the wider name that it may have beside it (``type`` in most formats);
    *events* what it said before, in the same bytes.
    """

    def __init__(
        self, message: str, code: str | None = None, kind: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.kind = kind
        self.events: list[ModelEvent] = []
