"""Devices for tests of the WebSocket: the ``device`` member of a ``connect``."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moltbot_gw.wire.device import DeviceClaim, DeviceIdentity, SignedContext


def make_identity(number: int = 1) -> DeviceIdentity:
    """Return the same device for the same *number* (1 to 255)."""
    return DeviceIdentity(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


def context(
    *,
    client_id: str = "cli",
    client_mode: str = "cli",
    role: str = "operator",
    scopes: tuple[str, ...] = ("operator.admin",),
    token: str | None = None,
) -> SignedContext:
    """Return what a command line signs."""
    return SignedContext(
        client_id=client_id,
        client_mode=client_mode,
        role=role,
        scopes=scopes,
        token=token,
    )


def device_member(claim: DeviceClaim) -> dict[str, Any]:
    """Return the claim as ``params.device`` of a ``connect``."""
    member: dict[str, Any] = {
        "id": claim.id,
        "publicKey": claim.public_key,
        "signature": claim.signature,
        "signedAt": claim.signed_at_ms,
    }
    if claim.nonce is not None:
        member["nonce"] = claim.nonce
    return member


def sign_connect(
    identity: DeviceIdentity,
    params: dict[str, Any],
    *,
    signed_at_ms: int,
    nonce: str | None,
) -> dict[str, Any]:
    """Return *params* of a ``connect`` with the device that signs just these.

    *nonce* is that of the challenge; without one, the first version is signed.
    """
    signed = context(
        client_id=params["client"]["id"],
        client_mode=params["client"]["mode"],
        role=params.get("role", "operator"),
        scopes=tuple(params.get("scopes", ())),
        token=params.get("auth", {}).get("token"),
    )
    claim = identity.sign(signed, signed_at_ms, nonce)
    return {**params, "device": device_member(claim)}
