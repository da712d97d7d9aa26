"""``logging.redactPatterns``: regular expressions as JavaScript writes them."""

from __future__ import annotations

import re

_LITERAL = re.compile(r"/(?P<body>.+)/(?P<flags>[a-z]*)", re.DOTALL)
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}
_GROUP = re.compile(r"(?<!\\)\(\?<(?=[A-Za-z_])")


def compile_pattern(text: str) -> re.Pattern[str]:
    r"""Return the pattern of *text*: ``\bword-\d+`` or ``/word-\d+/i``.

    Upper and lower case are alike in the first form.  Named groups may be spelled as in
    JavaScript.  Raises `ValueError` for what is no pattern, or finds the empty text
    everywhere.
    """
    match = _LITERAL.fullmatch(text)
    body, letters = (match["body"], match["flags"]) if match else (text, "i")
    flags = re.NOFLAG if hasattr(re, "NOFLAG") else re.RegexFlag(0)
    for letter in letters:
        flags |= _FLAGS.get(letter, re.RegexFlag(0))
    try:
        pattern = re.compile(_GROUP.sub("(?P<", body), flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if pattern.fullmatch(""):
        raise ValueError("a regular expression that also matches nothing at all")
    return pattern
