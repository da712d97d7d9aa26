"""A strict HTTP/1.1 client's half: writes requests, reads answers, forgives nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

TOKEN = "correct-horse-battery-staple"

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ([!-~]+(?: [!-~]+)*)")
_HEADER = re.compile(rb"([A-Za-z0-9-]+): ([ -~]*)")
_CHUNK = re.compile(rb"([0-9a-f]+)\r\n")
_BODILESS = (204, 304)


class Malformed(AssertionError):
    """The bytes are not what an HTTP/1.1 server may send."""


@attrs.frozen
class Answer:
    """One answer; *complete* says whether its end has come, *framing* how it is told.

    *pieces* are the chunks of a chunked body as the server cut them.
    """

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    complete: bool
    pieces: tuple[bytes, ...] = ()

    def header(self, name: str) -> str | None:
        """Return the one value of *name*, None if there is none."""
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) < 2, f"{name} comes {len(values)} times"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        assert self.header("content-type") == "application/json; charset=utf-8"
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error envelope's inside, checked for its four members."""
        envelope = self.json
        assert list(envelope) == ["error"]
        error: dict[str, Any] = envelope["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        return error

    @property
    def records(self) -> list[str]:
        """The records of an event stream: JSON texts, ``[DONE]``, or comments."""
        return read_records(self.body)

    @property
    def events(self) -> list[Event]:
        """The events of a stream that may have ids."""
        return read_events(self.body)

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The JSON of all records that carry some."""
        kept = [r for r in self.records if not r.startswith(":") and r != "[DONE]"]
        return [msgspec.json.decode(record) for record in kept]

    @property
    def text(self) -> str:
        """The assistant's words in an event stream."""
        choices = [c for chunk in self.chunks for c in chunk.get("choices", ())]
        return "".join(choice["delta"].get("content", "") for choice in choices)


def read_records(body: bytes) -> list[str]:
    """Split an event stream strictly: one ``data:`` line or comment, one blank line."""
    if not body:
        return []
    if not body.endswith(b"\n\n"):
        raise Malformed(f"the stream stops inside a record: {body[-80:]!r}")
    records = []
    for record in body.decode("utf-8")[:-2].split("\n\n"):
        if len(record.splitlines()) != 1:
            raise Malformed(f"a record has several lines: {record!r}")
        if record.startswith(":"):
            records.append(record)
        elif record.startswith("data: "):
            records.append(record.removeprefix("data: "))
        else:
            raise Malformed(f"not a record of ours: {record!r}")
    return records


@attrs.frozen
class Event:
    """One event of a stream: its id, None if it has none of its own, and its data."""

    id: str | None
    data: str


def read_events(body: bytes) -> list[Event]:
    """Read an event stream as far as it has come; half a record at its end is dropped.

    Lines must be ids, data or comments, one of each a record.
    """
    events = []
    for record in body.decode("utf-8", "ignore").split("\n\n")[:-1]:
        lines = record.split("\n")
        if record.startswith(":") and len(lines) == 1:
            continue
        event_id = lines.pop(0).removeprefix("id: ") if len(lines) > 1 else None
        if len(lines) != 1 or not lines[0].startswith("data: "):
            raise Malformed(f"not a record of ours: {record!r}")
        events.append(Event(event_id, lines[0].removeprefix("data: ")))
    return events


def read_answers(data: bytes, *, head_only: bool = False) -> list[Answer]:
    """Read the answers in *data*; only the last one may be incomplete.

    *head_only*: they answer HEAD requests.  Raises ``Malformed``.
    """
    answers: list[Answer] = []
    while data:
        if answers and not answers[-1].complete:
            raise Malformed("an answer follows one that has not ended")
        answer, data = _read_answer(data, head_only)
        answers.append(answer)
    return answers


def _read_answer(data: bytes, head_only: bool) -> tuple[Answer, bytes]:
    head, blank, rest = data.partition(b"\r\n\r\n")
    if not blank:
        raise Malformed(f"a head without its end: {data[:200]!r}")
    first, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(first) or _fail(f"not a status line: {first[:80]!r}")
    matches = [_HEADER.fullmatch(x) or _fail(f"not a header: {x!r}") for x in lines]
    headers = tuple((m[1].decode().lower(), m[2].decode()) for m in matches)
    names = [name for name, _ in headers]
    for single in ("content-length", "transfer-encoding", "content-type", "date"):
        if names.count(single) > 1:
            raise Malformed(f"{single} comes twice")
    code = int(status[1])
    pieces, body, complete, rest = _read_body(code, dict(headers), rest, head_only)
    answer = Answer(code, status[2].decode(), headers, body, complete, tuple(pieces))
    return answer, rest


def _read_body(
    code: int, headers: Mapping[str, str], rest: bytes, head_only: bool
) -> tuple[list[bytes], bytes, bool, bytes]:
    length = headers.get("content-length")
    if code < 200 or code in _BODILESS:
        if length is not None:
            raise Malformed(f"{code} with a Content-Length")
        return [], b"", True, rest
    if head_only:
        return [], b"", True, rest
    if headers.get("transfer-encoding") == "chunked":
        if length is not None:
            raise Malformed("both Content-Length and chunked")
        return _read_chunks(rest)
    if length is not None:
        body = rest[: int(length)]
        return [body], body, len(body) == int(length), rest[int(length) :]
    return [rest], rest, False, b""  # ends with the connection


def _read_chunks(rest: bytes) -> tuple[list[bytes], bytes, bool, bytes]:
    pieces: list[bytes] = []
    while rest:
        size = _CHUNK.match(rest) or _fail(f"not a chunk size: {rest[:20]!r}")
        start, count = size.end(), int(size[1], 16)
        if rest[start + count : start + count + 2] != b"\r\n":
            raise Malformed("a chunk without its end")
        rest, piece = rest[start + count + 2 :], rest[start : start + count]
        if not piece:
            return pieces, b"".join(pieces), True, rest
        pieces.append(piece)
    return pieces, b"".join(pieces), False, b""


def _fail(problem: str) -> Any:
    raise Malformed(problem)


def http_request(
    method: str = "GET",
    path: str = "/v1/models",
    body: bytes | None = None,
    *,
    token: str | None = TOKEN,
    **headers: str,
) -> bytes:
    """Return one request; underscores in the names of *headers* stand for dashes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: gateway.test"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def chat_body(**fields: Any) -> bytes:
    """Return the body of a completion that says ``hi``, with *fields* changed."""
    fields.setdefault("messages", [{"role": "user", "content": "hi"}])
    return msgspec.json.encode(fields)


def chat_request(headers: Mapping[str, str] | None = None, **fields: Any) -> bytes:
    """Return a whole completion request."""
    return http_request(
        "POST", "/v1/chat/completions", chat_body(**fields), **dict(headers or {})
    )


def chunked(*pieces: bytes) -> bytes:
    """Return *pieces* as a chunked body with its end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (*pieces, b""))
