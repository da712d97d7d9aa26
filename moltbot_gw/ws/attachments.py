"""Files that a call brings: pictures, as parts of the user's message.

Whatever is no picture by its first bytes is left out, as in the original; the sniffed
type counts, not the declared one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

from moltbot_gw.messages import ImagePart
from moltbot_gw.ws.calls import Params, invalid

MAX_BYTES = 5_000_000
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


class Attachment(Params, frozen=True, kw_only=True):
    """One file; *content* is base64 or a ``data:`` URL of it."""

    type: str | None = None
    mime_type: str | None = None
    file_name: str | None = None
    content: Any = None


def images_of(attachments: Sequence[Attachment]) -> tuple[ImagePart, ...]:
    """Return the pictures among *attachments*; raise a ``MethodError`` for bad ones."""
    found = []
    for number, item in enumerate(attachments, 1):
        if not isinstance(item.content, str):
            continue
        label = item.file_name or item.type or f"attachment-{number}"
        data = _decode(item.content, label[:80])
        mime = _sniff(data)
        if mime is not None:
            url = f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
            found.append(ImagePart(url))
    return tuple(found)


def _decode(content: str, label: str) -> bytes:
    start = _DATA_URL.match(content)
    text = content[start.end() :] if start else content
    # Told before decoding: three bytes for four characters.
    size = len(text) * 3 // 4
    if size > MAX_BYTES + 2:
        raise _too_large(label, size)
    try:
        if len(text) % 4:
            raise ValueError("base64 comes in fours")
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"Error: attachment {label}: invalid base64 content") from None
    if len(data) > MAX_BYTES:
        raise _too_large(label, len(data))
    return data


def _too_large(label: str, size: int) -> Exception:
    return invalid(
        f"Error: attachment {label}: exceeds size limit ({size} > {MAX_BYTES} bytes)"
    )


def _sniff(data: bytes) -> str | None:
    for magic, mime in _MAGIC:
        if data.startswith(magic):
            return mime
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None
