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
            _refuse_nul(msgspec.to_builtins(value))
    except RecursionError:
        raise InvalidJSON("The body is nested too deeply.") from None
    except msgspec.ValidationError as error:
        raise _explain(str(error), hints) from None
    except (msgspec.DecodeError, ValueError) as error:
        what = "the body is empty" if not body.strip() else _cut(str(error))
        raise InvalidJSON(f"The body is not a JSON object: {what}.") from None
    return value


def _explain(problem: str, hints: Mapping[str, str]) -> InvalidRequest:
    # The stranger's own words may stand before the place, as long as the body.
    what, at, place = problem.rpartition(" - at `")
    if not at:
        what, place = problem, ""
    what = what[:1].lower() + what[1:]
    param = place.removesuffix("`").removeprefix("$").removeprefix(".")
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
    shown = "".join(char if char.isprintable() else "?" for char in text[:_MAX_ECHO])
    return shown if len(text) <= _MAX_ECHO else shown + "..."


def _refuse_nul(value: Any) -> None:
    path = _find_nul(value)
    if path is not None:
        param = _cut(path.removeprefix("."))
        raise InvalidRequest(
            f"{param or 'body'}: the character U+0000 is not allowed.",
            param=param or None,
        )


def _find_nul(value: Any) -> str | None:
    """Return the path of the first string with U+0000; built only once it is found."""
    if isinstance(value, str):
        return "" if "\x00" in value else None
    if isinstance(value, list):
        for index, item in enumerate(value):
            found = _find_nul(item)
            if found is not None:
                return f"[{index}]{found}"
    elif isinstance(value, dict):
        for name, item in value.items():
            if "\x00" in name:
                return ""
            found = _find_nul(item)
            if found is not None:
                return f".{_cut(name)}{found}"
    return None
