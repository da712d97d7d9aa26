"""From a file to a JSON tree: bytes, UTF-8, JSON or JSON5."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import json5

from .issues import ConfigError, Issue, printable

MAX_FILE_BYTES = 1024 * 1024
"""Size limit of the configuration, of each included file and of ``.env``."""

_JSON5_ERROR = re.compile(r"<string>:(\d+) .* at column (\d+)", re.DOTALL)
_JSON5_DUPLICATE = re.compile(r'Duplicate key "(.*)" found', re.DOTALL)


class _DuplicateKey(ValueError):
    pass


def read_text(path: Path) -> str:
    """Return the text of the file *path*; raises `ConfigError` with one issue."""
    text = find_text(path)
    if text is None:
        raise _refusal(path, "the file does not exist")
    return text


def find_text(path: Path) -> str | None:
    """Return the text of *path*, None if there is no such file; raises as above."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _refusal(path, f"cannot read the file: {exc.strerror}") from None
    except ValueError:
        raise _refusal(path, "cannot read the file: impossible file name") from None
    if len(data) > MAX_FILE_BYTES:
        raise _refusal(path, f"the file is larger than {MAX_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
    raise _refusal(path, "the file is not UTF-8", line)


def parse_text(text: str, path: Path) -> Any:
    """Return the JSON or JSON5 value of *text*; *path* is for the message.

    Raises `ConfigError` with one issue for bad syntax and for a key that an object has
    twice.  Strict JSON is tried first because the JSON5 parser needs 0.2 s for 8 KB.
    """
    problem, line = "", None
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except _DuplicateKey as exc:
        problem = _duplicate(str(exc))
    except (ValueError, RecursionError):
        pass  # the errors hold the whole text: nothing may be chained to them
    if problem:
        raise _refusal(path, problem)
    try:
        return json5.loads(text, allow_duplicate_keys=False)
    except RecursionError:
        problem, line = "objects and lists are nested too deeply", None
    except ValueError as exc:
        problem, line = _describe(str(exc))
    raise _refusal(path, problem, line)


def join_surrogates(text: str) -> str | None:
    """Return *text* with each escaped surrogate pair as its one character.

    The JSON5 parser leaves the two halves of ``\\uD83D\\uDE00`` apart.  None when a
    half is alone: no encoder takes it.
    """
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        return None


def _describe(error: str) -> tuple[str, int | None]:
    # The parser's own words quote the character that it met; we give its place only.
    if match := _JSON5_DUPLICATE.match(error):
        return _duplicate(match[1]), None
    if match := _JSON5_ERROR.search(error):
        return f"JSON5 syntax error at column {match[2]}", int(match[1])
    return "the file is not valid JSON5", None


def _duplicate(key: str) -> str:
    return f'an object has the key "{printable(key)}" twice'


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise _DuplicateKey(key)
    return result


def _refusal(path: Path, message: str, line: int | None = None) -> ConfigError:
    return ConfigError(path, (Issue("", message, path, line),))
