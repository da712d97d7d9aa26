"""Server-sent events: decode what providers send, encode what clients are sent.

Source: WHATWG HTML, "Server-sent events", section "Interpreting an event stream".
"""

from __future__ import annotations

KEEP_ALIVE = b": keep-alive\n\n"
"""A comment; never ``: ping``, behind which a well-known IDE plugin loses an event."""

DONE = b"data: [DONE]\n\n"


class EventTooLarge(ValueError):
    """One event of the stream is longer than the decoder may hold."""


class SSEDecoder:
    """Turn a byte stream into the ``data`` of its events.

    Lines end at CR LF, LF or CR and nowhere else (``str.splitlines`` would also split
    at U+2028 inside a JSON string).  Event names, ids and comments are dropped: no
    provider of ours gives them a meaning that its data does not carry too.
    """

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events that *data* completes, oldest first.

        Raises ``EventTooLarge``; the decoder is of no use afterwards.
        """
        if self._after_cr and data:
            self._after_cr = False
            if data.startswith(b"\n"):
                data = data[1:]
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in data:
            self._line += data
            self._check(len(self._line))
            return []
        if not self._line and not self._data:
            events = self._take_usual(data)
            if events is not None:
                self._at_start = False
                return events
        lines = data.split(b"\n")
        if self._line:
            lines[0] = bytes(self._line) + lines[0]
            self._line.clear()
        self._line += lines.pop()
        events = []
        for line in lines:
            self._take_line(line, events)
        self._check(len(self._line))
        return events

    def flush(self) -> list[bytes]:
        """Return the event that the end of the stream left without its blank line.

        The standard drops it; several providers close right after ``data: [DONE]``.
        """
        events: list[bytes] = []
        self._take_line(bytes(self._line), events)
        self._line.clear()
        self._take_line(b"", events)
        return events

    def _take_usual(self, data: bytes) -> list[bytes] | None:
        """Return the events of whole records of one line of data each; None for others.

        So come nearly all reads from nearly all providers, and then no line needs to be
        looked at by itself.
        """
        if not data.startswith(b"data: ") or not data.endswith(b"\n\n"):
            return None
        if len(data) > self._max_event_bytes:
            return None
        events = data[6:-2].split(b"\n\ndata: ")
        # None has a second line or another field.  Joining copies them, but counting
        # the line ends, which looks at each byte by itself, takes six times as long.
        return events if b"\n" not in b"".join(events) else None

    def _take_line(self, line: bytes, events: list[bytes]) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            if self._data:
                events.append(
                    self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                )
                self._data.clear()
                self._data_bytes = 0
        elif line.startswith(b"data:") or line == b"data":
            value = line[6:] if line.startswith(b"data: ") else line[5:]
            self._data.append(value)
            self._data_bytes += len(value) + 1
            self._check(self._data_bytes)

    def _check(self, size: int) -> None:
        if size > self._max_event_bytes:
            raise EventTooLarge(
                f"an event is longer than {self._max_event_bytes} bytes"
            )
