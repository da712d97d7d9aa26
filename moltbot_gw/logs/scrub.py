"""Take out of a text what no log may hold: secrets, and what a terminal would obey."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

MASK = "***"

MAX_SECRET_CHARS = 4096
"""A longer secret is looked for by its beginning."""

_BREAKS = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# What vendors' keys begin with, a hyphen or an underscore behind it, by what those of a
# line have in common.
_FAMILIES = {
    **{alone: (alone,) for alone in ("pk", "rk", "xai", "glpat", "npm", "pplx", "hf")},
    "sk": ("sk", "gsk"),
    "gh": ("ghp", "gho", "ghu", "ghs", "ghr"),
    "git": ("github_pat",),
    "xox": ("xoxa", "xoxb", "xoxe", "xoxp", "xoxr", "xoxs"),
    "key": ("key",),
}
_PREFIXES = tuple(prefix for family in _FAMILIES.values() for prefix in family)

# The first group of an alternative, if it has one, is what stays.
_LIKELY = re.compile(
    rf"""
    (?P<scheme>\b(?:bearer|basic)\ +)[\w.~+/=*-]{{6,}}
    |(?P<name>(?:api[_-]?key|token|secret|passw(?:or)?d|authorization|cookie)
        (?:\\?["'])?\s*[:=]\s*(?:\\?["'])?)
        (?!\s|\*{{3}}|(?:bearer|basic)\b)[^\s"'&,;\\]{{6,}}
    |(?P<user>://[^\s/:@]*:)[^\s/@]+(?=@)
    |\b(?:{"|".join(_PREFIXES)})[_-][\w*-]{{12,}}
    |\b(?:AIza|AKIA)[\w-]{{12,}}
    |\beyJ[\w-]{{8,}}\.[\w-]{{8,}}\.[\w-]*
    |-----BEGIN\ [A-Z\ ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z\ ]*-----|\Z)
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)

_ENDS = "=: \t\n\r\"'\\"

# The bare word "token" is none of them: each line of the access log counts tokens.
_WORDS = (
    *(f"token{end}" for end in _ENDS),
    *("secret", "passw", "authorization", "cookie", "bearer ", "basic "),
    *("aiza", "akia", "eyj", "://", "-----begin"),
)

# Nothing of the pattern can match without one of these, in lower case.  Most lines have
# none, and to look for them costs a fraction of the pattern.
_HINTS = (
    *(f"{prefix}{joint}" for prefix in _PREFIXES for joint in "-_"),
    *(f"key{end}" for end in _ENDS),
    *_WORDS,
)

# And no hint is there without one of these, of which there are half as many: "key" is a
# family as well as a name.
_STEMS = (*_FAMILIES, *_WORDS)


class Scrubber:
    """Masks the *secrets* that are known, and what looks like one.

    *patterns* are the operator's own; what a group of theirs matches is masked, or the
    whole match without groups.  *likely* says whether to look for what only looks like
    a secret: keys by their prefixes, bearer tokens, passwords in URLs.
    """

    def __init__(
        self,
        secrets: Iterable[str],
        patterns: Sequence[re.Pattern[str]] = (),
        *,
        likely: bool = True,
    ) -> None:
        self._spelled = _spellings(secrets)
        self._patterns = tuple(patterns) if likely else ()
        self._likely = likely

    def mask(self, text: str) -> str:
        """Return *text* with a mark for each secret in it."""
        # No pattern: ``re`` keeps those of old configurations, secrets and all.
        for secret in self._spelled:
            if secret in text:
                text = text.replace(secret, MASK)
        if self._likely:
            has = text.lower().__contains__
            if any(map(has, _STEMS)) and any(map(has, _HINTS)):
                text = _LIKELY.sub(_keep_name, text)
        for pattern in self._patterns:
            text = pattern.sub(_mask_groups, text)
        return text

    def clean(self, text: str, max_chars: int) -> str:
        """Return *text* masked, on one line, without controls, and not too long.

        A cut through the middle of a secret would leave half of it to be seen, so some
        more is read than is shown.
        """
        room = max_chars + MAX_SECRET_CHARS
        if len(text) > room:
            text = self.mask(text[:room])[:-MAX_SECRET_CHARS]
        else:
            text = self.mask(text)
        return escape(text[:max_chars])


def escape(text: str) -> str:
    """Return *text* with everything escaped that is no visible character or blank.

    That is what begins a line, moves a cursor, or turns the direction of reading: line
    breaks, controls, format characters, lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    if char in _BREAKS:
        return _BREAKS[char]
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _spellings(secrets: Iterable[str]) -> list[str]:
    """Return the secrets, also as JSON, URLs and programs spell them, longest first.

    In another order one that begins another would leave the end of that.
    """
    spelled = set()
    for secret in secrets:
        part = secret[:MAX_SECRET_CHARS]
        spelled |= {
            part,
            json.dumps(part)[1:-1],
            json.dumps(part, ensure_ascii=False)[1:-1],
        }
        spelled |= {repr(part)[1:-1], escape(part)}
        spelled.add(quote(part, safe="", errors="replace"))
    return sorted(filter(None, spelled), key=lambda text: (-len(text), text))


def _keep_name(match: re.Match[str]) -> str:
    return (match["scheme"] or match["name"] or match["user"] or "") + MASK


def _mask_groups(match: re.Match[str]) -> str:
    spans = [match.span(n) for n in range(1, match.re.groups + 1)]
    # Of groups inside each other the outer one counts.
    spans = sorted((s for s in spans if s[1] > s[0]), key=lambda s: (s[0], -s[1]))
    if not spans:
        return MASK
    pieces, last = [], match.start()
    for start, end in spans:
        if start >= last:
            pieces += [match.string[last:start], MASK]
            last = end
    return "".join([*pieces, match.string[last : match.end()]])
