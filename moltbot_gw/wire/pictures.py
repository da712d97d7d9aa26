"""Pictures by their first bytes, and as ``data:`` URLs."""

from __future__ import annotations

import base64

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)

START_BYTES = 16
"""As many tell what a picture is."""


def picture_type(data: bytes) -> str | None:
    """Return the media type of what begins with *data*; None if it is no picture."""
    for magic, mime in _MAGIC:
        if data.startswith(magic):
            return mime
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def picture_url(mime: str, data: bytes) -> str:
    """Return *data* as a ``data:`` URL (RFC 2397)."""
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
