"""``Idempotency-Key``: a client's name for its request, so that it may repeat it."""

from __future__ import annotations

import re
from hashlib import sha256

from twisted.web.http_headers import Headers

from moltbot_gw.errors import InvalidRequest
from moltbot_gw.stored import IdempotencyKey

_KEY = re.compile(rb"[!-~](?:[ -~]{0,253}[!-~])?")
# All but how the answer is to be written.
_NAMING = re.compile(rb"x-(?:moltbot|clawdbot|openclaw)-(?!event-ids\Z)[a-z-]+")


def find_key(
    headers: Headers, body: bytes, principal: str = ""
) -> IdempotencyKey | None:
    """Return the key of a request, None if it has none.

    It belongs to *principal* (the name of a named key): nobody gets another's answer
    by the same key, or learns that there is one.  Its fingerprint covers the body and
    the headers that say whom the request is for.
    Raises ``InvalidRequest`` unless it is one key of 1 to 255 printable characters.
    """
    values = headers.getRawHeaders(b"Idempotency-Key", ())
    if not values:
        return None
    value = values[0].strip()
    if len(values) > 1 or not _KEY.fullmatch(value):
        raise InvalidRequest(
            "idempotency-key: send one, of 1 to 255 printable ASCII characters.",
            param="idempotency-key",
        )
    digest = sha256(b"chat.completions\n")
    for name, given in sorted(headers.getAllRawHeaders()):
        if _NAMING.fullmatch(name.lower()):
            digest.update(b"%b: %b\n" % (name.lower(), b", ".join(given)))
    digest.update(b"\n" + body)
    own = value.decode("ascii")
    return IdempotencyKey(
        value=f"key:{principal}:{own}" if principal else own,
        fingerprint=digest.digest(),
    )
