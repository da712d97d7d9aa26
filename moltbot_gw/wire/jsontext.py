"""Strict JSON from strangers, and JSON that survives every client's line splitter.

Source: RFC 8259; ``reliability.md`` measured what the usual parsers let through.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from moltbot_gw.errors import InvalidJSON, InvalidRequest, MissingField

T = TypeVar("T")

_MAX_ECHO = 200
_PLACE = re.compile(r"(?s)^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?$")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]+)`")
# Legal inside JSON text, and yet a line end for clients that use str.splitlines.
_LINE_ENDS = (("\u0085", "\\u0085"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))
_encode = msgspec.json.Encoder().encode


def encode_line(value: object) -> bytes:
    """Return *value* as JSON on one line, whatever its reader takes for a line end."""
    data = _encode(value)
    if data.isascii():
        return data
    text = data.decode()
    for char, escape in _LINE_ENDS:
        text = text.replace(char, escape)
    return text.encode()


def decode_body(
    body: bytes, decoder: msgspec.json.Decoder[T], hints: Mapping[str, str]
) -> T:
    """Return the value of the request body *body*, checked against *decoder*'s type.

    *hints* says, by the name of a member, what to send instead of a wrong value.
    Unknown members are ignored, but must be JSON all the same.  Raises ``InvalidJSON``,
    ``MissingField`` or ``InvalidRequest`` whose *param* is a path such as
    ``messages[2].content[0].type``.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidJSON(
            f"The body is not UTF-8 (byte {error.start}); send UTF-8 JSON."
        ) from None
    try:
        value = decoder.decode(text)
        if "\\u0000" in text:
            _refuse_nul(msgspec.json.decode(text), "")
    except RecursionError:
        raise InvalidJSON("The body is nested too deeply.") from None
    except msgspec.ValidationError as error:
        raise _explain(str(error), hints) from None
    except (msgspec.DecodeError, ValueError) as error:
        what = "the body is empty" if not body.strip() else _cut(str(error))
        raise InvalidJSON(f"The body is not a JSON object: {what}.") from None
    return value


def _explain(problem: str, hints: Mapping[str, str]) -> InvalidRequest:
    match = _PLACE.match(problem)
    assert match is not None
    what = match["what"][:1].lower() + match["what"][1:]
    param = (match["path"] or "").removeprefix("$").removeprefix(".")
    missing = _MISSING.search(what)
    if missing:
        name = f"{param}.{missing['name']}" if param else missing["name"]
        return MissingField(f"{name}: this field is required.", param=name)
    if not param:
        return InvalidJSON(f"The body must be a JSON object: {_cut(what)}.")
    hint = hints.get(param.rpartition(".")[2])
    fix = f"; {hint}" if hint else ""
    return InvalidRequest(f"{param}: {_cut(what)}{fix}.", param=param)


def _cut(text: str) -> str:
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= _MAX_ECHO else text[:_MAX_ECHO] + "..."


def _refuse_nul(value: Any, path: str) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise InvalidRequest(
                f"{path}: the character U+0000 is not allowed.", param=path
            )
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_nul(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            _refuse_nul(name, path)
            _refuse_nul(item, f"{path}.{name}" if path else name)
