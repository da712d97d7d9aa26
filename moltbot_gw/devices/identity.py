"""Whether a client is the device that it claims to be.  Pure: no clock, no file."""

from __future__ import annotations

from typing import Literal

from moltbot_gw.wire.device import (
    KEY_BYTES,
    DeviceClaim,
    DeviceIdentity,
    SignedContext,
    device_id_of,
    encode,
    find_public_key,
    is_signed,
    signed_text,
)

__all__ = [
    "MAX_SKEW_MS",
    "BadDevice",
    "DeviceClaim",
    "DeviceIdentity",
    "Reason",
    "SignedContext",
    "verify_device",
]

MAX_SKEW_MS = 600_000
"""How far, either way, a device's clock may be from ours."""

Reason = Literal[
    "identity_mismatch",
    "signature_expired",
    "nonce_required",
    "nonce_mismatch",
    "signature_invalid",
    "public_key_invalid",
]


class BadDevice(Exception):
    """A claim does not hold.  ``str`` of it is the protocol's own text."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"device {reason.replace('_', ' ')}")
        self.reason: Reason = reason


def verify_device(
    claim: DeviceClaim,
    context: SignedContext,
    *,
    nonce: str,
    now_ms: int,
    is_local: bool,
) -> str:
    """Return the device's public key (unpadded base64url), or raise ``BadDevice``.

    *nonce* is what this connection was challenged with; only a local client may sign
    without it.  The first fault in the protocol's order is told.  A key that is not 32
    bytes long cannot have signed anything: that is its fault then, not the signature's.

    Source: upstream ``src/gateway/server/ws-connection/message-handler.ts``.
    """
    key = find_public_key(claim.public_key)
    if key is None or device_id_of(key) != claim.id:
        raise BadDevice("identity_mismatch")
    if abs(now_ms - claim.signed_at_ms) > MAX_SKEW_MS:
        raise BadDevice("signature_expired")
    signed_nonce = (claim.nonce or "").strip()
    if not signed_nonce and not is_local:
        raise BadDevice("nonce_required")
    if signed_nonce and signed_nonce != nonce:
        raise BadDevice("nonce_mismatch")
    if len(key) != KEY_BYTES:
        raise BadDevice("public_key_invalid")
    text = signed_text(claim.id, context, claim.signed_at_ms, signed_nonce)
    if not is_signed(key, claim.signature, text):
        raise BadDevice("signature_invalid")
    return encode(key)
