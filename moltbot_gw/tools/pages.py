"""From the bytes of an answer to words that a model can read.

Hostile pages are what this must live with: it runs in a thread, its input has a bound,
and what converts HTML takes time in proportion to its input, gives way to other threads
meanwhile, and does not fall into deep nesting.
"""

from __future__ import annotations

import codecs
import html
import json
import re
from typing import Literal

import attrs

MAX_PAGE_BYTES = 2 * 1024 * 1024
MAX_PRETTY_BYTES = 256 * 1024
"""JSON beyond this stays as it is: the parser of the standard library holds up all
threads of the process while it works."""

ExtractMode = Literal["markdown", "text"]

_HTML_TYPES = ("text/html", "application/xhtml+xml")
_TEXT_TYPES = frozenset(
    {
        "",
        "application/json",
        "application/xml",
        "application/xhtml+xml",
        "application/javascript",
        "application/ecmascript",
        "application/x-javascript",
        "application/x-ndjson",
        "application/yaml",
        "application/x-yaml",
        "application/toml",
        "application/sql",
        "application/x-sh",
    }
)
_CODECS = frozenset(
    codecs.lookup(name).name
    for name in (
        *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "ascii"),
        *(f"iso8859-{n}" for n in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)),
        *(f"cp{n}" for n in (866, 874, 932, 949, *range(1250, 1259))),
        *("koi8-r", "koi8-u", "shift_jis", "euc-jp", "iso2022-jp", "euc-kr"),
        *("gb2312", "gbk", "gb18030", "big5", "mac-roman", "mac-cyrillic"),
    )
)
"""Python knows encodings that are slow traps (``idna``) or no text at all."""

_CHARSET = re.compile(r"charset\s{0,9}=\s{0,9}[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_META_BYTES = 1024
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,500})", re.IGNORECASE)
_TITLE_CHARS = 64 * 1024
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1a]")
_START_CHARS = 1024
_UNREADABLE = dict.fromkeys([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F])


class NotText(Exception):
    """The answer is nothing to read."""


@attrs.frozen(kw_only=True)
class Page:
    """The words of an answer; *is_cut* says that there were more."""

    title: str
    text: str
    is_cut: bool


def is_text_type(media_type: str) -> bool:
    """Whether something of this type can be read; one without a type is looked at."""
    return (
        media_type.startswith("text/")
        or media_type in _TEXT_TYPES
        or media_type.endswith(("+json", "+xml", "+yaml"))
    )


def read_page(
    body: bytes, content_type: str, url: str, mode: ExtractMode, max_chars: int
) -> Page:
    """Return the words of *body*, which came from *url*; raise ``NotText``.

    HTML becomes Markdown or plain text, small JSON is indented, the rest stays.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    text = _decode(body, content_type)
    if _BINARY.search(text, 0, _START_CHARS):
        raise NotText
    title = ""
    if media_type in _HTML_TYPES or (not media_type and _looks_like_html(text)):
        title = _find_title(text)
        text = _convert(text, url, mode)
    elif media_type == "application/json" or media_type.endswith("+json"):
        text = _pretty(text, max_chars)
    text = text.translate(_UNREADABLE).strip()
    return Page(title=title, text=text[:max_chars], is_cut=len(text) > max_chars)


def _decode(body: bytes, content_type: str) -> str:
    found = _CHARSET.search(content_type)
    if found is None:
        found = _CHARSET.search(body[:_META_BYTES].decode("latin-1"))
    encoding = "utf-8"
    if found is not None:
        try:
            named = codecs.lookup(found[1]).name
        except LookupError:
            named = ""
        encoding = named if named in _CODECS else "utf-8"
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    return body.decode(encoding, "replace").removeprefix("\ufeff")


def _looks_like_html(text: str) -> bool:
    start = text[:_START_CHARS].lstrip().lower()
    return start.startswith(("<!doctype html", "<html", "<head", "<body"))


def _find_title(text: str) -> str:
    found = _TITLE.search(text, 0, _TITLE_CHARS)
    return " ".join(html.unescape(found[1]).split()) if found else ""


def _convert(text: str, url: str, mode: ExtractMode) -> str:
    # Twenty megabytes of machine code, for those who fetch pages only.
    from html_to_markdown import ConversionOptions, convert
    from html_to_markdown.exceptions import ConversionError

    options = ConversionOptions(
        output_format="markdown" if mode == "markdown" else "plain",
        base_url=url,
        extract_metadata=False,
        inline_data_media="alt_text_only",
        exclude_selectors=["svg", "iframe"],
    )
    try:
        return convert(text, options).content or ""
    except ConversionError:
        raise NotText from None


def _pretty(text: str, max_chars: int) -> str:
    """Return JSON *text* with indents, or as it is if that is not small and good.

    Indents of deep nesting would make megabytes of nothing: no more is written than
    is shown.
    """
    if len(text) > MAX_PRETTY_BYTES:
        return text
    kept: list[str] = []
    chars = 0
    try:
        encoder = json.JSONEncoder(indent=2, ensure_ascii=False)
        for piece in encoder.iterencode(json.loads(text)):
            kept.append(piece)
            if chars > max_chars and not piece.isspace():
                break
            chars += len(piece)
    except (ValueError, RecursionError):
        return text
    # Half a surrogate pair can be written in JSON, and nowhere else.
    return "".join(kept).encode("utf-8", "replace").decode("utf-8")
