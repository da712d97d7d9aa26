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
from moltbot_gw.wire.pictures import picture_type, picture_url
from moltbot_gw.ws.calls import Params, invalid

MAX_BYTES = 5_000_000
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)


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
        mime = picture_type(data)
        if mime is not None:
            found.append(ImagePart(picture_url(mime, data)))
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
