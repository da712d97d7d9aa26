"""News for the agents, kept until the next message of their session.

Source: upstream ``src/infra/system-events.ts``.
"""

from __future__ import annotations

from collections import deque

MAX_EVENTS = 20
MAX_SESSIONS = 256
MAX_CHARS = 4000
"""A longer text is cut."""


class SystemEvents:
    """The newest texts of each session, by its key in the store."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[str]] = {}

    def add(self, store_key: str, text: str) -> None:
        """Keep *text*, unless it is blank or the very one that came before it."""
        text = text.strip()[:MAX_CHARS]
        queue = self._queues.pop(store_key, None) or deque(maxlen=MAX_EVENTS)
        if text and (not queue or queue[-1] != text):
            queue.append(text)
        if queue:
            self._queues[store_key] = queue
        if len(self._queues) > MAX_SESSIONS:
            del self._queues[next(iter(self._queues))]

    def peek(self, store_key: str) -> list[str]:
        """Return what waits for a session, the oldest first."""
        return list(self._queues.get(store_key, ()))

    def forget(self, store_key: str, told: list[str]) -> None:
        """Forget what was told, and nothing that has come since."""
        queue = self._queues.get(store_key)
        for text in told:
            if queue and queue[0] == text:
                queue.popleft()
        if not queue:
            self._queues.pop(store_key, None)
